// Marks everything on the page as of the past while nothing comes from the daemon, and takes the marks away again.
// What is shown stays, to be read; nothing that would ask the daemon can be pressed.

import { h, mark, say } from './dom.js';
import * as f from './format.js';
import { t } from './i18n.js';

let title = null;

/** What holds the cards: all their buttons and fields are off with it. */
export function whole(...cards) {
  return h('fieldset', { class: 'whole', role: 'presentation' }, ...cards);
}

/** The line that gives the time of the last figure. */
export function banner() {
  return h('p', { class: 'stale-banner', role: 'status' });
}

/** `heard` is when something came last, a Date or null; `stale` whether that is over. */
export function show(stale, heard) {
  const values = { time: heard ? f.clock(heard) : f.NONE };
  mark(document.body, 'data-stale', stale);
  say(document.querySelector('.stale-banner'), stale ? t('stale.banner', values) : '');
  for (const element of document.querySelectorAll('.stale-mark')) say(element, stale ? t('stale.mark', values) : '');
  for (const element of document.querySelectorAll('fieldset.whole, .top button, dialog button[value=yes]')) element.disabled = stale;
  if (stale && title === null) {
    title = document.title;
    document.title = `✕ ${t('stale.title')} · modelward`;
  } else if (!stale && title !== null) {
    if (document.title.startsWith(`✕ ${t('stale.title')}`)) document.title = title;
    title = null;
  }
}
