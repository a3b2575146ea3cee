// The English texts that a German page must not have: those of the pages, in `crates/mandate-pages/src/words`, and those
// of the content, in `policies`.

import { readFileSync } from 'node:fs';

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

const STRING = /"((?:[^"\\]|\\.)*)"/g;

function strings(text) {
  const code = text.replace(/^\s*(\/\/|#).*$/gm, '');
  return [...code.matchAll(STRING)].map(([, literal]) => literal.replace(/\\(.)/g, '$1'));
}

// Both tables have the same fields in the same order.
function ofPages() {
  const [english, german] = ['en', 'de'].map((code) => strings(read(`crates/mandate-pages/src/words/${code}.rs`)));
  if (english.length !== german.length) throw new Error('the tables of words do not have the same fields');
  return english.filter((text, index) => text !== german[index]);
}

function ofContent() {
  const german = new Set();
  const english = [];
  for (const part of read('policies/consent.changes.toml').split(/^(?=\[)/m)) {
    const [, code] = /^\[request\.texts\.(\w\w)/.exec(part) ?? [];
    const found = strings(part.replaceAll('"""', '"').replace(/\n(?=[^\s\][}{]+ )/g, '"\n"'));
    if (code === 'de') found.forEach((text) => german.add(text));
    if (code === 'en') english.push(...found);
  }
  const policies = ['consent.cedar', 'administration.cedar', 'registration.cedar', 'schema.cedarschema'];
  const reasons = policies.flatMap((file) => [...read(`policies/${file}`).matchAll(/@reason\("([^"]*)"\)/g)]);
  return [...english, ...reasons.map(([, reason]) => reason)].filter((text) => !german.has(text));
}

// A text with values in braces, as an expression that finds it as whole words.
function expression(text) {
  const pieces = text.split(/\{\w+\}/).map((piece) => piece.trim()).filter((piece) => /\p{L}{2}/u.test(piece));
  if (pieces.length === 0) return null;
  const escaped = pieces.map((piece) => piece.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/\s+/g, '\\s+'));
  return new RegExp(`(?<![\\p{L}@-])(?:${escaped.join('[\\s\\S]{1,80}?')})(?![\\p{L}@])`, 'u');
}

const EXPRESSIONS = [...ofPages(), ...ofContent()].map((text) => [text, expression(text)]).filter(([, found]) => found);

// The English texts that are in a text.
export function englishIn(text) {
  return EXPRESSIONS.filter(([, expression]) => expression.test(text)).map(([english]) => english);
}

export const count = EXPRESSIONS.length;
