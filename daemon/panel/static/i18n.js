// Words in the chosen language, at first the browser's: Chinese for any "zh", else English. The daemon gives its sentences in
// the language of the page. zh.json is made from en.json and the catalogue: make docs.

import * as memory from './memory.js';

export const TAGS = ['en', 'zh'];
let words = {};
let tag = 'en';

/** Loads the words for the language that was chosen here, or for the browser's. */
export async function load(languages = navigator.languages) {
  const browsers = (languages?.[0] ?? 'en').toLowerCase().startsWith('zh') ? 'zh' : 'en';
  tag = memory.read('language', [browsers, ...TAGS]);
  const answer = await fetch(`static/i18n/${tag}.json`);
  words = await answer.json();
  document.documentElement.lang = tag === 'zh' ? 'zh-CN' : 'en';
  return tag;
}

/** The language of the page, for the daemon too: one of TAGS. */
export function chosen() {
  return tag;
}

/** Shows the page in another one. */
export function choose(name) {
  memory.keep('language', name);
  window.location.reload();
}

/** The language for Intl. */
export function language() {
  return tag === 'zh' ? 'zh-CN' : 'en-GB';
}

/** The word for a key, with {name} filled in. An unknown key is shown as it is. */
export function t(key, values = {}) {
  const word = words[key] ?? key;
  return word.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Names in a row. */
export function joined(names) {
  return names.join(tag === 'zh' ? '、' : ', ');
}

/** The word for a state or kind that the daemon names, or the daemon's own word. */
export function word(group, name) {
  return words[`${group}.${name}`] ?? name;
}
