// Asks the daemon: the same /v1 calls as the command line. Paths are taken relative to the page, wherever a proxy puts it.

import { chosen } from './i18n.js';

/** What came back of a request: `ok`, the sentence for the operator, and all of the JSON. */
async function read(response) {
  let data = {};
  try {
    data = await response.json();
  } catch {
    data = {};
  }
  const ok = response.ok && data.success !== false;
  const message = data.message ?? data.error?.message ?? (ok ? '' : `HTTP ${response.status}`);
  return { ok, status: response.status, message, data };
}

async function send(path, options) {
  try {
    return await read(await fetch(`.${path}`, {
      cache: 'no-store', credentials: 'same-origin', ...options, headers: { ...options.headers, 'Accept-Language': chosen() },
    }));
  } catch (error) {
    return { ok: false, status: 0, message: String(error.message ?? error), data: {} };
  }
}

/** GET; never throws. */
export function get(path) {
  return send(path, {});
}

/** POST of a JSON object; never throws. */
export function post(path, body = {}) {
  return send(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-Modelward': '1' },
    body: JSON.stringify(body),
  });
}

/** PUT of bytes; never throws. */
export function put(path, bytes) {
  return send(path, { method: 'PUT', headers: { 'Content-Type': 'application/octet-stream', 'X-Modelward': '1' }, body: bytes });
}

/** DELETE; never throws. */
export function remove(path) {
  return send(path, { method: 'DELETE', headers: { 'X-Modelward': '1' } });
}
