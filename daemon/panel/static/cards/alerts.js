// Alerts, the gravest first; nothing at all when all is well.

import { badge, card, setBadge } from '../card.js';
import { button } from '../act.js';
import { h, keyed, mark, say } from '../dom.js';
import * as f from '../format.js';
import { t } from '../i18n.js';
import { watch } from '../live.js';

function line() {
  const state = badge('alert', 'firing');
  const text = h('span', { class: 'grow' });
  const since = h('time', { class: 'quiet' });
  return {
    element: h('li', {}, state, text, since),
    update(alert) {
      const name = alert.state ?? 'firing';
      setBadge(state, 'alert', name === 'firing' ? (alert.severity ?? name) : name);
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

export function alerts() {
  const list = h('ul', { class: 'lines alerts' });
  const channels = h('ul', { class: 'lines' });
  const none = h('p', { class: 'quiet' }, t('alerts.none'));
  const test = button(t('alerts.test'), () => ({
    title: t('alerts.test'), text: t('alerts.test_text'), yes: t('alerts.test_yes'), path: '/v1/alerts/test',
  }), { kind: 'small' });
  const section = card('alerts', t('alerts.title'), { wide: 'full', tools: [test] }, none, list, channels);
  watch(['alerts'], ({ alerts: found }) => {
    const known = found.alerts ?? [];
    const grave = known.filter((a) => ['firing', 'no data'].includes(a.state ?? 'firing'));
    mark(section, 'data-grave', grave.length ? (grave.some((a) => a.severity === 'critical') ? 'critical' : 'warning') : null);
    none.hidden = known.length > 0;
    keyed(list, known, (a) => `${a.name ?? a.message}|${a.subject ?? ''}`, line);
    keyed(channels, found.channels ?? [], (c) => c.channel, channel);
    test.hidden = !(found.channels ?? []).length;
  });
  return section;
}
