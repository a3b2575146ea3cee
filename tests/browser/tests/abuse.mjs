// What must not work, in a browser: pages of others, links of others, and what has changed since a page was opened.

import assert from 'node:assert/strict';
import { ForeignPages } from '../foreign.mjs';
import { FABRIKAM } from '../stage.mjs';

const CONFIRM = 'Yes, I authorize Fabrikam Devices for my organization.';
const RELECLOUD = ['TenantUser', 'admin@relecloud'];

async function acceptPage(browser) {
  await (await browser.field(CONFIRM)).click();
  await browser.follow(await browser.button('Accept'));
}

// Checks that a link waits as before, and nobody has got anything.
async function isUntouched({ sidecar }, link, customer = 'relecloud') {
  assert.equal(await sidecar.linkStatus(link), 'pending');
  assert.equal(await sidecar.mayRegister(FABRIKAM, customer), false);
}

async function roleTakenAway(stage) {
  const { browser, sidecar } = stage;
  const link = await sidecar.link(FABRIKAM, 'relecloud');
  await stage.visit('admin@relecloud', link);
  const customer = { type: 'Autopilot::Customer', id: 'relecloud' };
  await sidecar.putEntity(...RELECLOUD, { customer, roles: [] });
  await acceptPage(browser);
  await browser.screenshot('role-taken-away');
  assert.match(await browser.text(), /Only a Global Administrator of your organization can accept this/);
  await isUntouched(stage, link);
}

async function shownSomethingElse(stage) {
  const { browser, sidecar } = stage;
  const link = await sidecar.link(FABRIKAM, 'relecloud');
  await stage.visit('admin@relecloud', link);
  await sidecar.putEntity(...FABRIKAM, { displayName: 'Fabrikam Devices Ltd', active: true });
  await acceptPage(browser);
  await browser.screenshot('changed-since');
  assert.match(await browser.text('//*[@role="alert"]'), /has changed since you opened it/);
  assert.match(await browser.text(), /Fabrikam Devices Ltd asks/);
  await sidecar.putEntity(...FABRIKAM, { displayName: 'Fabrikam Devices', active: true });
  await isUntouched(stage, link);
}

async function inFrame(stage) {
  const { browser, sidecar } = stage;
  const link = await sidecar.link(FABRIKAM, 'relecloud');
  await stage.visit('admin@relecloud', link);
  const foreign = await new ForeignPages().listen();
  try {
    foreign.frames('/frames', stage.url(link));
    await browser.go(`http://127.0.0.1:${foreign.port}/frames`);
    const shown = [];
    for (const frame of await browser.all('//iframe')) {
      await browser.driver.switchTo().frame(frame);
      shown.push(await browser.run('return location.protocol + " " + document.body.innerText'));
      await browser.driver.switchTo().defaultContent();
    }
    assert.equal(shown[0], 'http: own');
    assert.match(shown[1], /^chrome-error:/);
  } finally {
    await foreign.stop();
  }
}

async function postFrom(stage, host) {
  const { browser, sidecar } = stage;
  const link = await sidecar.link(FABRIKAM, 'relecloud');
  await stage.visit('admin@relecloud', link);
  // Even with the token of the real page.
  const token = await (await browser.find('//main//input[@name="token"]')).getAttribute('value');
  const foreign = await new ForeignPages().listen();
  try {
    foreign.form('/form', stage.url(link), { token, yes: 'on', do: 'accept' });
    await browser.go(`http://${host}:${foreign.port}/form`);
    await browser.follow(await browser.button('Go'));
    await browser.heading('This came from another page');
    await isUntouched(stage, link);
  } finally {
    await foreign.stop();
  }
}

async function scanner(stage) {
  const { browser, sidecar } = stage;
  const link = await sidecar.link(FABRIKAM, 'relecloud');
  const start = await sidecar.storePosition();
  for (const method of ['GET', 'HEAD', 'OPTIONS', 'GET']) {
    const response = await fetch(stage.url(link), { method, redirect: 'manual' });
    assert.ok(response.status < 500, `${method}: ${response.status}`);
    assert.doesNotMatch(await response.text(), /Fabrikam|Relecloud/);
  }
  assert.equal(await sidecar.storePosition(), start);
  // Nor does an administrator who only looks.
  await stage.visit('admin@relecloud', link);
  const signedIn = await sidecar.storePosition();
  for (const query of ['', '?do=accept&yes=on', '?lang=de', '?lang=en']) await browser.go(stage.url(`${link}${query}`));
  assert.equal(await sidecar.storePosition(), signedIn);
  await isUntouched(stage, link);
}

async function ofAnotherTenant(stage) {
  const { browser, sidecar } = stage;
  const link = await sidecar.link(FABRIKAM, 'relecloud');
  await stage.visit('admin@northwind', link);
  await browser.heading('This link is for another organization');
  const text = await browser.run('return document.documentElement.outerHTML');
  assert.doesNotMatch(text, /Fabrikam|Relecloud/i);
  await isUntouched(stage, link);
}

async function expires(stage) {
  const { browser, sidecar } = stage;
  await stage.visit('admin@relecloud', '/consents');
  const link = await sidecar.link(FABRIKAM, 'relecloud', { valid_for: '3s' });
  await browser.go(stage.url(link));
  await browser.heading('Reseller relationship');
  while (await sidecar.linkStatus(link) === 'pending') { /* It takes three seconds. */ }
  await acceptPage(browser);
  await browser.heading('This link has expired');
  assert.equal(await sidecar.mayRegister(FABRIKAM, 'relecloud'), false);
}

async function hostileName(stage) {
  const { browser, sidecar } = stage;
  const name = '<b onclick="alert(1)">Evil</b> \u202Ednuorgkcab<script>document.title="taken"</script>';
  await sidecar.putEntity('DirectBillPartner', 'evil', { displayName: name, active: true });
  const link = await sidecar.link(['DirectBillPartner', 'evil'], 'relecloud');
  await stage.visit('admin@relecloud', link);
  assert.equal(await browser.has('//script | //*[@onclick]'), false);
  assert.equal(await browser.run('return document.title.startsWith("Reseller relationship")'), true);
  assert.ok((await browser.text()).includes('<b onclick="alert(1)">Evil</b>'));
  // Marks that turn the direction of a text do not get as far as the page.
  assert.doesNotMatch(await browser.run('return document.documentElement.outerHTML'), /[\u202A-\u202E\u2066-\u2069]/);
  await browser.screenshot('hostile-name');
}

async function twoAdministrators(stage) {
  const { browser, sidecar } = stage;
  const link = await sidecar.link(FABRIKAM, 'relecloud');
  const other = await stage.another();
  await stage.visit('admin@relecloud', link);
  await stage.visit('second@relecloud', link, other);
  for (const one of [browser, other]) await (await one.field(CONFIRM)).click();
  const buttons = [await browser.button('Accept'), await other.button('Accept')];
  await Promise.all([browser.follow(buttons[0]), other.follow(buttons[1])]);
  const [first, second] = await Promise.all([browser.text(), other.text()]);
  const [winner, loser, name] = first.includes('You have accepted.')
    ? [first, second, 'admin@relecloud'] : [second, first, 'second@relecloud'];
  assert.match(winner, /You have accepted\. It is in effect now\./);
  assert.match(loser, /^This request was accepted/);
  assert.ok(loser.includes(`${name} accepted it on`), loser);
  assert.equal(await sidecar.mayRegister(FABRIKAM, 'relecloud'), true);
}

export const tests = {
  'a role that was taken away between page and click does not count': roleTakenAway,
  'what is shown has changed between page and click: it is shown again': shownSomethingElse,
  'no other page shows ours in a frame': inFrame,
  'a form of another site changes nothing': (stage) => postFrom(stage, 'localhost'),
  'a form of another port changes nothing': (stage) => postFrom(stage, '127.0.0.1'),
  'whoever only opens a link, such as a scanner of e-mails, changes nothing': scanner,
  'a link of another tenant shows nothing': ofAnotherTenant,
  'a link that expires while its page is open': expires,
  'markup and direction marks in a name stay text': hostileName,
  'of two administrators at once, one accepts and the other is told': twoAdministrators,
};
