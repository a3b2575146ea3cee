// A manufacturer's standing link: one for all customers.

import assert from 'node:assert/strict';
import { TREY } from '../stage.mjs';

let link;

async function shows(stage) {
  const { browser } = stage;
  await stage.visit('sales@trey', '/');
  await browser.follow(await browser.button('Show my link'));
  const card = '//section[h2[normalize-space()="Your standing link"]]';
  const shown = await browser.text(card);
  [link] = /http:\/\/\S+\/links\/\w+/.exec(shown);
  await browser.go(stage.url('/partner'));
  assert.ok((await browser.text(card)).includes(link), 'it is always the same');
}

async function accept(stage, person, customer) {
  const { browser, sidecar } = stage;
  assert.equal(await sidecar.mayRegister(TREY, customer, 'oem-api'), false);
  await stage.visit(person, new URL(link).pathname);
  await browser.heading('Device registration by your manufacturer');
  assert.match(await browser.text(), /Trey Research gets no administrator role/);
  await (await browser.field('Yes, I authorize Trey Research for my organization.')).click();
  await browser.follow(await browser.button('Accept'));
  assert.match(await browser.text('//*[@role="status"]'), /You have accepted/);
  assert.equal(await sidecar.mayRegister(TREY, customer, 'oem-api'), true);
  await browser.go(link);
  await browser.heading('Your organization has accepted this already');
}

async function sees(stage) {
  const { browser } = stage;
  await stage.visit('sales@trey', '/partner');
  const customers = await browser.text('//section[h2[normalize-space()="Customers"]]');
  for (const name of ['Contoso', 'Relecloud', 'Margie\'s Travel']) assert.ok(customers.includes(name), customers);
}

export const tests = {
  'a manufacturer has one standing link': shows,
  'one customer accepts it': (stage) => accept(stage, 'admin@relecloud', 'relecloud'),
  'another customer accepts it, too': (stage) => accept(stage, 'admin@margies-travel', 'margies-travel'),
  'the manufacturer sees both customers': sees,
};
