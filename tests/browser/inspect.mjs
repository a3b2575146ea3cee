// What has to be right on every page, whatever it says: no sideways scrolling, targets that a finger meets, nothing
// that axe finds; and screenshots of it, light and dark, on a desk and on a phone.

import { DESKTOP, PHONE, SMALL_PHONE } from './browser.mjs';

// How much wider the page is than the screen, and what reaches beyond it. `innerWidth` may not be asked: on a phone it
// grows with the page.
const TOO_WIDE = `
  const [width] = arguments;
  const over = document.documentElement.scrollWidth - width;
  const reaches = (element) => element.getBoundingClientRect().right > width + 0.5;
  const widest = [...document.body.querySelectorAll('*')].filter(reaches).map((element) => element.outerHTML.slice(0, 80));
  return over > 0 ? [over + ' px too wide: ' + widest.join(' | ')] : [];`;

// Targets smaller than a finger: 24 px for all but links within a sentence, 44 px for buttons.
const TOO_SMALL = `
  const targets = [...document.querySelectorAll('a, button, select, summary, input:not([type=hidden])')];
  const found = [];
  for (const target of targets) {
    const { width, height, right } = (target.closest('label') ?? target).getBoundingClientRect();
    const isHidden = width === 0 || right < 0;
    const isInText = target.localName === 'a' && getComputedStyle(target).display === 'inline';
    const least = target.localName === 'button' ? 44 : 24;
    if (!isHidden && !(isInText && height >= 16) && (width < least || height < least)) {
      found.push(Math.round(width) + ' × ' + Math.round(height) + ': ' + target.outerHTML.slice(0, 120));
    }
  }
  return found;`;

// What a finger does not meet, and what the window does not show.
export async function onPhones(browser, name) {
  const findings = [];
  for (const size of [PHONE, SMALL_PHONE]) {
    await browser.size(size);
    const found = [...await browser.run(TOO_WIDE, size.width), ...await browser.run(TOO_SMALL)];
    findings.push(...found.map((text) => `${name} at ${size.width} px: ${text}`));
  }
  await browser.size(DESKTOP);
  return findings;
}

// Only the colours differ in the dark.
const RULES = { light: undefined, dark: ['color-contrast', 'link-in-text-block'] };

// Takes the screenshots, and asks axe.
export async function inLightAndDark(browser, name) {
  const findings = [];
  for (const scheme of ['light', 'dark']) {
    await browser.scheme(scheme);
    for (const [place, size] of [['phone', PHONE], ['desktop', DESKTOP]]) {
      await browser.size(size);
      await browser.screenshot(`${name}-${place}-${scheme}`);
    }
    findings.push(...(await browser.axe(RULES[scheme])).map((text) => `${name}, ${scheme}: ${text}`));
  }
  await browser.scheme('light');
  return findings;
}

// All texts of the page that are in its own language, with those that only a screen reader says. What says that it is
// in another language, such as the text of an e-mail, is left out.
const TEXTS = `
  const own = document.documentElement.lang;
  const isOwn = (element) => element.closest('[lang]').lang === own;
  const texts = [document.title];
  const nodes = document.createTreeWalker(document.body, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
  while (nodes.nextNode()) {
    const node = nodes.currentNode;
    if (node.nodeType === Node.TEXT_NODE) {
      if (isOwn(node.parentElement)) texts.push(node.data);
    } else if (isOwn(node)) {
      for (const name of ['aria-label', 'title', 'placeholder', 'alt']) texts.push(node.getAttribute(name) ?? '');
    }
  }
  return texts.filter((text) => text.trim()).join(' ');`;

export function ownTexts(browser) {
  return browser.run(TEXTS);
}
