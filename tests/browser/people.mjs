// Who takes part. An id is `user@tenant`; the tenants of partners have the ids of the partners.

// The ids that Microsoft Entra gives these roles in the claim `wids`.
const GLOBAL_ADMINISTRATOR = '62e90394-69f5-4237-9190-012177145e10';
const INTUNE_ADMINISTRATOR = '3a2c62db-5318-420d-8d74-23affee5d9d5';
// What every user of Entra has.
const USER = 'b79fbf4d-3ef9-4689-8143-76b194e85509';

const ROLES = {
  admin: [GLOBAL_ADMINISTRATOR, USER],
  second: [GLOBAL_ADMINISTRATOR, USER],
  intune: [INTUNE_ADMINISTRATOR, USER],
  sales: [USER],
};

export const PEOPLE = [
  'admin@contoso', 'intune@contoso', 'admin@northwind', 'admin@relecloud', 'second@relecloud', 'intune@relecloud',
  'admin@margies-travel', 'sales@fabrikam', 'sales@tailspin', 'sales@wingtip', 'sales@trey', 'sales@adventure-works',
  'admin@fourth-coffee', 'admin@nowhere',
];

// What the identity provider says about somebody.
export function claims(person) {
  const [oid, tid] = person.split('@');
  return { sub: `sub-${oid}-${tid}`, oid, tid, wids: ROLES[oid], preferred_username: person };
}

// The file for `--sign-in`.
export function signInFile(issuer, clientId) {
  const partners = ['DirectBillPartner', 'IndirectProvider', 'IndirectReseller', 'Oem'];
  return `
issuer = "${issuer}"
allow_http = true
client_id = "${clientId}"
client_secret_file = "secret"

[[principal]]
type = "TenantUser"
id = "{oid}@{tid}"

[principal.attributes]
customer = { entity = "Customer", id = "{tid}" }

[principal.attributes.roles]
claim = "wids"
entity = "Role"
map = { "${GLOBAL_ADMINISTRATOR}" = "global-administrator", "${INTUNE_ADMINISTRATOR}" = "intune-administrator" }
${partners.map((type) => `\n[[principal]]\ntype = "${type}"\nid = "{tid}"\n`).join('')}`;
}
