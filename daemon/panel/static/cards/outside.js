// What is checked from outside: the probe that is sent through the port, and the heartbeat that is sent to a service elsewhere.

import { badge, setBadge } from '../card.js';
import { h, say } from '../dom.js';
import * as f from '../format.js';
import { t } from '../i18n.js';
import { watch } from '../live.js';

function lastProbe(last) {
  const texts = last.expected ? t('probe.texts', { clip: last.clip, expected: last.expected, got: last.got || f.NONE }) : '';
  return [t('probe.last', { ago: f.ago(last.time), span: f.span(last.seconds) }), texts].filter(Boolean).join(' · ');
}

/** The probe: how the last one ended, what was expected and what came back. Hidden where none is configured. */
export function probe() {
  const state = badge('probe', 'off');
  const counts = h('span', {});
  const last = h('span', { class: 'quiet last' });
  const trouble = h('span', { class: 'bad-text' });
  const element = h('div', { class: 'row check', role: 'status', 'aria-label': t('probe.title'), hidden: true },
    h('span', { class: 'kind' }, t('probe.title')), state, counts, trouble, last);
  watch(['status'], ({ status }) => {
    const found = status.probe;
    element.hidden = !found?.configured;
    if (element.hidden) return;
    const how = found.off ? 'off' : !found.passed && !found.failed ? 'waiting' : found.in_a_row ? 'failed' : 'passed';
    setBadge(state, 'probe', how);
    say(counts, found.off || t('probe.counts', { passed: f.count(found.passed), failed: f.count(found.failed), p95: f.span(found.p95_seconds ?? undefined) }));
    say(trouble, found.in_a_row ? t('probe.failing', { ago: f.ago(found.failing_since), count: f.count(found.in_a_row), because: found.because }) : '');
    say(last, found.last ? lastProbe(found.last) : '');
  });
  return element;
}

/** The heartbeat: when the last one arrived and when the last one did not. Hidden without an address. */
export function heartbeat() {
  const state = badge('heartbeat', 'delivered');
  const text = h('span', { class: 'grow quiet' });
  const element = h('div', { class: 'row check', role: 'status', 'aria-label': t('heartbeat.title'), hidden: true },
    h('span', { class: 'kind' }, t('heartbeat.title')), state, text);
  watch(['status'], ({ status }) => {
    const found = status.heartbeat;
    element.hidden = !found;
    if (!found) return;
    setBadge(state, 'heartbeat', found.failures ? 'failed' : found.failing ? 'warning' : 'delivered');
    say(text, [
      found.failures && t('heartbeat.failures', { count: f.count(found.failures) }),
      found.delivered && t('heartbeat.delivered_at', { ago: f.ago(found.delivered) }),
      found.failed && t('heartbeat.failed_at', { ago: f.ago(found.failed), because: found.failed_because }),
    ].filter(Boolean).join(' · '));
  });
  return element;
}
