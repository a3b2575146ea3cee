// The identity provider: a real one (`oidc-provider`), whose page lets one choose who to be.

import { createServer } from 'node:http';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { MemoryAdapter, Provider } from './packages.mjs';
import { PEOPLE, claims } from './people.mjs';

export const CLIENT_ID = 'mandate';

// Its own store in memory, which it would warn of if it were not asked for.
class Store extends MemoryAdapter {}

// Listens at once, so that its issuer is known; it answers once `serve` has told it where the pages are.
export class IdentityProvider {
  secret = randomBytes(16).toString('hex');
  #handle = (_, response) => response.writeHead(503).end();
  #server = createServer((request, response) => this.#handle(request, response));

  async listen() {
    await new Promise((resolve, reject) => this.#server.once('error', reject).listen(0, '127.0.0.1', resolve));
    // Another host than that of the pages, as in life: cookies do not tell ports apart.
    this.issuer = `http://localhost:${this.#server.address().port}`;
    return this;
  }

  serve(pages) {
    const provider = new Provider(this.issuer, this.#configuration(pages));
    const own = provider.callback();
    this.#handle = (request, response) => {
      if (!request.url.startsWith('/choose/')) return own(request, response);
      return choose(provider, request, response).catch((error) => response.writeHead(400).end(`${error}`));
    };
  }

  #configuration(pages) {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    return {
      adapter: Store,
      jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] },
      clients: [{
        client_id: CLIENT_ID,
        client_secret: this.secret,
        redirect_uris: [`${pages}/sign-in/callback`],
        grant_types: ['authorization_code'],
        response_types: ['code'],
      }],
      pkce: { required: () => true },
      claims: { openid: ['sub', 'oid', 'tid', 'wids'], profile: ['preferred_username'] },
      // As Entra does: everything is in the ID token.
      conformIdTokenClaims: false,
      cookies: { keys: [randomBytes(16).toString('hex')] },
      features: { devInteractions: { enabled: false } },
      findAccount: (_, accountId) => ({ accountId, claims: () => ({ ...claims(accountId), sub: accountId }) }),
      interactions: { url: (_, interaction) => `/choose/${interaction.uid}` },
      loadExistingGrant,
      ttl: { Interaction: 600, Session: 3600, Grant: 3600, IdToken: 600, AccessToken: 600 },
    };
  }

  async stop() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

// Nobody is asked whether the pages may know who they are: the operator of both has agreed.
async function loadExistingGrant({ oidc }) {
  const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
  grant.addOIDCScope('openid profile');
  await grant.save();
  return grant;
}

async function choose(provider, request, response) {
  if (request.method === 'POST') {
    let body = '';
    for await (const chunk of request) body += chunk;
    const accountId = new URLSearchParams(body).get('person');
    return provider.interactionFinished(request, response, { login: { accountId } });
  }
  const buttons = PEOPLE.map((person) => `<p><button name="person" value="${person}">${person}</button></p>`);
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
  return response.end(`<!DOCTYPE html><html lang="en"><title>Identity provider</title><h1>Who are you?</h1>
    <form method="post">${buttons.join('')}</form></html>`);
}
