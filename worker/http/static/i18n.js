// Which language the page speaks: the one chosen before, else the browser's.

import { WORDS } from "./words.js";

const KEY = "modelward.language";
const listeners = [];
let current = stored() || preferred();

function stored() {
  try { return WORDS[localStorage.getItem(KEY)] ? localStorage.getItem(KEY) : ""; } catch { return ""; }
}

function preferred() {
  for (const tag of navigator.languages || [navigator.language || ""]) {
    const language = tag.toLowerCase().split("-")[0];
    if (WORDS[language]) return language;
  }
  return "en";
}

/** The language of the page, for the service. */
export function spoken() { return current; }

export function has(key) { return key in WORDS[current]; }

export function t(key, values = {}) {
  const text = WORDS[current][key] ?? WORDS.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Fills in the page's own words, and calls `listener` now and after each change of language. */
export function onLanguage(listener) { listeners.push(listener); listener(); }

export function switchLanguage() {
  current = WORDS[current].other_lang;
  try { localStorage.setItem(KEY, current); } catch { /* private mode: it lasts as long as the page */ }
  for (const listener of listeners) listener();
}

export function fillPage() {
  document.documentElement.lang = current === "zh" ? "zh-CN" : "en";
  document.title = t("page");
  for (const element of document.querySelectorAll("[data-i18n]")) element.textContent = t(element.dataset.i18n);
  for (const element of document.querySelectorAll("[data-i18n-label]")) element.setAttribute("aria-label", t(element.dataset.i18nLabel));
}
