// Sends clips to /api/predict, two at a time, and says how far each is. Asks again when the service says it is busy.
// A long recording goes to /v1/jobs, where the service takes jobs, and is taken up there when the page is loaded anew. What the service does not read, the browser converts.

import { converted } from "./convert.js";
import { spoken } from "./i18n.js";
import { asJob, forget, isLong, outcomeOf } from "./job.js";

const AT_ONCE = 2, TRIES = 6, MAX_WAIT_SECONDS = 20;
const waiting = [];
let running = 0;

/** Queues a clip. `told` is called with {stage, share}; the promise gives {answer, version, took} or rejects with a Failure. */
export function transcribe(clip, settings, told) {
  const job = { clip, settings, told, cancelled: false, request: null };
  const outcome = new Promise((resolve, reject) => Object.assign(job, { resolve, reject }));
  waiting.push(job);
  told({ stage: "waiting" });
  next();
  return { outcome, cancel: () => { job.cancelled = true; job.request?.abort(); forget(job.clip); } };
}

/** The same of a clip whose job the service has already. */
export function takeUp(clip, told) {
  const job = { clip, told, cancelled: false };
  told({ stage: "looking" });
  const outcome = outcomeOf(job, failed).catch((failure) => (job.cancelled ? new Promise(() => {}) : Promise.reject(failure)));
  return { outcome, cancel: () => { job.cancelled = true; forget(clip); } };
}

/** Why there is no answer: `code` is the service's own or one of the page's, `message` the service's words. */
export class Failure extends Error {
  constructor(code, message = "", status = 0) { super(message); Object.assign(this, { code, status }); }
}

async function next() {
  if (running >= AT_ONCE) return;
  const job = waiting.shift();
  if (!job) return;
  running += 1;
  const leave = () => { if (!job.left) { job.left = true; running -= 1; next(); } };
  try { if (!job.cancelled) job.resolve(await heard(job, leave)); } catch (failure) { if (!job.cancelled) job.reject(failure); }
  leave();
}

async function heard(job, leave) {
  try { return await asked(job, leave); } catch (failure) {
    if (failure.code !== "unsupported_audio" || job.cancelled) throw failure;
    job.told({ stage: "converting" });
    const clip = await converted(job.clip);
    if (!clip || job.cancelled) throw failure;
    job.clip = clip;
    return await asked(job, leave);
  }
}

async function asked(job, leave) {
  return (isLong(job.clip.blob) && await asJob(job, send, leave, failed)) || patiently(job);
}

function failed(error, status) { return new Failure(error?.code ?? "wrong", error?.message, status); }

async function patiently(job) {
  for (let tried = 1; ; tried += 1) {
    const began = performance.now(), reply = await send(job);
    if (reply.status === 200) return { answer: reply.body, version: reply.version, took: (performance.now() - began) / 1000 };
    if (reply.status !== 503 || tried === TRIES || job.cancelled) throw new Failure(reply.body?.error?.code ?? "wrong", reply.body?.error?.message, reply.status);
    job.told({ stage: "retrying" });
    await new Promise((done) => setTimeout(done, 1000 * Math.min(reply.after * tried, MAX_WAIT_SECONDS)));
  }
}

function send(job, path = "api/predict", part = "audio", more = {}) {
  return new Promise((resolve, reject) => {
    const form = new FormData(), request = (job.request = new XMLHttpRequest());
    form.append(part, job.clip.blob, job.clip.name);
    for (const [name, value] of Object.entries(more)) form.append(name, value);
    form.append("language", job.settings.language);
    form.append("itn", String(job.settings.itn));
    request.open("POST", path);
    request.setRequestHeader("Accept-Language", spoken());
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && job.told({ stage: "sending", share: event.loaded / event.total });
    request.upload.onload = () => job.told({ stage: "recognizing" });
    request.onerror = () => reject(new Failure("network"));
    request.onabort = () => reject(new Failure("network"));
    request.onload = () => resolve({
      status: request.status, body: request.response, version: decodeURIComponent(request.getResponseHeader("X-Model-Version") ?? ""),
      after: Number(request.getResponseHeader("Retry-After")) || 1,
    });
    request.send(form);
  });
}
