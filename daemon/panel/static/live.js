// The daemon's state as it is now, over one event stream. Cards watch the parts that they show.
// A hidden tab lets its stream go: browsers allow few connections to one place.

import { chosen } from './i18n.js';

const state = {};
const watchers = [];
let source = null;
let told = () => {};
let standing = '';
let heard = null;
let quietSince = 0;
const SILENT_MS = 2500;
const GIVE_UP_MS = 10000;

/** `show(state)` is called now if one of these parts is known, and whenever one changes. */
export function watch(parts, show) {
  watchers.push({ parts, show });
  if (parts.some((part) => part in state)) show(state);
}

/** The newest known value of a part. */
export function now(part) {
  return state[part];
}

function take(snapshot) {
  Object.assign(state, snapshot);
  const changed = Object.keys(snapshot);
  for (const { parts, show } of watchers) {
    if (parts.some((part) => changed.includes(part))) show(state);
  }
}

/** Says how it stands: each time when it is bad, once when it is good. */
function tell(how) {
  const before = standing;
  standing = how;
  if (how !== 'live' || before !== 'live') told(how, heard);
}

function hear(snapshot) {
  heard = new Date();
  quietSince = performance.now();
  if (snapshot) take(snapshot);
  tell('live');
}

function open() {
  source?.close();
  quietSince = performance.now();
  source = new EventSource(`live?language=${chosen()}`);
  source.addEventListener('snapshot', (event) => hear(JSON.parse(event.data)));
  source.addEventListener('beat', () => hear(null));
  source.addEventListener('error', () => {
    tell(source.readyState === EventSource.CLOSED ? 'closed' : 'lost');
    if (source.readyState === EventSource.CLOSED) window.setTimeout(() => !document.hidden && open(), 3000);
  });
}

/** The daemon beats each second: silence is a daemon that hangs, or a network that is gone, and breaks no connection. */
function listen() {
  if (document.hidden || source?.readyState !== EventSource.OPEN) return;
  const quiet = performance.now() - quietSince;
  if (quiet > SILENT_MS && standing !== 'lost') tell('lost');
  if (quiet > GIVE_UP_MS) open();
}

/**
 * Begins; `say(how, heard)` hears "live", "lost" (it comes back by itself), "closed" (refused; tried again), and when
 * something was heard last, a Date or null.
 */
export function begin(say) {
  told = say;
  open();
  window.setInterval(listen, 250);
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) source?.close();
    else open();
  });
}
