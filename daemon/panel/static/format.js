// Figures for people. Each gives a short text, "–" for what is not known.

import { language, t } from './i18n.js';

export const NONE = '–';
const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

const known = (value) => typeof value === 'number' && Number.isFinite(value);

/** 1536 → "1.5 KiB". */
export function bytes(value) {
  if (!known(value)) return NONE;
  let size = value;
  let unit = 0;
  while (Math.abs(size) >= 1024 && unit < UNITS.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${UNITS[unit]}`;
}

/** 1234567 → "1,234,567". */
export function count(value) {
  return known(value) ? new Intl.NumberFormat(language()).format(value) : NONE;
}

/** 12.34 → "12.3 %". */
export function percent(value) {
  return known(value) ? `${value.toFixed(value >= 99.95 ? 0 : 1)} %` : NONE;
}

/** 0.0034 → "3.4 ms". */
export function seconds(value) {
  if (!known(value)) return NONE;
  if (value < 1) return `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms`;
  if (value < 100) return `${value.toFixed(value < 10 ? 2 : 1)} s`;
  return span(value);
}

/** 93784 → "1 d 2 h". */
export function span(value) {
  if (!known(value)) return NONE;
  const whole = Math.max(0, Math.round(value));
  const parts = [
    [Math.floor(whole / 86400), 'unit.day'],
    [Math.floor((whole % 86400) / 3600), 'unit.hour'],
    [Math.floor((whole % 3600) / 60), 'unit.minute'],
    [whole % 60, 'unit.second'],
  ];
  const first = parts.findIndex(([number]) => number > 0);
  if (first < 0) return `0 ${t('unit.second')}`;
  return parts.slice(first, first + 2).filter(([number]) => number > 0).map(([number, unit]) => `${number} ${t(unit)}`).join(' ');
}

/** How long ago an RFC 3339 time was. */
export function ago(text) {
  const moment = Date.parse(text);
  if (Number.isNaN(moment)) return NONE;
  const passed = (Date.now() - moment) / 1000;
  return passed < 5 ? t('time.now') : t('time.ago', { span: span(passed < 120 ? passed : passed - (passed % 60)) });
}

const two = (number) => String(number).padStart(2, '0');

/** The local time of day of an RFC 3339 time; with its date when that is not today. */
export function clock(text, { fractions = false } = {}) {
  const moment = new Date(text);
  if (Number.isNaN(moment.getTime())) return NONE;
  const time = `${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}`
    + (fractions ? `.${String(moment.getMilliseconds()).padStart(3, '0')}` : '');
  const today = moment.toDateString() === new Date().toDateString();
  return today ? time : `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())} ${time}`;
}
