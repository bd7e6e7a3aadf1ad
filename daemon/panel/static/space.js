// Where the space went, by class: counted once for all cards that show it, and again when asked.

import { get } from './api.js';

const COUNT_SECONDS = 60;
const listeners = [];
let last = null;

/** `show(answer)` is called with each count; `answer.ok` is false when there is none. */
export function onSpace(show) {
  listeners.push(show);
  if (last) show(last);
}

/** Counts again every so often, as sweeps do, while `isSeen()`. */
export function keepCounting(isSeen) {
  window.setInterval(() => isSeen() && !document.hidden && count(), COUNT_SECONDS * 1000);
}

/** Counts now; resolves when it is shown. */
export async function count() {
  const answer = await get('/v1/disk');
  if (!answer.ok && last?.ok) return; // another count is under way
  last = answer;
  for (const show of listeners) show(last);
}
