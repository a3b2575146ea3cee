// The whole way with Tab, Space and Enter.

import assert from 'node:assert/strict';
import { FABRIKAM } from '../stage.mjs';

// How the element with the focus looks.
const LOOK = `
  const element = document.activeElement;
  const { outlineStyle, outlineWidth, outlineColor } = getComputedStyle(element);
  const { left, top, right, bottom } = element.getBoundingClientRect();
  const inside = left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight;
  const text = element.closest('label')?.textContent ?? element.textContent;
  return { tag: element.localName, text: text.trim(), inside, outline: [outlineStyle, outlineWidth, outlineColor].join(' ') };`;

// Presses Tab until the element with this text has the focus, which is always to be seen.
async function tabTo(browser, text) {
  const seen = [];
  while (seen.length < 40) {
    await browser.press('TAB');
    const look = await browser.run(LOOK);
    seen.push(look.text);
    if (look.tag === 'body') continue;
    assert.ok(look.inside, `“${look.text}” has the focus outside of the window`);
    assert.doesNotMatch(look.outline, /^none| 0px /, `“${look.text}” has the focus, and nothing shows it`);
    if (look.text === text) return;
  }
  throw new Error(`Tab never gets to “${text}”, only to: ${seen.join(' | ')}`);
}

async function accepts(stage) {
  const { browser, sidecar } = stage;
  const link = await sidecar.link(FABRIKAM, 'relecloud');
  await browser.reset();
  await browser.go(stage.url(link));
  await tabTo(browser, 'admin@relecloud');
  await byKey(browser, 'ENTER');
  await browser.heading('Reseller relationship');
  await tabTo(browser, 'Yes, I authorize Fabrikam Devices for my organization.');
  await browser.press('SPACE');
  await tabTo(browser, 'Accept');
  await byKey(browser, 'ENTER');
  assert.match(await browser.text('//*[@role="status"]'), /You have accepted/);
  assert.equal(await sidecar.mayRegister(FABRIKAM, 'relecloud'), true);
}

// Presses a key that leads to another page.
function byKey(browser, key) {
  return browser.follow({ click: () => browser.press(key) });
}

async function skips(stage) {
  const { browser } = stage;
  await stage.visit('admin@relecloud', '/consents');
  await browser.press('TAB');
  const look = await browser.run(LOOK);
  assert.deepEqual([look.text, look.inside], ['Skip to the content', true]);
  await browser.screenshot('skip-link');
  await browser.press('ENTER');
  assert.equal(await browser.run('return document.activeElement.localName + location.hash'), 'main#main');
}

async function signsOut(stage) {
  const { browser } = stage;
  await stage.visit('admin@relecloud', '/consents');
  await tabTo(browser, 'Sign out');
  await byKey(browser, 'ENTER');
  await browser.heading('You are signed out');
}

export const tests = {
  'the skip link is the first to get the focus, and works': skips,
  'consent is given with Tab, Space and Enter alone, and the focus is always to be seen': accepts,
  'signing out works by keyboard, too': signsOut,
};
