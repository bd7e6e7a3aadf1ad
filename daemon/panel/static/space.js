// Where the space went, by class: counted once for all cards that show it, and again when asked.

import { get } from './api.js';

const listeners = [];
let last = null;

/** `show(answer)` is called with each count; `answer.ok` is false when there is none. */
export function onSpace(show) {
  listeners.push(show);
  if (last) show(last);
}

/** Counts now; resolves when it is shown. */
export async function count() {
  last = await get('/v1/disk');
  for (const show of listeners) show(last);
}
