// The demo sign-in: whoever opens the page chooses whom to act as.

import assert from 'node:assert/strict';
import { inLightAndDark, onPhones } from '../inspect.mjs';

export const options = { demo: true };

async function signsIn(stage) {
  const { browser } = stage;
  await browser.go(stage.url('/'));
  assert.match(await browser.text('//*[@role="note"]'), /^Demo: everybody/);
  const page = [browser, 'demo-sign-in'];
  assert.deepEqual([...await inLightAndDark(...page), ...await onPhones(...page)], []);
  await browser.choose('Act as', 'TenantUser: admin@contoso');
  await browser.follow(await browser.button('Sign in'));
  await browser.heading('Our consents');
  assert.match(await browser.text('//header'), /Signed in as TenantUser: admin@contoso/);
}

export const tests = { 'the demo sign-in says loudly what it is, and lets one act as anybody': signsIn };
