// What an organization has accepted: delegated administration can be removed, a manufacturer cannot.

import assert from 'node:assert/strict';
import { FABRIKAM, TREY } from '../stage.mjs';

const CARD = '//article[h3[normalize-space()="Fabrikam Devices"]]';
const REMOVE = 'Remove delegated administration';

async function removes(stage) {
  const { browser, sidecar } = stage;
  await stage.visit('admin@contoso', '/consents');
  assert.match(await browser.text(CARD), /With delegated administration\s+Yes/);
  await browser.follow(await browser.link(REMOVE, CARD));
  await browser.heading(`${REMOVE}?`);
  // Nothing has happened yet, and one can go back.
  await browser.follow(await browser.link('Cancel'));
  assert.match(await browser.text(CARD), /With delegated administration\s+Yes/);
  await browser.follow(await browser.link(REMOVE, CARD));
  await browser.follow(await browser.button(REMOVE));
  assert.match(await browser.text('//*[@role="status"]'), /The change is in effect/);
  const card = await browser.text(CARD);
  assert.match(card, /With delegated administration\s+No/);
  assert.match(card, /Fabrikam Devices gets no administrator role in your organization/);
  assert.equal(await browser.has(`${CARD}//a`), false);
  assert.equal(await sidecar.mayRegister(FABRIKAM, 'contoso'), true);
}

async function manufacturer(stage) {
  const { browser, sidecar } = stage;
  await stage.visit('admin@contoso', '/consents');
  const card = '//article[h3[normalize-space()="Trey Research"]]';
  assert.match(await browser.text(card), /Only Microsoft can remove a manufacturer's authorization\. Ask Microsoft support/);
  assert.equal(await browser.has(`${card}//a | ${card}//button`), false);
  assert.equal(await sidecar.mayRegister(TREY, 'contoso', 'oem-api'), true);
}

async function reads(stage) {
  const { browser } = stage;
  await stage.visit('intune@contoso', '/consents');
  assert.match(await browser.text(), /Fabrikam Devices[\s\S]*Accepted by\s+admin@contoso/);
}

export const tests = {
  'users of the organization see what it has accepted, and who accepted': reads,
  'delegated administration is removed after a second question; the relationship stays': removes,
  'for a manufacturer the page says how to ask Microsoft, and has no button': manufacturer,
};
