// Light, dark, or as the system has it. What holds now stands on the root element, where the style sheet reads it.

import * as memory from './memory.js';

export const THEMES = ['auto', 'light', 'dark'];
const listeners = [];
const system = window.matchMedia('(prefers-color-scheme: dark)');
let theme = memory.read('theme', THEMES);

function apply() {
  document.documentElement.dataset.theme = theme === 'auto' ? (system.matches ? 'dark' : 'light') : theme;
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

system.addEventListener('change', () => theme === 'auto' && apply());
apply();
