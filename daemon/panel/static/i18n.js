// Words in the browser's language: Chinese for any "zh", else English. The daemon gives its sentences in the language of
// the page. zh.json is made from en.json and the catalogue: make docs.

let words = {};
let tag = 'en';

/** Loads the words for the browser's languages. */
export async function load(languages = navigator.languages) {
  tag = (languages?.[0] ?? 'en').toLowerCase().startsWith('zh') ? 'zh' : 'en';
  const answer = await fetch(`/static/i18n/${tag}.json`);
  words = await answer.json();
  document.documentElement.lang = tag === 'zh' ? 'zh-CN' : 'en';
  return tag;
}

/** The language of the page, for the daemon: "en" or "zh". */
export function spoken() {
  return tag;
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

/** The word for a state or kind that the daemon names, or the daemon's own word. */
export function word(group, name) {
  return words[`${group}.${name}`] ?? name;
}
