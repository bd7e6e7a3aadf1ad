// Alerts, the gravest first; nothing at all when all is well.

import { badge, card, setBadge } from '../card.js';
import { button } from '../act.js';
import { h, keyed, mark, say } from '../dom.js';
import * as f from '../format.js';
import { joined, t } from '../i18n.js';
import { now, watch } from '../live.js';
import { heartbeat } from './outside.js';

const SPANS = ['1h', '4h', '8h', '1d', '7d'];

/** Asks for how long and why; `name` is an alert, one of its subjects, or all. */
function muting(name) {
  const duration = h('select', {}, SPANS.map((each) => h('option', { value: each, selected: each === '4h' }, t(`alerts.for.${each}`))));
  const why = h('input', { type: 'text', maxlength: 200 });
  return {
    title: name === 'all' ? t('alerts.mute_all') : t('alerts.mute_title', { name }),
    text: t('alerts.mute_text'),
    content: [h('label', { class: 'row' }, t('alerts.mute_for'), duration), h('label', { class: 'row' }, t('alerts.why'), why)],
    yes: t('alerts.mute'),
    path: '/v1/alerts/mute',
    get body() { return { name, duration: duration.value, why: why.value }; },
  };
}

function acknowledging(name) {
  const why = h('input', { type: 'text', maxlength: 200 });
  return {
    title: t('alerts.ack_title', { name }),
    text: t('alerts.ack_text'),
    content: [h('label', { class: 'row' }, t('alerts.why'), why)],
    yes: t('alerts.ack'),
    path: '/v1/alerts/ack',
    get body() { return { name, why: why.value }; },
  };
}

/** As the daemon takes it: a rule, or one of its subjects. */
const nameOf = (alert) => (alert.subject ? `${alert.name}:${alert.subject}` : alert.name);

function line(first) {
  const name = nameOf(first);
  const state = badge('alert', 'firing');
  const text = h('span', { class: 'grow' });
  const note = h('span', { class: 'quiet' });
  const since = h('time', { class: 'quiet' });
  const mute = button(t('alerts.mute'), () => muting(name), { kind: 'small', describe: t('alerts.mute_title', { name }) });
  const ack = button(t('alerts.ack'), () => acknowledging(name), { kind: 'small', describe: t('alerts.ack_title', { name }) });
  return {
    element: h('li', {}, state, text, note, since, ack, mute),
    update(alert) {
      const firing = ['firing', 'no data'].includes(alert.state ?? 'firing');
      const notes = [alert.acknowledged && t('alerts.acknowledged'), alert.held && t('alerts.held')].filter((each) => each);
      say(note, notes.join(', '));
      mark(note, 'title', alert.held || null);
      ack.hidden = alert.state !== 'firing' || Boolean(alert.acknowledged);
      mute.hidden = !firing || Boolean(alert.held);
      const shown = alert.state ?? 'firing';
      setBadge(state, 'alert', shown === 'firing' ? (alert.severity ?? shown) : shown);
      say(text, alert.message ?? alert.name);
      say(since, alert.since ? f.ago(alert.since) : '');
      mark(since, 'datetime', alert.since);
    },
  };
}

function channel() {
  const name = h('span');
  const how = h('span', { class: 'grow quiet' });
  return {
    element: h('li', {}, name, how),
    update(entry) {
      say(name, entry.channel);
      say(how, entry.failures
        ? t('alerts.channel_failing', { count: f.count(entry.failures), because: entry.because })
        : t('alerts.channel_good', { delivered: f.count(entry.delivered), waiting: f.count(entry.waiting) }));
      mark(how, 'class', entry.failures ? 'grow bad-text' : 'grow quiet');
    },
  };
}

function muted() {
  const text = h('span', { class: 'grow' });
  let name = '';
  const end = button(t('alerts.unmute'), () => ({
    title: t('alerts.unmute_title', { name }), text: t('alerts.unmute_text'), yes: t('alerts.unmute'),
    path: '/v1/alerts/unmute', body: { name },
  }), { kind: 'small' });
  return {
    element: h('li', {}, text, end),
    update(mute) {
      name = mute.name;
      const what = name === 'all' ? t('alerts.all') : name;
      say(text, t('alerts.muted', { name: what, until: f.clock(mute.until) }) + (mute.because ? ` – ${mute.because}` : ''));
    },
  };
}

function openWindow() {
  const text = h('span', { class: 'grow' });
  return {
    element: h('li', {}, text),
    update(entry) {
      const what = entry.alerts.length ? joined(entry.alerts) : t('alerts.all');
      say(text, t(entry.critical ? 'alerts.window' : 'alerts.window_passes', { because: entry.because, name: what, until: f.clock(entry.until) }));
    },
  };
}

const SAME_SHOWN = 3;

/** The alerts, of each name the first few, and how many more of each there are. */
function few(known) {
  const counts = new Map();
  const shown = known.filter(({ name }) => {
    counts.set(name, (counts.get(name) ?? 0) + 1);
    return counts.get(name) <= SAME_SHOWN;
  });
  return [shown, known.length - shown.length];
}

export function alerts() {
  const list = h('ul', { class: 'lines alerts' });
  const channels = h('ul', { class: 'lines' });
  const none = h('p', { class: 'quiet' }, t('alerts.none'));
  const more = h('button', { type: 'button', class: 'small', hidden: true });
  const test = button(t('alerts.test'), () => ({
    title: t('alerts.test'), text: t('alerts.test_text'), yes: t('alerts.test_yes'), path: '/v1/alerts/test',
  }), { kind: 'small' });
  const all = button(t('alerts.mute_all'), () => muting('all'), { kind: 'small' });
  const mutes = h('ul', { class: 'lines mutes' });
  const windows = h('ul', { class: 'lines' });
  const section = card('alerts', t('alerts.title'), { wide: 'full', tools: [all, test] }, none, list, more, mutes, windows, channels, heartbeat());
  let open = false;
  const show = ({ alerts: found }) => {
    const known = found.alerts ?? [];
    const grave = known.filter((a) => ['firing', 'no data'].includes(a.state ?? 'firing'));
    mark(section, 'data-grave', grave.length ? (grave.some((a) => a.severity === 'critical') ? 'critical' : 'warning') : null);
    none.hidden = known.length > 0;
    const [shown, rest] = open ? [known, 0] : few(known);
    more.hidden = !rest && !(open && few(known)[1]);
    say(more, open ? t('alerts.fewer') : t('alerts.more', { count: f.count(rest) }));
    keyed(list, shown, (a) => `${a.name ?? a.message}|${a.subject ?? ''}`, line);
    keyed(mutes, found.mutes ?? [], (m) => m.name, muted);
    keyed(windows, found.windows ?? [], (w) => `${w.because}|${w.until}`, openWindow);
    keyed(channels, found.channels ?? [], (c) => c.channel, channel);
    test.hidden = all.hidden = !(found.channels ?? []).length;
  };
  more.addEventListener('click', () => {
    open = !open;
    show({ alerts: now('alerts') });
  });
  watch(['alerts'], show);
  return section;
}
