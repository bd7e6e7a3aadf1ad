// Light, dark, or as the system has it. The choice stands on the root element, where the style sheet reads it.

import * as memory from './memory.js';

export const THEMES = ['auto', 'light', 'dark'];
const listeners = [];
let theme = memory.read('theme', THEMES);

function apply() {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const show of listeners) show();
}

/** The chosen one. */
export function chosen() {
  return theme;
}

/** Shows another one from now on. */
export function choose(name) {
  theme = name;
  memory.keep('theme', name);
  apply();
}

/** `show()` is called whenever colours change. */
export function onTheme(show) {
  listeners.push(show);
}

window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => theme === 'auto' && apply());
apply();
