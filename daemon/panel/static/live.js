// The daemon's state as it is now, over one event stream. Cards watch the parts that they show.
// A hidden tab lets its stream go: browsers allow few connections to one place.

const state = {};
const watchers = [];
let source = null;
let told = () => {};

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

function open() {
  source?.close();
  source = new EventSource('/live');
  source.addEventListener('snapshot', (event) => {
    take(JSON.parse(event.data));
    told('live');
  });
  source.addEventListener('error', () => {
    told(source.readyState === EventSource.CLOSED ? 'closed' : 'lost');
    if (source.readyState === EventSource.CLOSED) window.setTimeout(() => !document.hidden && open(), 3000);
  });
}

/** Begins; `say` hears "live", "lost" (it comes back by itself), "closed" (refused; tried again). */
export function begin(say) {
  told = say;
  open();
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) source?.close();
    else open();
  });
}
