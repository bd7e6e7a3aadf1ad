// A long recording: taken in as a job, then asked for until it ends. No connection is held open meanwhile, so no proxy
// cuts it off. The page fetches the result and has the job removed. Jobs under way are kept by kept_jobs.js, so that the
// page takes them up when it is loaded anew; one that cannot be kept ends with the page.

import { drop, isKept, keep } from "./kept_jobs.js";

import { spoken } from "./i18n.js";

const LONG_BYTES = 4 << 20, LOOK_MS = 1500, MAX_LOOK_MS = 10000, MAX_MISSED = 60;
const OTHER_WAY = [404, 503, 507], NOT_LET_IN = [401, 403];
const underWay = new Set();

export const isLong = (blob) => blob.size > LONG_BYTES;

/** The outcome as `transcribe` gives it; null when the service takes no job now. `accepted` is called once it did. */
export async function asJob(job, send, accepted, fail) {
  const began = Date.now(), reply = await send(job, "v1/jobs", "file", { response_format: "predict" });
  if (OTHER_WAY.includes(reply.status)) return null;
  if (reply.status !== 202) throw fail(reply.body?.error, reply.status);
  job.clip.job = { id: reply.body.id, began };
  underWay.add(job.clip.job.id);
  keep(job.clip);
  accepted();
  return outcomeOf(job, fail);
}

/** The outcome of a job that was accepted before. */
export async function outcomeOf(job, fail) {
  const { id, began } = job.clip.job;
  underWay.add(id);
  try {
    const done = await ended(job, fail);
    forget(job.clip);
    return { answer: done.result, version: done.versions.map((part) => part.version).join(" → "), took: Math.max(0, Date.now() - began) / 1000 };
  } catch (failure) {
    if (!failure.passes) forget(job.clip);
    throw failure;
  }
}

/** Has the job cancelled, or its result removed. */
export function forget(clip) {
  const id = clip.job?.id;
  if (!id) return;
  clip.job = null;
  drop(id);
  if (underWay.delete(id)) remove(id);
}

function remove(id) {
  fetch(`v1/jobs/${id}`, { method: "DELETE", keepalive: true }).catch(() => { /* it goes after jobs.keep */ });
}

async function ended(job, fail) {
  const { id } = job.clip.job;
  for (let missed = 0, wait = 0; !job.cancelled; wait = Math.min(MAX_LOOK_MS, LOOK_MS * (missed + 1))) {
    await new Promise((go) => setTimeout(go, wait));
    const { status, body } = await look(id);
    if (job.cancelled) break;
    if (status === 404) throw fail({ code: "no_such_job" }, status);
    if (NOT_LET_IN.includes(status)) throw passing(fail(body?.error, status));
    missed = status === 200 ? 0 : missed + 1;
    if (missed > MAX_MISSED) throw passing(fail({ code: "network" }, 0));
    if (status !== 200) continue;
    if (body.state === "done") return body;
    if (body.state === "failed" || body.state === "cancelled") throw fail(body.error ?? { code: "cancelled" }, status);
    if (body.state === "queued") job.told({ stage: "queued", place: body.position });
    else job.told({ stage: "working", share: body.progress, text: body.text });
  }
  throw fail({ code: "cancelled" }, 0);
}

/** A failure of the way to the service: the job may go on, and can be taken up again. */
const passing = (failure) => Object.assign(failure, { passes: true });

async function look(id) {
  try {
    const reply = await fetch(`v1/jobs/${id}`, { cache: "no-store", headers: { "Accept-Language": spoken() } });
    return { status: reply.status, body: await reply.json() };
  } catch { return { status: 0, body: null }; }
}

addEventListener("pagehide", (event) => {
  if (!event.persisted) for (const id of underWay) if (!isKept(id)) remove(id);
});
