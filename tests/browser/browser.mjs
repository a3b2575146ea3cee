// A browser with one window, and a reader in front of it: elements are found by what a reader sees or hears, never by
// the classes of the stylesheet.

import { mkdtempSync, rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { axeSource, chrome, selenium } from './packages.mjs';

const { Builder, By, Key, until } = selenium;
const WAIT = 10_000;

export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };
export const SMALL_PHONE = { width: 320, height: 640 };

export class Browser {
  // All that it writes.
  #folder = mkdtempSync(join(tmpdir(), 'mandate-browser-'));

  static async open() {
    const browser = new Browser();
    const options = new chrome.Options();
    options.setChromeBinaryPath(process.env.CHROMIUM);
    options.addArguments('--headless=new', '--disable-dev-shm-usage', '--disable-gpu', '--hide-scrollbars');
    options.addArguments('--no-first-run', '--disable-background-networking', '--disable-component-update');
    options.addArguments(`--user-data-dir=${browser.#folder}/profile`);
    if (process.getuid() === 0) options.addArguments('--no-sandbox');
    const service = new chrome.ServiceBuilder(process.env.CHROMEDRIVER);
    service.setEnvironment({ ...process.env, TMPDIR: browser.#folder });
    const builder = new Builder().forBrowser('chrome').setChromeOptions(options).setChromeService(service);
    browser.driver = await builder.build();
    // When the tests end before their time, the browser does not outlive its driver.
    browser.process = (await browser.driver.getCapabilities()).get('goog:processID');
    process.once('exit', browser.#kill);
    await browser.reset();
    return browser;
  }

  // As after a start: nobody is signed in, and the reader is an English one at a desk.
  async reset() {
    await this.driver.switchTo().defaultContent();
    await this.driver.get('about:blank');
    await this.devTools('Network.clearBrowserCookies');
    await this.size(DESKTOP);
    await this.scheme('light');
    await this.language('en-US,en');
  }

  devTools(command, parameters = {}) {
    return this.driver.sendAndGetDevToolsCommand(command, parameters);
  }

  async size({ width, height }) {
    const parameters = { width, height, deviceScaleFactor: 1, mobile: width < 600 };
    await this.devTools('Emulation.setDeviceMetricsOverride', parameters);
  }

  scheme(value) {
    return this.devTools('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value }] });
  }

  async language(acceptLanguage) {
    const userAgent = await this.run('return navigator.userAgent');
    await this.devTools('Network.setUserAgentOverride', { userAgent, acceptLanguage });
  }

  run(script, ...values) {
    return this.driver.executeScript(script, ...values);
  }

  go(url) {
    return this.driver.get(url);
  }

  // The element, once it is there.
  find(xpath) {
    return this.driver.wait(until.elementLocated(By.xpath(xpath)), WAIT, `there is no ${xpath}`);
  }

  all(xpath) {
    return this.driver.findElements(By.xpath(xpath));
  }

  async has(xpath) {
    return (await this.all(xpath)).length > 0;
  }

  heading(text) {
    return this.find(`//h1[normalize-space()=${quoted(text)}]`);
  }

  button(text, within = '') {
    return this.find(`${within}//button[starts-with(normalize-space(), ${quoted(text)})]`);
  }

  link(text, within = '') {
    return this.find(`${within}//a[starts-with(normalize-space(), ${quoted(text)})]`);
  }

  // The field with this label, which is around it or names it.
  async field(label, within = '') {
    const found = await this.find(`${within}//label[normalize-space()=${quoted(label)}]`);
    const named = await found.getAttribute('for');
    return named ? this.driver.findElement(By.id(named)) : found.findElement(By.xpath('.//input'));
  }

  async choose(label, option, within = '') {
    const field = await this.field(label, within);
    await field.findElement(By.xpath(`.//option[normalize-space()=${quoted(option)}]`)).click();
  }

  // Clicks something that leads to another page, and waits until that page is loaded.
  async follow(element) {
    await this.run('window.isLeft = true');
    await element.click();
    const isThere = () => this.run('return !window.isLeft && document.readyState === "complete"').catch(() => false);
    await this.driver.wait(isThere, WAIT, 'no other page came');
  }

  async text(xpath = '//main') {
    return (await this.find(xpath)).getText();
  }

  async press(...keys) {
    await this.driver.actions().sendKeys(...keys.map((key) => Key[key] ?? key)).perform();
  }

  // What axe finds by all its rules, or by some; one line for each.
  async axe(rules) {
    const options = { resultTypes: ['violations'], ...(rules && { runOnly: { type: 'rule', values: rules } }) };
    await this.run(axeSource);
    const result = await this.driver.executeAsyncScript(`
      const [options, done] = arguments;
      axe.run(document, options).then(done, (error) => done({ error: String(error) }));`, options);
    if (result.error) throw new Error(result.error);
    return result.violations.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.html}`));
  }

  async screenshot(name) {
    const folder = `${process.env.BROWSER_OUT}/screenshots`;
    await mkdir(folder, { recursive: true });
    const { data } = await this.devTools('Page.captureScreenshot', { captureBeyondViewport: true });
    await writeFile(`${folder}/${name}.png`, Buffer.from(data, 'base64'));
  }

  async close() {
    await this.driver.quit();
    this.process = null;
    process.off('exit', this.#kill);
    this.#kill();
  }

  #kill = () => {
    try {
      if (this.process) process.kill(this.process, 'SIGKILL');
    } catch { /* It has ended. */ }
    rmSync(this.#folder, { recursive: true, force: true, maxRetries: 3 });
  };
}

// A text in an XPath.
export function quoted(text) {
  return `concat("", "${text.split('"').join('", \'"\', "')}")`;
}
