// A sidecar on a new store with the sample entities, and what a program asks it by HTTP.

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CLIENT_ID } from './provider.mjs';
import { signInFile } from './people.mjs';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export class Sidecar {
  #token = randomBytes(16).toString('hex');
  #log = '';

  // Without an identity provider, with the demo sign-in.
  async start(provider) {
    this.folder = await mkdtemp(join(tmpdir(), 'mandate-browser-'));
    const rights = provider ? await this.#signIn(provider) : ['--demo-sign-in'];
    this.process = spawn(process.env.MANDATE, [
      'serve', '--policies', `${ROOT}policies`, '--entities', `${ROOT}entities`,
      '--store', `${this.folder}/entities.redb`, '--guardrails', 'off', '--shutdown-delay', '0s', '--log', 'warn',
      '--listen', '127.0.0.1:0', '--admin-listen', '127.0.0.1:0', '--pages-listen', '127.0.0.1:0', ...rights,
    ], { stdio: ['ignore', 'pipe', 'pipe'] });
    process.once('exit', this.#kill);
    this.process.stderr.on('data', (text) => { this.#log += text; });
    const out = await this.#ready();
    this.decisions = /^decisions on (\S+)/m.exec(out)[1];
    this.pages = /^pages on (\S+)/m.exec(out)[1];
    return this;
  }

  async #signIn({ issuer, secret }) {
    await writeFile(`${this.folder}/sign-in.toml`, signInFile(issuer, CLIENT_ID));
    await writeFile(`${this.folder}/secret`, secret);
    await writeFile(`${this.folder}/tokens`, `tests ${this.#token}\n`);
    return [
      '--sign-in', `${this.folder}/sign-in.toml`, '--tokens', `${this.folder}/tokens`,
      '--change-callers', 'tests', '--entity-callers', 'tests',
    ];
  }

  #ready() {
    return new Promise((resolve, reject) => {
      let out = '';
      this.process.stdout.on('data', (text) => {
        out += text;
        if (/^pages on .*\n/m.test(out) && /^decisions on .*\n/m.test(out)) resolve(out);
      });
      this.process.once('error', reject);
      this.process.once('exit', (code) => reject(new Error(`the sidecar ended (${code}):\n${this.#log}`)));
    });
  }

  async call(method, path, body, headers = {}) {
    const response = await fetch(`${this.decisions}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#token}`, 'content-type': 'application/json', ...headers },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: text.startsWith('{') ? JSON.parse(text) : null };
  }

  // Whether a partner may register a device of a customer, by the API that its kind of partner has.
  async mayRegister([type, id], customer, channel = 'partner-center-api') {
    const { json, text, headers } = await this.call('POST', '/access/v1/evaluation', {
      subject: { type, id },
      action: { name: 'registerDevice' },
      resource: { type: 'Customer', id: customer },
      context: { channel },
    });
    if (typeof json?.decision !== 'boolean') throw new Error(`no decision: ${text}`);
    this.position = headers.get('mandate-at');
    return json.decision;
  }

  // Makes a link: its path.
  async link([type, id], customer, more = {}) {
    const resource = customer ? { resource: { type: 'Customer', id: customer } } : {};
    const body = { subject: { type, id }, ...resource, context: { delegatedAdministration: false }, ...more };
    const { json, text } = await this.call('POST', '/links/v1', body);
    if (!json?.request?.link) throw new Error(`no link: ${text}`);
    return `/links/${json.request.link}`;
  }

  // Accepts, declines or withdraws.
  async end(link, verb, [type, id]) {
    const { status, text } = await this.call('POST', `/links/v1/${link.split('/').pop()}/${verb}`, { subject: { type, id } });
    if (status !== 200 || text.includes('"decision":false')) throw new Error(`${verb}: ${text}`);
  }

  // What became of a link.
  async linkStatus(link) {
    const { json, text } = await this.call('GET', `/links/v1/${link.split('/').pop()}`);
    if (!json?.request?.status) throw new Error(`no status: ${text}`);
    return json.request.status;
  }

  async putEntity(type, id, attributes, parents = []) {
    const name = (type, id) => ({ type: `Autopilot::${type}`, id });
    const entity = { uid: name(type, id), attrs: attributes, parents: parents.map((parent) => name(...parent)) };
    const { status, text } = await this.call('PUT', `/entities/v1/${type}/${encodeURIComponent(id)}`, entity);
    if (status !== 200 && status !== 201) throw new Error(`${type} ${id} is not written: ${status} ${text}`);
  }

  // How many transactions the store has.
  async storePosition() {
    await this.mayRegister(['DirectBillPartner', 'fabrikam'], 'contoso');
    return this.position;
  }

  async stop() {
    if (this.process && this.process.exitCode === null && this.process.signalCode === null) {
      const ended = new Promise((resolve) => this.process.once('exit', resolve));
      this.process.kill('SIGTERM');
      await ended;
    }
    process.off('exit', this.#kill);
    this.#kill();
  }

  // The last resort, when the tests end before their time.
  #kill = () => {
    this.process?.kill('SIGKILL');
    if (this.folder) rmSync(this.folder, { recursive: true, force: true });
  };
}
