// All pages there are: who opens them, where, and what has to be there first.

import { FABRIKAM, TREY } from './stage.mjs';

const NORTHWIND = ['TenantUser', 'admin@northwind'];
const RELECLOUD = ['TenantUser', 'admin@relecloud'];
const LONG = ['DirectBillPartner', 'long'];

// Makes what the pages show, and gives the links.
export async function prepare(sidecar) {
  const withAdministration = { context: { delegatedAdministration: true } };
  await sidecar.putEntity('Customer', 'fourth-coffee', { displayName: 'Fourth Coffee' });
  await sidecar.putEntity(...LONG, { displayName: `Geräteverwaltungsdienstleistungs${'gesellschaft'.repeat(4)} mbH`, active: true });
  for (const [[type, id], roles] of [[NORTHWIND, ['global-administrator']], [RELECLOUD, ['global-administrator']]]) {
    const entity = (type, id) => ({ type: `Autopilot::${type}`, id });
    const customer = entity('Customer', id.split('@')[1]);
    await sidecar.putEntity(type, id, { customer, roles: roles.map((role) => entity('Role', role)) });
  }
  const links = {
    expired: await sidecar.link(FABRIKAM, 'northwind', { valid_for: '1s' }),
    accepted: await sidecar.link(['DirectBillPartner', 'adventure-works'], 'relecloud'),
    declined: await sidecar.link(FABRIKAM, 'northwind'),
    withdrawn: await sidecar.link(FABRIKAM, 'northwind'),
    suspended: await sidecar.link(['IndirectReseller', 'litware'], 'northwind'),
    open: await sidecar.link(FABRIKAM, null, { language: 'de' }),
    waiting: await sidecar.link(FABRIKAM, 'northwind', withAdministration),
    other: await sidecar.link(FABRIKAM, 'relecloud', withAdministration),
    long: await sidecar.link(LONG, 'northwind'),
    standing: await sidecar.link(TREY, null),
  };
  await sidecar.end(links.accepted, 'accept', RELECLOUD);
  await sidecar.end(links.declined, 'decline', NORTHWIND);
  await sidecar.end(links.withdrawn, 'withdraw', FABRIKAM);
  await sidecar.putEntity('IndirectReseller', 'litware', { displayName: 'Litware', active: false });
  while (await sidecar.linkStatus(links.expired) !== 'expired') { /* It takes a second. */ }
  return links;
}

// The button of a form, whatever the language.
const button = (value) => `//main//button[@name="do" and @value="${value}"]`;
const press = (value) => async (browser) => browser.follow(await browser.find(button(value)));

async function wrongDays(browser) {
  const days = await browser.find('//input[@name="days"]');
  await days.clear();
  await days.sendKeys('1000');
  await press('ask')(browser);
}

async function openEmails(browser) {
  for (const summary of await browser.all('//summary')) await summary.click();
}

async function signOut(browser) {
  await browser.follow(await browser.find('//header//form//button'));
}

// The heading is the English one. Pages of one person follow each other, so that nobody signs in twice.
export const PAGES = [
  { name: 'link', person: 'admin@northwind', path: (links) => links.waiting, heading: 'Reseller relationship' },
  { name: 'link-tick-first', path: (links) => links.waiting, then: press('accept'), heading: 'Reseller relationship' },
  { name: 'link-open', path: (links) => links.open, heading: 'Reseller relationship' },
  { name: 'link-manufacturer', path: (links) => links.standing, heading: 'Device registration by your manufacturer' },
  { name: 'link-long-name', path: (links) => links.long, heading: 'Reseller relationship' },
  { name: 'link-expired', path: (links) => links.expired, heading: 'This link has expired' },
  { name: 'link-declined', path: (links) => links.declined, heading: 'This was declined' },
  { name: 'link-withdrawn', path: (links) => links.withdrawn, heading: 'This request was withdrawn' },
  { name: 'link-suspended', path: (links) => links.suspended, heading: 'The partner may not ask for this any more' },
  { name: 'link-of-another', path: (links) => links.other, heading: 'This link is for another organization' },
  { name: 'link-unknown', path: () => '/links/abcdefgh', heading: 'This link is not known' },
  { name: 'link-accepted', person: 'second@relecloud', path: (links) => links.accepted, heading: 'This request was accepted' },
  { name: 'link-without-role', person: 'intune@relecloud', path: (links) => links.other, heading: 'Reseller relationship' },
  { name: 'consents', person: 'admin@contoso', path: () => '/consents', heading: 'Our consents' },
  {
    name: 'consents-remove',
    path: () => '/consents/CspConsent/contoso--fabrikam?do=remove-administration',
    heading: 'Remove delegated administration?',
  },
  { name: 'not-found', path: () => '/nothing', heading: 'There is no such page' },
  { name: 'consents-none', person: 'admin@fourth-coffee', path: () => '/consents', heading: 'Our consents' },
  { name: 'partner', person: 'sales@fabrikam', path: () => '/partner', then: openEmails, heading: 'Customers and links' },
  { name: 'partner-wrong-days', path: () => '/partner', then: wrongDays, heading: 'Customers and links' },
  { name: 'link-own', path: (links) => links.waiting, heading: 'This is your own link' },
  { name: 'partner-provider', person: 'sales@wingtip', path: () => '/partner', heading: 'Customers and links' },
  { name: 'partner-several', person: 'sales@adventure-works', path: () => '/partner', heading: 'Customers and links' },
  { name: 'partner-manufacturer', person: 'sales@trey', path: () => '/partner', heading: 'Customers and links' },
  { name: 'unknown-organization', person: 'admin@nowhere', path: () => '/', heading: 'Your organization is not known here' },
  { name: 'signed-out', person: 'admin@contoso', path: () => '/consents', then: signOut, heading: 'You are signed out' },
];

// Opens one page after the other.
export async function walk(stage, links, look) {
  const { browser } = stage;
  for (const page of PAGES) {
    const path = page.path(links);
    await (page.person ? stage.visit(page.person, path) : browser.go(stage.url(path)));
    await page.then?.(browser);
    await look(page);
  }
}
