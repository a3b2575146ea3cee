// A partner asks, an administrator of the customer accepts, and it counts at once.

import assert from 'node:assert/strict';
import { FABRIKAM } from '../stage.mjs';

const CONFIRM = 'Yes, I authorize Fabrikam Devices for my organization.';
let link;

// When a question is answered with a permit, in milliseconds since 1970.
async function firstPermit(sidecar) {
  const start = performance.now();
  while (!(await sidecar.mayRegister(FABRIKAM, 'relecloud'))) {
    if (performance.now() - start > 5_000) throw new Error('there is no permit');
  }
  return performance.timeOrigin + performance.now();
}

async function partnerAsks(stage) {
  const { browser, sidecar } = stage;
  await stage.visit('sales@fabrikam', '/');
  await browser.heading('Customers and links');
  await (await browser.field('Identifier of the customer')).sendKeys('relecloud');
  await (await browser.field('With delegated administration')).click();
  await browser.choose('Language of the e-mail', 'English');
  await browser.follow(await browser.button('Make a link'));
  assert.match(await browser.text('//*[@role="status"]'), /The link is ready/);
  await (await browser.find('//summary[normalize-space()="Text of the e-mail"]')).click();
  const shown = await browser.text('//article');
  [link] = /http:\/\/\S+\/links\/\w+/.exec(shown);
  assert.ok(link.startsWith(sidecar.pages), link);
  assert.match(shown, /Please confirm our reseller relationship/);
  assert.match(shown, /A Global Administrator of your organization\s+opens this link/);
  const mail = await (await browser.link('Write the e-mail')).getAttribute('href');
  assert.ok(mail.startsWith('mailto:?subject=') && decodeURIComponent(mail).includes(link), mail);
  assert.equal(await sidecar.mayRegister(FABRIKAM, 'relecloud'), false);
}

async function administratorSees(stage) {
  const { browser } = stage;
  await stage.visit('admin@relecloud', new URL(link).pathname);
  await browser.heading('Reseller relationship');
  const text = await browser.text();
  const expected = [
    'Fabrikam Devices asks to become a reseller of Relecloud.', 'direct-bill partner', 'fabrikam', 'relecloud',
    'with these roles: Global Administrator, Helpdesk Administrator', 'It takes effect immediately', 'How it ends',
  ];
  for (const part of expected) assert.ok(text.includes(part), `“${part}” is not in: ${text}`);
  assert.match(text, /With delegated administration\s+Yes/);
  assert.match(await browser.text('//header'), /Signed in as admin@relecloud/);
}

async function boxFirst(stage) {
  const { browser, sidecar } = stage;
  await browser.follow(await browser.button('Accept'));
  const box = await browser.field(CONFIRM);
  assert.equal(await box.getAttribute('aria-invalid'), 'true');
  const error = await browser.find(`//*[@id="${await box.getAttribute('aria-describedby')}"]`);
  assert.match(await error.getText(), /Tick this box/);
  assert.equal(await sidecar.mayRegister(FABRIKAM, 'relecloud'), false);
}

async function accepts(stage) {
  const { browser, sidecar } = stage;
  await (await browser.field(CONFIRM)).click();
  const button = await browser.button('Accept');
  const [permitted] = await Promise.all([firstPermit(sidecar), browser.follow(button)]);
  // The browser's clock of this page begins with the click; the answer to it leads to this page.
  const clicked = await browser.run('return performance.timeOrigin');
  assert.equal(await sidecar.mayRegister(FABRIKAM, 'relecloud'), true);
  assert.match(await browser.text('//*[@role="status"]'), /You have accepted. It is in effect now./);
  return `${(permitted - clicked).toFixed(0)} ms from click to permit`;
}

async function partnerSeesCustomer(stage) {
  const { browser } = stage;
  await stage.visit('sales@fabrikam', '/partner');
  const customers = await browser.text('//section[h2[normalize-space()="Customers"]]');
  assert.match(customers, /Relecloud relecloud/);
  assert.match(await browser.text('//article[h3[normalize-space()="Relecloud"]]'), /Status\s+accepted/);
}

export const tests = {
  'a partner fills in the form, and gets the link and the e-mail': partnerAsks,
  'an administrator of the customer sees who asks for what, with which roles': administratorSees,
  'accepting without the box shows an error at the box': boxFirst,
  'accepting counts at once': accepts,
  'the partner sees the customer in its list': partnerSeesCustomer,
};
