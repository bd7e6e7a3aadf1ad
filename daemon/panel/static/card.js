// What cards have in common: a heading, a place for buttons, badges, tables that fold on narrow screens.

import { h, say } from './dom.js';
import { word } from './i18n.js';

/** A section with a heading. `tools` stand at its right. */
export function card(id, title, { tools = [], wide = '' } = {}, ...children) {
  return h('section', { class: `card ${wide}`, id, 'aria-labelledby': `${id}-title` },
    h('div', { class: 'card-head' }, h('h2', { id: `${id}-title` }, title), h('span', { class: 'stale-mark' }), h('div', { class: 'row tools' }, tools)),
    ...children);
}

const TONES = {
  good: ['uploaded', 'passed', 'delivered', 'accepted', 'ready', 'serving', 'done', 'moved', 'resolved', 'activated', 'alert-resolved', 'fleet-done'],
  busy: ['validating', 'settling', 'seen', 'loading', 'preparing', 'prepared', 'committing', 'baking', 'pending', 'starting', 'retiring', 'watching', 'fetching', 'judging'],
  bad: ['rejected', 'failed', 'refused', 'firing', 'critical', 'blocked', 'rollout-failed', 'worker-ended', 'alert-firing', 'complaint', 'config-refused', 'fleet-refused', 'fleet-halt'],
  warn: ['held', 'warning', 'no data', 'link-restored', 'drifted', 'silent', 'late', 'idle', 'waiting'],
};

/** The colour that goes with a state's name; the name itself always stands beside it. */
export function tone(name) {
  return Object.keys(TONES).find((each) => TONES[each].includes(name)) ?? 'plain-tone';
}

/** A badge that shows a state of a group of words. */
export function badge(group, name) {
  return setBadge(h('span'), group, name);
}

/** Shows another state in a badge. */
export function setBadge(element, group, name) {
  element.className = `badge ${tone(name)}`;
  return say(element, word(group, name));
}

/** A table with these headings that folds into lines on narrow screens; rows come from `row`. */
export function table(caption, headings) {
  const body = h('tbody');
  const element = h('table', { class: 'fold' },
    h('caption', { class: 'unseen' }, caption),
    h('thead', {}, h('tr', {}, headings.map(([label, kind]) => h('th', { scope: 'col', class: kind || null }, label)))),
    body);
  return { element: h('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': caption }, element), body };
}

/** A cell that knows its heading's name for narrow screens. */
export function cell(label, kind, ...children) {
  return h('td', { class: kind || null, 'data-label': label || null }, ...children);
}
