// Who does not have the role is told which one it takes.

import assert from 'node:assert/strict';
import { FABRIKAM } from '../stage.mjs';

async function named(stage) {
  const { browser, sidecar } = stage;
  const link = await sidecar.link(FABRIKAM, 'relecloud', { context: { delegatedAdministration: true } });
  await stage.visit('intune@relecloud', link);
  await browser.heading('Reseller relationship');
  const alert = await browser.text('//*[@role="alert"]');
  assert.match(alert, /You cannot accept this/);
  assert.match(alert, /Only a Global Administrator of your organization can accept this\./);
  assert.equal(await browser.has('//main//form'), false);
  assert.equal(await browser.has('//main//button'), false);
}

async function open(stage) {
  const { browser, sidecar } = stage;
  const link = await sidecar.link(FABRIKAM, null);
  await stage.visit('intune@relecloud', link);
  // Where a form is shown, it does not help.
  if (await browser.has('//main//form')) {
    await (await browser.field('Yes, I authorize Fabrikam Devices for my organization.')).click();
    await browser.follow(await browser.button('Accept'));
  }
  assert.match(await browser.text(), /Only a Global Administrator of your organization can accept this\./);
  assert.equal(await sidecar.mayRegister(FABRIKAM, 'relecloud'), false);
}

export const tests = {
  'an Intune administrator is told which role it takes, and there is no form': named,
  'an Intune administrator cannot accept a link for any customer either': open,
};
