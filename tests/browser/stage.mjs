// A sidecar, an identity provider and browsers: what a test has, and what its people do.

import { Browser } from './browser.mjs';
import { IdentityProvider } from './provider.mjs';
import { Sidecar } from './sidecar.mjs';

export const FABRIKAM = ['DirectBillPartner', 'fabrikam'];
export const TREY = ['Oem', 'trey'];

export class Stage {
  #others = [];

  constructor(browser) {
    this.browser = browser;
  }

  async open({ demo = false } = {}) {
    this.sidecar = new Sidecar();
    if (!demo) this.provider = await new IdentityProvider().listen();
    await this.sidecar.start(this.provider);
    this.provider?.serve(this.sidecar.pages);
    await this.browser.reset();
    return this;
  }

  url(path) {
    return `${this.sidecar.pages}${path}`;
  }

  // Another browser, which knows nothing of the first.
  async another() {
    const browser = await Browser.open();
    this.#others.push(browser);
    return browser;
  }

  // Opens a page as somebody, who signs in on the way.
  async visit(person, path, browser = this.browser) {
    await browser.devTools('Network.clearBrowserCookies');
    await browser.go(this.url(path));
    await browser.follow(await browser.button(person));
    return browser;
  }

  async close() {
    await Promise.all(this.#others.map((browser) => browser.close()));
    await this.sidecar?.stop();
    await this.provider?.stop();
  }
}
