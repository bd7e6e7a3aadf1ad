// The last hour of the daemon's figures: fetched once, then one row more with each measurement.

import { get } from './api.js';
import { watch } from './live.js';

const HOUR_SECONDS = 3600;
const hour = { times: [], columns: {} };
const listeners = [];
let fetching = false;

/** `show(hour)` is called with {times, columns} whenever there is more; times are seconds since 1970. */
export function onHour(show) {
  listeners.push(show);
}

/** The newest value of a figure, or null. */
export function newest(name) {
  return hour.columns[name]?.at(-1) ?? null;
}

function tell() {
  for (const show of listeners) show(hour);
}

async function fetchHour() {
  if (fetching) return;
  fetching = true;
  const answer = await get('/v1/series');
  fetching = false;
  if (!answer.ok) return;
  hour.times = (answer.data.times ?? []).map(seconds);
  hour.columns = answer.data.series ?? {};
  hour.interval = answer.data.interval_seconds ?? 10;
  tell();
}

function seconds(moment) {
  return Date.parse(moment) / 1000;
}

function add(sample) {
  const time = seconds(sample.time);
  const { row } = sample;
  const last = hour.times.at(-1);
  if (last !== undefined && time <= last) return;
  if (last === undefined || time - last > 3 * (hour.interval ?? 10)) {
    fetchHour(); // the tab was away, or has just come
    return;
  }
  const names = new Set([...Object.keys(hour.columns), ...Object.keys(row)]);
  for (const name of names) {
    hour.columns[name] ??= hour.times.map(() => null);
    hour.columns[name].push(row[name] ?? null);
  }
  hour.times.push(time);
  while (hour.times[0] < time - HOUR_SECONDS) {
    hour.times.shift();
    for (const name of names) hour.columns[name].shift();
  }
  tell();
}

/** Begins to listen. */
export function begin() {
  fetchHour();
  watch(['sample'], (state) => state.sample?.row && add(state.sample));
}
