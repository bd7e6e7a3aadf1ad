// Figures for people, by the same rules as worker/shared/quantities.py. Each gives a short text, "–" for what is not known.

import { language, t } from './i18n.js';

export const NONE = '–';
const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
const SPANS = [['unit.day', 86400], ['unit.hour', 3600], ['unit.minute', 60], ['unit.second', 1]];

const known = (value) => typeof value === 'number' && Number.isFinite(value);

/** With one decimal below `wholeFrom`, unless that is a zero; as a whole number from there on. */
function number(value, wholeFrom) {
  const tenths = Math.floor(value * 10 + 0.5);
  return String(tenths >= wholeFrom * 10 ? Math.floor(value + 0.5) : tenths / 10);
}

/** 1536 → "1.5KiB". */
export function bytes(value) {
  if (!known(value)) return NONE;
  if (value < 0) return `-${bytes(-value)}`;
  let size = value;
  let unit = 0;
  while (size >= 1023.5 && unit < SIZES.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return number(size, unit ? 100 : 0) + SIZES[unit];
}

/** 1234567 → "1,234,567". */
export function count(value) {
  return known(value) ? new Intl.NumberFormat(language()).format(value) : NONE;
}

/** 12.34 → "12.3%". */
export function percent(value) {
  return known(value) ? `${number(value, 100)}%` : NONE;
}

/** 93784 → "1d2h", 2.34 → "2.3s", 0.0034 → "3.4ms": two units at most, what is left is cut off. */
export function span(value) {
  if (!known(value)) return NONE;
  if (value <= 0) return `0${t('unit.second')}`;
  if (value < 0.9995) return number(value * 1000, 10) + t('unit.millisecond');
  if (value < 10) return number(value, 10) + t('unit.second');
  const whole = Math.floor(value + 0.5);
  const first = SPANS.findIndex(([, each]) => whole >= each);
  let rest = whole;
  return SPANS.slice(first, first + 2).map(([unit, each]) => {
    const times = Math.floor(rest / each);
    rest %= each;
    return times ? times + t(unit) : '';
  }).join('');
}

/** How long ago an RFC 3339 time was. */
export function ago(text) {
  const moment = Date.parse(text);
  if (Number.isNaN(moment)) return NONE;
  const passed = Math.floor((Date.now() - moment) / 1000);
  return passed < 5 ? t('time.now') : t('time.ago', { span: span(passed < 120 ? passed : passed - (passed % 60)) });
}

const two = (number) => String(number).padStart(2, '0');

/** A time at a chart's axis: hours and minutes, or the day. */
export function mark(milliseconds, days) {
  const moment = new Date(milliseconds);
  return days ? `${two(moment.getMonth() + 1)}-${two(moment.getDate())}` : `${two(moment.getHours())}:${two(moment.getMinutes())}`;
}

/** The local time of day of an RFC 3339 time; with its date when that is not today. */
export function clock(text, { fractions = false } = {}) {
  const moment = new Date(text);
  if (Number.isNaN(moment.getTime())) return NONE;
  const time = `${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}`
    + (fractions ? `.${String(moment.getMilliseconds()).padStart(3, '0')}` : '');
  const today = moment.toDateString() === new Date().toDateString();
  return today ? time : `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())} ${time}`;
}
