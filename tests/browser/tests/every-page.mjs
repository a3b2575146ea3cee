// Every page, in both languages: how it looks, what axe says, on phones, and that a German page is German.

import assert from 'node:assert/strict';
import { PAGES, prepare, walk } from '../gallery.mjs';
import { inLightAndDark, onPhones, ownTexts } from '../inspect.mjs';
import { englishIn } from '../words.mjs';

// The pages that are looked at in German, too.
const GERMAN = ['link', 'link-without-role', 'consents', 'partner'];

const found = { axe: [], phones: [], german: [] };
let links;

async function english(stage) {
  links = await prepare(stage.sidecar);
  const wrong = [];
  await walk(stage, links, async ({ name, heading }) => {
    const shown = await stage.browser.text('//h1');
    if (shown !== heading) wrong.push(`${name}: “${shown}” instead of “${heading}”`);
    found.axe.push(...await inLightAndDark(stage.browser, name));
    found.phones.push(...await onPhones(stage.browser, name));
  });
  assert.deepEqual(wrong, []);
  return `${PAGES.length} pages`;
}

async function german(stage) {
  const { browser } = stage;
  await browser.reset();
  await browser.language('de-AT,de;q=0.9,en;q=0.5');
  await walk(stage, links, async ({ name }) => {
    const language = await browser.run('return document.documentElement.lang');
    if (language !== 'de') found.german.push(`${name}: the language is “${language}”`);
    const left = englishIn(await ownTexts(browser));
    found.german.push(...left.map((text) => `${name}: “${text}”`));
    found.phones.push(...await onPhones(browser, `${name} in German`));
    if (GERMAN.includes(name)) found.axe.push(...await inLightAndDark(browser, `${name}-german`));
  });
  assert.deepEqual(found.german, []);
}

// Clicks a language, and checks that the page is the same one in that language.
async function switchTo(browser, name, code, heading) {
  const query = () => browser.run('return new URLSearchParams(location.search).get("as")');
  const before = await query();
  await browser.follow(await browser.link(name));
  assert.equal(await browser.run('return document.documentElement.lang'), code);
  await browser.heading(heading);
  assert.equal(await query(), before);
}

async function bySwitch(stage) {
  const { browser } = stage;
  await browser.reset();
  await stage.visit('admin@contoso', '/consents');
  await switchTo(browser, 'Deutsch', 'de', 'Unsere Zustimmungen');
  await browser.follow(await browser.link('Delegierte Verwaltung entfernen'));
  await browser.heading('Delegierte Verwaltung entfernen?');
  await browser.go(stage.url('/consents'));
  await switchTo(browser, 'English', 'en', 'Our consents');
}

// What a page is about does not change with its language.
async function switchKeeps(stage) {
  const { browser } = stage;
  await browser.reset();
  await stage.visit('admin@contoso', '/consents/CspConsent/contoso--fabrikam?do=remove-administration');
  await switchTo(browser, 'Deutsch', 'de', 'Delegierte Verwaltung entfernen?');
  await browser.reset();
  await stage.visit('sales@adventure-works', '/partner');
  await browser.follow(await browser.link('Adventure Works (reseller)'));
  await switchTo(browser, 'Deutsch', 'de', 'Kunden und Links');
  assert.match(await browser.text(), /^Kunden und Links\s+Sie handeln für Adventure Works \(reseller\)/);
}

export const tests = {
  'every page is there': english,
  'with `Accept-Language: de` no English is left': german,
  'the language can be switched, and stays': bySwitch,
  'a page stays about the same thing when the language is switched': switchKeeps,
  'axe finds nothing, in light and dark': () => assert.deepEqual(found.axe, []),
  'nothing scrolls sideways at 390 and 320 px, and a finger meets every target': () => assert.deepEqual(found.phones, []),
};
