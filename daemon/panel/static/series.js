// The daemon's figures over the chosen time: fetched, then one row more with each measurement.

import { get } from './api.js';
import { watch } from './live.js';
import * as memory from './memory.js';

export const SPANS = { '1h': 3600, '24h': 86400, '7d': 604800 };
const shown = { times: [], columns: {} };
const listeners = [];
let span = memory.read('span', Object.keys(SPANS));
let latest = {};
let fetching = false;
let fetched = 0;

/** `show(shown)` is called with {times, columns} whenever there is more; times are seconds since 1970. */
export function onSeries(show) {
  listeners.push(show);
}

/** The newest value of a figure; before the first measurement that of the chart; or null. */
export function newest(name) {
  return latest[name] ?? shown.columns[name]?.at(-1) ?? null;
}

/** The chosen time, and how many seconds it goes back. */
export function chosen() {
  return { name: span, seconds: SPANS[span] };
}

/** Shows another time from now on. */
export function choose(name) {
  span = name;
  memory.keep('span', name);
  fetching = false;
  fetchAll();
}

function tell() {
  for (const show of listeners) show(shown);
}

async function fetchAll() {
  if (fetching) return;
  fetching = true;
  fetched = Date.now() / 1000;
  const asked = span;
  const answer = await get(`/v1/series?span=${asked}`);
  if (asked !== span) return;
  fetching = false;
  if (!answer.ok) return;
  shown.times = (answer.data.times ?? []).map(seconds);
  shown.columns = answer.data.series ?? {};
  shown.interval = answer.data.interval_seconds ?? 10;
  tell();
}

function seconds(moment) {
  return Date.parse(moment) / 1000;
}

function add(sample) {
  const time = seconds(sample.time);
  const { row } = sample;
  latest = row;
  const last = shown.times.at(-1);
  const away = last === undefined || time - last > 3 * (shown.interval ?? 10); // the tab was, or has just come
  if (span !== '1h' || away) {
    if (Date.now() / 1000 - fetched >= (span === '1h' ? 0 : shown.interval ?? 60)) fetchAll();
    tell();
    return;
  }
  if (time <= last) return;
  const names = new Set([...Object.keys(shown.columns), ...Object.keys(row)]);
  for (const name of names) {
    shown.columns[name] ??= shown.times.map(() => null);
    shown.columns[name].push(row[name] ?? null);
  }
  shown.times.push(time);
  while (shown.times[0] < time - SPANS['1h']) {
    shown.times.shift();
    for (const name of names) shown.columns[name].shift();
  }
  tell();
}

/** Begins to listen. */
export function begin() {
  fetchAll();
  watch(['sample'], (state) => state.sample?.row && add(state.sample));
}
