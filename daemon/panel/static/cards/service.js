// The service and each of its workers: what it serves, how much, how fast, how large.

import { button } from '../act.js';
import { badge, card, cell, setBadge, table } from '../card.js';
import { chart } from '../chart.js';
import { h, keyed, say } from '../dom.js';
import * as f from '../format.js';
import { t } from '../i18n.js';
import { watch } from '../live.js';
import { newest, onSeries } from '../series.js';
import { probe } from './outside.js';

const MOST = 8;

function row(first) {
  const label = (key) => t(`workers.${key}`);
  const name = h('span', { class: 'mono' });
  const state = badge('worker', 'idle');
  const because = h('div', { class: 'quiet' });
  const serving = h('span', { class: 'mono' });
  const figures = Object.fromEntries(['requests', 'errors', 'inflight', 'p95', 'memory', 'pid'].map((key) => [key, h('span')]));
  const restart = first.attached || !first.name ? h('span') : button(t('workers.restart'), () => ({
    title: t('workers.restart_title', { name: first.name }), text: t('workers.restart_text'), yes: t('workers.restart'),
    path: '/v1/restart?wait=1', body: { worker: first.name },
  }), { kind: 'small', describe: t('workers.restart_title', { name: first.name }) });
  return {
    element: h('tr', {},
      cell(label('name'), '', name), cell(label('state'), '', state, because), cell(label('serving'), 'whole', serving),
      ...Object.entries(figures).map(([key, element]) => cell(label(key), 'number', element)), cell('', 'number', restart)),
    update(worker) {
      say(name, worker.attached ? `${worker.name} (${t('workers.attached')})` : worker.name || f.NONE);
      setBadge(state, 'worker', worker.state);
      say(because, worker.because ?? '');
      say(serving, worker.serving || f.NONE);
      say(figures.requests, f.count(worker.requests));
      say(figures.errors, f.count(worker.errors));
      figures.errors.className = worker.errors ? 'bad-text' : '';
      say(figures.inflight, f.count(worker.inflight));
      say(figures.p95, worker.p95_seconds ? f.span(worker.p95_seconds) : f.NONE);
      say(figures.memory, worker.rss_bytes ? f.bytes(worker.rss_bytes) : f.NONE);
      say(figures.pid, worker.pid ?? f.NONE);
    },
  };
}

function answered() {
  const label = (key) => t(`traffic.${key}`);
  const name = h('span', { class: 'mono' });
  const figures = Object.fromEntries(['requests', 'errors', 'p50', 'p95'].map((key) => [key, h('span')]));
  return {
    element: h('tr', {}, cell(label('version'), 'whole', name), ...Object.entries(figures).map(([key, element]) => cell(label(key), 'number', element))),
    update(entry) {
      say(name, entry.version);
      say(figures.requests, f.count(entry.requests));
      say(figures.errors, entry.errors ? `${f.count(entry.errors)} (${f.percent((100 * entry.errors) / Math.max(1, entry.requests))})` : '0');
      figures.errors.className = entry.errors ? 'bad-text' : '';
      say(figures.p50, f.span(entry.p50_seconds));
      say(figures.p95, f.span(entry.p95_seconds));
    },
  };
}

/** What each version answered, the last MOST of them. */
function traffic() {
  const found = table(t('traffic.title'), ['version', 'requests', 'errors', 'p50', 'p95'].map((key, index) => [t(`traffic.${key}`), index ? 'number' : '']));
  const since = h('p', { class: 'quiet' });
  const element = h('div', { class: 'traffic', hidden: true }, since, found.element);
  watch(['traffic'], ({ traffic: counted }) => {
    const known = (counted.versions ?? []).slice(0, MOST);
    element.hidden = known.length === 0;
    say(since, t('traffic.since', { time: f.clock(counted.since) }));
    keyed(found.body, known, (entry) => entry.version, answered);
  });
  return element;
}

export function service() {
  const columns = ['name', 'state', 'serving', 'requests', 'errors', 'inflight', 'p95', 'memory', 'pid'];
  const workers = table(t('workers.title'), [
    ...columns.map((key, index) => [t(`workers.${key}`), index > 2 ? 'number' : '']), [h('span', { class: 'unseen' }, t('workers.actions')), ''],
  ]);
  const requests = chart({
    label: t('service.requests'),
    lines: [
      { name: 'requests_per_second', label: t('figure.requests'), colour: '--blue' },
      { name: 'errors_per_second', label: t('figure.errors'), colour: '--red' },
    ],
    format: (value) => (typeof value === 'number' ? `${value < 10 ? value.toFixed(1) : Math.round(value)}/s` : f.NONE),
    top: 1,
  });
  const latency = chart({
    label: t('service.p95'), lines: [{ name: 'p95_seconds', label: 'p95', colour: '--green' }],
    format: (value) => f.span(value ?? undefined), top: 0.01,
  });
  const rate = h('span', { class: 'big' }, f.NONE);
  onSeries((found) => {
    requests.draw(found.times, found.columns);
    latency.draw(found.times, found.columns);
    const value = newest('requests_per_second');
    say(rate, value === null ? f.NONE : `${value.toFixed(value < 10 ? 1 : 0)}/s`);
  });
  const all = button(t('service.restart_all'), () => ({ title: t('service.restart_all'), text: t('service.restart_all_text'), yes: t('service.restart_all'), path: '/v1/restart?wait=1' }), { kind: 'small' });
  const tools = [
    button(t('service.rescan'), () => ({ title: t('service.rescan'), text: t('service.rescan_text'), yes: t('service.rescan'), path: '/v1/rescan?wait=1' }), { kind: 'small' }),
    button(t('service.reload'), () => ({ title: t('service.reload'), text: t('service.reload_text'), yes: t('service.reload'), path: '/v1/reload' }), { kind: 'small' }),
    all,
  ];
  const pending = h('ul', { class: 'lines', role: 'status', 'aria-label': t('service.pending') });
  watch(['status'], ({ status }) => {
    pending.replaceChildren(...(status.pending ?? []).map((entry) => h('li', {}, h('span', { class: 'kind' }, t('service.pending')), ' ', entry.message)));
    pending.hidden = !pending.children.length;
  });
  const none = h('p', { class: 'quiet' }, t('workers.none'));
  watch(['workers'], ({ workers: found }) => {
    const known = found.workers ?? [];
    none.hidden = known.length > 0;
    all.hidden = !known.some((worker) => worker.name && !worker.attached);
    keyed(workers.body, known.map((worker, index) => ({ ...worker, key: worker.name || `place ${index}` })), (w) => w.key, row);
  });
  return card('service', t('service.title'), { wide: 'two-thirds', tools },
    h('div', { class: 'pair' },
      h('figure', {}, h('figcaption', {}, t('service.requests'), rate), requests.element),
      h('figure', {}, h('figcaption', {}, t('service.p95')), latency.element)),
    pending, probe(), workers.element, none, traffic());
}
