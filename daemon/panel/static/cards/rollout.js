// The rollout under way, or the last one: each worker's stage, the canary first, and every step with its because.

import { badge, card, setBadge } from '../card.js';
import { h, keyed, mark, say } from '../dom.js';
import * as f from '../format.js';
import { t, word } from '../i18n.js';
import { watch } from '../live.js';

/** The workers in the order in which they were asked; the first is the canary. */
export function inOrder(rollout) {
  const asked = [];
  for (const step of rollout.steps ?? []) {
    if (step.worker && !asked.includes(step.worker)) asked.push(step.worker);
  }
  const place = (name) => (asked.includes(name) ? asked.indexOf(name) : asked.length);
  return [...(rollout.workers ?? [])].sort((a, b) => place(a.name) - place(b.name));
}

function worker() {
  const name = h('span', { class: 'mono' });
  const role = h('span', { class: 'quiet' });
  const stage = badge('stage', 'old');
  const element = h('li', { class: 'stage' }, h('span', {}, name, ' ', role), stage);
  return {
    element,
    update({ name: called, state, canary }) {
      say(name, called);
      say(role, canary ? t('rollout.canary') : '');
      setBadge(stage, 'stage', state);
      mark(element, 'data-stage', state);
    },
  };
}

function step() {
  const time = h('time', { class: 'quiet mono' });
  const kind = h('span', { class: 'kind' });
  const because = h('span', { class: 'grow' });
  return {
    element: h('li', {}, time, kind, because),
    update(entry) {
      say(time, f.clock(entry.time, { fractions: true }));
      mark(time, 'datetime', entry.time);
      say(kind, word('step', entry.step));
      say(because, entry.because);
    },
  };
}

export function rollout() {
  const none = h('p', { class: 'quiet' }, t('rollout.none'));
  const title = h('p', { class: 'mono headline' });
  const state = badge('rollout', 'preparing');
  const because = h('p', { role: 'status' });
  const began = h('span', { class: 'quiet' });
  const workers = h('ul', { class: 'stages', 'aria-label': t('rollout.workers') });
  const steps = h('ol', { class: 'lines steps', tabindex: '0', 'aria-label': t('rollout.steps') });
  const box = h('div', { hidden: true }, h('div', { class: 'row' }, title, state, began), because, workers, steps);
  let shown = '';
  watch(['rollout'], ({ rollout: found }) => {
    const known = Boolean(found?.id);
    none.hidden = known;
    box.hidden = !known;
    if (!known) return;
    say(title, found.from ? `${found.from} → ${found.version}` : found.version);
    setBadge(state, 'rollout', found.decided ? (found.succeeded ? 'done' : 'failed') : found.state);
    say(because, found.because);
    say(began, f.clock(found.began));
    mark(box, 'data-rollout', found.id);
    mark(box, 'data-decided', found.decided ? 'yes' : 'no');
    const canary = (found.steps ?? []).find((each) => each.worker)?.worker;
    const staged = inOrder(found).map((each) => ({ ...each, canary: each.name === canary && (found.workers ?? []).length > 1 }));
    keyed(workers, staged, (each) => each.name, worker);
    keyed(steps, (found.steps ?? []).map((each, index) => ({ ...each, index: `${found.id} ${index}` })), (each) => each.index, step);
    if (shown !== `${found.id} ${found.steps?.length}`) steps.scrollTop = steps.scrollHeight;
    shown = `${found.id} ${found.steps?.length}`;
  });
  return card('rollout', t('rollout.title'), { wide: 'third' }, none, box);
}
