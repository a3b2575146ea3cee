// Pages of somebody else: one with a form that posts to ours, and one that shows ours in a frame.

import { createServer } from 'node:http';

export class ForeignPages {
  #documents = new Map();
  #server = createServer((request, response) => {
    const document = this.#documents.get(request.url);
    response.writeHead(document ? 200 : 404, { 'content-type': 'text/html; charset=utf-8' });
    response.end(`<!DOCTYPE html><html lang="en"><title>Elsewhere</title>${document ?? ''}</html>`);
  });

  async listen() {
    await new Promise((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.port = this.#server.address().port;
    return this;
  }

  // A page with a form that posts to an address.
  form(path, action, fields) {
    const inputs = Object.entries(fields).map(([name, value]) => `<input name="${name}" value="${value}">`);
    this.#documents.set(path, `<form method="post" action="${action}">${inputs.join('')}<button>Go</button></form>`);
  }

  // A page with two frames: another page of its own, and the address.
  frames(path, address) {
    this.#documents.set('/own', '<p>own</p>');
    this.#documents.set(path, `<iframe src="/own"></iframe><iframe src="${address}"></iframe>`);
  }

  async stop() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
