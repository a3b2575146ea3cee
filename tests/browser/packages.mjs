// The packages of npm, from where `run.sh` has installed them: outside of the checkout.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(`${process.env.BROWSER_PACKAGES}/`);

// A package of ES modules.
function load(name) {
  return import(pathToFileURL(require.resolve(name)));
}

export const selenium = require('selenium-webdriver');
export const chrome = require('selenium-webdriver/chrome.js');
export const { Provider } = await load('oidc-provider');
export const { default: MemoryAdapter } = await load('oidc-provider/lib/adapters/memory_adapter.js');
export const axeSource = require('axe-core').source;
