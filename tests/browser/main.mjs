// Runs all tests, one line for each. `node main.mjs WORD…` runs the files whose names have one of the words.

import { readdir } from 'node:fs/promises';
import { Browser } from './browser.mjs';
import { Stage } from './stage.mjs';

const folder = new URL('tests/', import.meta.url);
const words = process.argv.slice(2);
const isAsked = (name) => words.length === 0 || words.some((word) => name.includes(word));
const files = (await readdir(folder)).filter((name) => name.endsWith('.mjs') && isAsked(name)).sort();

let failed = 0;

async function runTest(stage, name, test) {
  const start = performance.now();
  try {
    const note = await test(stage);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(`ok    ${name}${note ? `: ${note}` : ''} (${seconds} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}: ${error.stack ?? error}`);
    const picture = `failed-${name.replace(/[^a-z0-9]+/gi, '-').slice(0, 60)}`;
    await stage.browser.screenshot(picture).catch(() => {});
    console.log(`      ${await stage.browser.run('return location.href + "\\n" + document.body.innerText').catch(String)}`);
  }
}

async function runFile(browser, name) {
  const { tests, options } = await import(new URL(name, folder));
  const stage = new Stage(browser);
  try {
    await stage.open(options);
    for (const [title, test] of Object.entries(tests)) await runTest(stage, title, test);
  } finally {
    await stage.close();
  }
}

// Whoever stops the tests does not leave servers and browsers behind: both end at `exit`.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
process.stdout.once('error', () => process.exit(1));

const browser = await Browser.open();
try {
  for (const name of files) await runFile(browser, name);
} catch (error) {
  failed += 1;
  console.log(`FAIL  ${error.stack ?? error}`);
} finally {
  await browser.close();
}
console.log(failed === 0 ? 'all passed' : `${failed} FAILED`);
process.exitCode = failed === 0 ? 0 : 1;
