// Which jobs of this tab are under way, so that the page finds them when it is loaded anew. Ids and names alone, a bounded
// number. They end with the tab: an id shows a recording's text, so none stays in a browser that several people use.

const KEY = `modelward.jobs${location.pathname.replace(/\/$/, "")}`, MAX_JOBS = 50, MAX_NAME = 200, ID = /^job_[0-9a-f]{32}$/;

/** The clips whose jobs were under way, the oldest first; what is not ours is passed over. */
export function kept() {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return (Array.isArray(found) ? found : []).filter(isOne).slice(-MAX_JOBS)
      .map(({ id, name, began }) => ({ name, blob: null, job: { id, began } }));
  } catch { return []; }
}

const isOne = (entry) => ID.test(entry?.id) && typeof entry.name === "string" && Number.isFinite(entry.began);

export function keep(clip) {
  const { id, began } = clip.job;
  write([...entries().filter((entry) => entry.id !== id), { id, name: clip.name.slice(0, MAX_NAME), began }]);
}

export function drop(id) { write(entries().filter((entry) => entry.id !== id)); }

export const isKept = (id) => entries().some((entry) => entry.id === id);

const entries = () => kept().map(({ name, job }) => ({ ...job, name }));

function write(list) {
  try { sessionStorage.setItem(KEY, JSON.stringify(list.slice(-MAX_JOBS))); } catch { /* private mode: they end with the page */ }
}
