// What this browser remembers of how the page is to be shown. Without storage nothing is remembered, and nothing fails.

const PREFIX = 'modelward.panel.';

/** What was kept under this name if it is one of `choices`, else the first of them. */
export function read(name, choices) {
  try {
    const kept = window.localStorage.getItem(PREFIX + name);
    return choices.includes(kept) ? kept : choices[0];
  } catch {
    return choices[0];
  }
}

/** Keeps it for the next time. */
export function keep(name, value) {
  try {
    window.localStorage.setItem(PREFIX + name, value);
  } catch {
    // a private window
  }
}
