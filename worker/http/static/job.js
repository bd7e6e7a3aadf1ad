// A long recording: taken in as a job, then asked for until it ends. No connection is held open meanwhile, so no proxy
// cuts it off. The page fetches the result and has the job removed; one that is under way ends with the page.

const LONG_BYTES = 4 << 20, LOOK_MS = 1500, MAX_LOOK_MS = 10000, MAX_MISSED = 60;
const OTHER_WAY = [404, 503, 507];
const underWay = new Set();

export const isLong = (blob) => blob.size > LONG_BYTES;

/** The outcome as `transcribe` gives it; null when the service takes no job now. `accepted` is called once it did. */
export async function asJob(job, send, accepted, fail) {
  const began = performance.now(), reply = await send(job, "/v1/jobs", "file", { response_format: "predict" });
  if (OTHER_WAY.includes(reply.status)) return null;
  if (reply.status !== 202) throw fail(reply.body?.error, reply.status);
  job.id = reply.body.id;
  underWay.add(job.id);
  accepted();
  try {
    const done = await ended(job, fail);
    return { answer: done.result, version: done.versions.map((part) => part.version).join(" → "), took: (performance.now() - began) / 1000 };
  } finally { forget(job); }
}

/** Has the job cancelled, or its result removed. */
export function forget(job) {
  if (!underWay.delete(job.id)) return;
  fetch(`/v1/jobs/${job.id}`, { method: "DELETE", keepalive: true }).catch(() => { /* it goes after jobs.keep */ });
}

async function ended(job, fail) {
  for (let missed = 0, wait = LOOK_MS; !job.cancelled; wait = Math.min(MAX_LOOK_MS, LOOK_MS * (missed + 1))) {
    await new Promise((go) => setTimeout(go, wait));
    const { status, body } = await look(job.id);
    if (status === 404) throw fail({ code: "no_such_job" }, status);
    missed = status === 200 ? 0 : missed + 1;
    if (missed > MAX_MISSED) throw fail({ code: "network" }, 0);
    if (status !== 200) continue;
    if (body.state === "done") return body;
    if (body.state === "failed" || body.state === "cancelled") throw fail(body.error ?? { code: "cancelled" }, status);
    if (body.state === "queued") job.told({ stage: "queued", place: body.position });
    else job.told({ stage: "working", share: body.progress, text: body.text });
  }
  throw fail({ code: "cancelled" }, 0);
}

async function look(id) {
  try {
    const reply = await fetch(`/v1/jobs/${id}`, { cache: "no-store" });
    return { status: reply.status, body: await reply.json() };
  } catch { return { status: 0, body: null }; }
}

addEventListener("pagehide", (event) => { if (!event.persisted) for (const id of [...underWay]) forget({ id }); });
