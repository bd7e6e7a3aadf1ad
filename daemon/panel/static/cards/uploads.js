// Uploads of versions: a dialog that chooses what to send, and a line for each that is not finished.

import { confirm, mayChange, notice } from '../act.js';
import { h, say } from '../dom.js';
import * as f from '../format.js';
import { t } from '../i18n.js';
import { announce, drop, kindOf, matched, ofDirectory, send, unfinished } from '../uploads.js';

const PIECE_BYTES = 4 << 20;
const running = new Map();
let changed = () => {};

/** Fields that choose a directory or an archive; `chosen()` gives {kind, files} or a sentence why not. */
function fields(only = '') {
  const directory = h('input', { type: 'file', id: 'upload-directory', webkitdirectory: true });
  const archive = h('input', { type: 'file', id: 'upload-archive', accept: '.tar,.tgz,.gz,.bz2,.tbz2,.zip' });
  const elements = [
    only !== 'archive' && h('p', {}, h('label', { for: 'upload-directory' }, t('upload.directory')), ' ', directory),
    only !== 'directory' && h('p', {}, h('label', { for: 'upload-archive' }, t('upload.archive')), ' ', archive),
  ].filter(Boolean);
  return {
    elements,
    directory,
    archive,
    chosen() {
      if (directory.files.length) return { kind: 'directory', files: ofDirectory(directory.files) };
      const [file] = archive.files;
      if (!file) return t('upload.nothing');
      const kind = kindOf(file.name);
      return kind ? { kind, files: [{ path: file.name, file }] } : t('upload.no_archive', { name: file.name });
    },
  };
}

/** Sends what is missing of an upload, with its line; a notice says how it ended. */
async function go(upload, files) {
  const update = notice('busy', t('upload.title_of', { version: upload.version }), t('notice.busy'));
  const state = { stopped: false, there: upload.received, bytes: upload.bytes };
  running.set(upload.id, state);
  changed();
  const progress = (bytes, because) => {
    state.there = bytes;
    const there = t('upload.progress', { there: f.bytes(bytes), bytes: f.bytes(upload.bytes), percent: f.percent((100 * bytes) / Math.max(1, upload.bytes)) });
    update('busy', because ? `${there} – ${because}` : there);
    state.show?.();
  };
  const answer = await send(upload, files, PIECE_BYTES, progress, () => state.stopped);
  running.delete(upload.id);
  update(answer.ok ? 'good' : 'bad', answer.message || t('notice.failed'));
  changed();
}

async function begin() {
  if (!(await mayChange())) return;
  const name = h('input', { id: 'upload-name', type: 'text', autocomplete: 'off', spellcheck: 'false', 'aria-describedby': 'upload-help' });
  const choice = fields();
  const suggest = () => {
    const found = choice.chosen();
    if (name.value || typeof found === 'string') return;
    const path = found.kind === 'directory' ? found.files[0]?.path.split('/')[0] : found.files[0].path.replace(/\.(tar|tgz|zip|tbz2|tar\.\w+)$/i, '');
    name.value = path ?? '';
  };
  choice.directory.addEventListener('change', suggest);
  choice.archive.addEventListener('change', suggest);
  const agreed = await confirm({
    title: t('upload.title'), text: t('upload.text'), yes: t('upload.yes'),
    content: [...choice.elements, h('p', {}, h('label', { for: 'upload-name' }, t('upload.name')), ' ', name), h('p', { id: 'upload-help', class: 'quiet' }, t('upload.help'))],
  });
  if (!agreed) return;
  const found = choice.chosen();
  if (typeof found === 'string') {
    notice('bad', t('upload.title'), found);
    return;
  }
  const answer = await announce(name.value.trim(), found.kind, found.files);
  if (answer.ok) await go(answer.data, matched(answer.data, found.files));
  else notice('bad', t('upload.title'), answer.message);
}

async function goOn(upload) {
  if (!(await mayChange())) return;
  const choice = fields(upload.kind === 'directory' ? 'directory' : 'archive');
  if (!(await confirm({ title: t('upload.go_on_title', { version: upload.version }), text: t('upload.go_on_text'), content: choice.elements, yes: t('upload.go_on') }))) return;
  const found = choice.chosen();
  const files = typeof found === 'string' ? [null] : matched(upload, found.files);
  if (files.includes(null)) notice('bad', t('upload.title_of', { version: upload.version }), typeof found === 'string' ? found : t('upload.other_files'));
  else await go(upload, files);
}

function line(upload) {
  const state = running.get(upload.id);
  const bar = h('progress', { max: Math.max(1, upload.bytes), 'aria-label': t('upload.title_of', { version: upload.version }) });
  const text = h('span', { class: 'quiet' });
  const show = () => {
    const there = state ? state.there : upload.received;
    bar.value = there;
    say(text, t('upload.progress', { there: f.bytes(there), bytes: f.bytes(upload.bytes), percent: f.percent((100 * there) / Math.max(1, upload.bytes)) }));
  };
  if (state) state.show = show;
  show();
  const button = (label, act) => h('button', { type: 'button', class: 'small', onclick: act, 'aria-label': `${label}: ${upload.version}` }, label);
  const buttons = state
    ? [button(t('upload.stop'), () => { state.stopped = true; })]
    : [button(t('upload.go_on'), () => goOn(upload)), button(t('upload.drop'), async () => {
      if (!(await mayChange()) || !(await confirm({ title: t('upload.drop_title', { version: upload.version }), text: t('upload.drop_text'), yes: t('upload.drop'), danger: true }))) return;
      const answer = await drop(upload.id);
      if (!answer.ok) notice('bad', t('upload.title_of', { version: upload.version }), answer.message);
      changed();
    })];
  return h('li', {}, h('span', { class: 'mono strong' }, upload.version), bar, text, ...buttons);
}

/** The button, and the list of what is not finished. */
export function uploads() {
  const list = h('ul', { class: 'lines uploads', hidden: true, 'aria-label': t('upload.unfinished') });
  const button = h('button', { type: 'button', class: 'small accent', onclick: begin }, t('upload.button'));
  changed = async () => {
    const found = await unfinished();
    list.replaceChildren(...found.uploads.map(line));
    list.hidden = found.uploads.length === 0;
    button.hidden = Boolean(found.refused);
  };
  changed();
  window.addEventListener('beforeunload', (event) => running.size && event.preventDefault());
  return { button, list };
}
