// Sends a version piece by piece: announced, sent, finished. What came stays with the daemon, so that it can go on.

import { get, post, put, remove } from './api.js';
import { t } from './i18n.js';

const TRIES = 6;
const PAUSE_MS = 1000;
const JUNK = /(^|\/)(\.DS_Store|Thumbs\.db|desktop\.ini)$/;

/** The files of a directory that was chosen, without what systems leave behind: [{path, file}]. */
export function ofDirectory(list) {
  return [...list].map((file) => ({ path: file.webkitRelativePath || file.name, file })).filter(({ path }) => !JUNK.test(path));
}

/** What kind of archive a file is by its name, '' for none. */
export function kindOf(name) {
  const lower = name.toLowerCase();
  if (lower.endsWith('.zip')) return 'zip';
  return /\.(tar|tar\.gz|tgz|tar\.bz2|tbz2)$/.test(lower) ? 'tar' : '';
}

/** The unfinished uploads, and why none is taken ('' when they are): {uploads, refused}. */
export async function unfinished() {
  const answer = await get('/v1/uploads');
  return answer.ok ? answer.data : { uploads: [], refused: '' };
}

/** Announces a version; resolves to the answer, whose data is the upload. */
export function announce(version, kind, chosen) {
  return post('/v1/uploads', { version, kind, files: chosen.map(({ path, file }) => ({ path, bytes: file.size })) });
}

/** Of an upload's files the chosen ones, in its order; a file that does not fit is null. */
export function matched(upload, chosen) {
  if (upload.kind !== 'directory') return [chosen.find(({ file }) => file.size === upload.files[0].bytes)?.file ?? null];
  return upload.files.map((wanted) => chosen.find(({ path, file }) => file.size === wanted.bytes && (path === wanted.path || path.endsWith(`/${wanted.path}`)))?.file ?? null);
}

/** Where the daemon says that the files of an upload end by now, or null. */
async function ends(id) {
  const found = (await unfinished()).uploads.find((each) => each.id === id);
  return found ? found.files.map((each) => each.received) : null;
}

const pause = (milliseconds) => new Promise((resolve) => { window.setTimeout(resolve, milliseconds); });

/**
 * Sends what is missing of `files` and finishes; `progress(bytes, because)` is called with what is there, and why a
 * piece is tried again. `stopped()` ends it.
 * Resolves to {ok, message}; what came is kept unless it succeeded.
 */
export async function send(upload, files, pieceBytes, progress, stopped) {
  let there = upload.files.map((each) => each.received);
  let failures = 0;
  let because = '';
  for (let index = 0; index < files.length;) {
    if (stopped()) return { ok: false, message: t('upload.stopped') };
    progress(there.reduce((sum, each) => sum + each, 0), because);
    const file = files[index];
    if (there[index] >= file.size) {
      index += 1;
      continue;
    }
    const piece = file.slice(there[index], there[index] + pieceBytes);
    const answer = await put(`/v1/uploads/${upload.id}?file=${index}&offset=${there[index]}`, piece);
    if (answer.ok) {
      there[index] = answer.data.received;
      failures = 0;
      because = '';
      continue;
    }
    failures += 1;
    because = answer.message;
    if (failures >= TRIES || ![0, 409].includes(answer.status)) return answer;
    progress(there.reduce((sum, each) => sum + each, 0), because);
    await pause(PAUSE_MS * failures);
    const now = await ends(upload.id);
    if (now) there = now;
    else if (answer.status) return answer;
  }
  progress(upload.bytes, '');
  return post(`/v1/uploads/${upload.id}/finish`);
}

/** Drops an upload. */
export function drop(id) {
  return remove(`/v1/uploads/${id}`);
}
