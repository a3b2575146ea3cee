// A request ends without consent: the customer declines, or the partner takes it back.

import assert from 'node:assert/strict';
import { FABRIKAM } from '../stage.mjs';

async function declines(stage) {
  const { browser, sidecar } = stage;
  const link = await sidecar.link(FABRIKAM, 'northwind');
  await stage.visit('admin@northwind', link);
  await browser.follow(await browser.button('Decline'));
  assert.match(await browser.text('//*[@role="status"]'), /You have declined/);
  await browser.go(stage.url(link));
  await browser.heading('This was declined');
  assert.equal(await sidecar.mayRegister(FABRIKAM, 'northwind'), false);
  await stage.visit('sales@fabrikam', '/partner');
  assert.match(await browser.text('//article[h3[normalize-space()="Northwind Traders"]]'), /Status\s+declined/);
}

async function withdraws(stage) {
  const { browser, sidecar } = stage;
  const link = await sidecar.link(FABRIKAM, 'relecloud');
  const administrator = await stage.another();
  await stage.visit('admin@relecloud', link, administrator);
  await stage.visit('sales@fabrikam', '/partner');
  await browser.follow(await browser.button('Withdraw', '//article[h3[normalize-space()="Relecloud"]]'));
  assert.match(await browser.text('//*[@role="status"]'), /The request is withdrawn/);
  assert.match(await browser.text('//article[h3[normalize-space()="Relecloud"]]'), /Status\s+withdrawn/);
  // The page is still open.
  await (await administrator.field('Yes, I authorize Fabrikam Devices for my organization.')).click();
  await administrator.follow(await administrator.button('Accept'));
  await administrator.heading('This request was withdrawn');
  await administrator.go(stage.url(link));
  await administrator.heading('This request was withdrawn');
  assert.equal(await sidecar.mayRegister(FABRIKAM, 'relecloud'), false);
}

export const tests = {
  'an administrator declines, and the partner sees it': declines,
  'a partner withdraws, and the link tells so': withdraws,
};
