// Log files: the last lines, what comes, and a search in what is shown. Lines are text, whatever they hold.

import { notice } from '../act.js';
import { get } from '../api.js';
import { card } from '../card.js';
import { h, say } from '../dom.js';
import * as f from '../format.js';
import { t } from '../i18n.js';

const FOLLOW_SECONDS = 2;
const FIRST = 'modelward.log';
const COUNTS = [200, 1000, 5000];
const LEVELS = ['debug', 'info', 'warning', 'error', 'critical'];

/** A JSON log line as {time, level, text}; any other line as its text. */
export function read(line) {
  if (line.startsWith('{')) {
    try {
      const { timestamp, time, level, event, ...rest } = JSON.parse(line);
      const extra = Object.entries(rest).map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
      return { time: timestamp ?? time ?? '', level: LEVELS.includes(level) ? level : '', text: [event ?? '', ...extra].join('  ') };
    } catch {
      return { time: '', level: '', text: line };
    }
  }
  return { time: '', level: '', text: line };
}

function highlighted(text, wanted) {
  if (!wanted) return [text];
  const parts = [];
  const lower = text.toLowerCase();
  let from = 0;
  for (let at = lower.indexOf(wanted); at >= 0; at = lower.indexOf(wanted, from)) {
    parts.push(text.slice(from, at), h('mark', {}, text.slice(at, at + wanted.length)));
    from = at + wanted.length;
  }
  parts.push(text.slice(from));
  return parts;
}

export function logs() {
  const choice = h('select', { 'aria-label': t('logs.which') });
  const lines = h('select', { 'aria-label': t('logs.lines') }, COUNTS.map((n) => h('option', { value: n }, t('logs.last', { count: f.count(n) }))));
  const search = h('input', { type: 'search', placeholder: t('logs.search'), 'aria-label': t('logs.search') });
  const follow = h('input', { type: 'checkbox', checked: true, id: 'follow' });
  const problem = h('p', { class: 'quiet', role: 'status' });
  const save = h('button', { type: 'button', class: 'small', onclick: download }, t('logs.download'));
  const output = h('ol', { class: 'log', tabindex: '0', 'aria-label': t('logs.title') });
  let loaded = [];
  let truncated = false;

  function show() {
    const wanted = search.value.trim().toLowerCase();
    const shown = wanted ? loaded.filter((line) => line.toLowerCase().includes(wanted)) : loaded;
    output.replaceChildren(...shown.map((line) => {
      const { time, level, text } = read(line);
      return h('li', { 'data-level': level || null, title: line.length < 2000 ? line : null },
        time && h('time', { datetime: time }, f.clock(time, { fractions: true })), level && h('span', { class: 'level' }, level), h('span', {}, highlighted(text, wanted)));
    }));
    say(problem, wanted ? t('logs.found', { count: f.count(shown.length), total: f.count(loaded.length) }) : !loaded.length ? t('logs.empty') : truncated ? t('logs.truncated') : '');
    if (follow.checked) output.scrollTop = output.scrollHeight;
  }

  async function load() {
    if (!choice.value) return;
    const answer = await get(`/v1/logs/${encodeURIComponent(choice.value)}?lines=${lines.value}`);
    if (!answer.ok) {
      say(problem, answer.message);
      return;
    }
    const found = answer.data.lines ?? [];
    if (found.length === loaded.length && found.at(-1) === loaded.at(-1) && found[0] === loaded[0]) return;
    loaded = found;
    truncated = answer.data.truncated === true;
    show();
  }

  /** Has the browser save all lines, those of the archives too. It streams them to the disk by itself. */
  async function download() {
    if (!choice.value) return;
    const path = `/v1/logs/${encodeURIComponent(choice.value)}`;
    save.disabled = true;
    const answer = await get(`${path}/files`);
    save.disabled = false;
    if (answer.ok && !answer.data.busy) {
      h('a', { href: `.${path}/download`, download: answer.data.file }).click();
      notice('good', t('logs.download'), t('logs.downloading', { file: answer.data.file, count: f.count(answer.data.archives), bytes: f.bytes(answer.data.bytes) }));
    } else notice('bad', t('logs.download'), answer.message || t('logs.busy'));
  }

  async function list() {
    const answer = await get('/v1/logs');
    if (!answer.ok) {
      say(problem, answer.message);
      return;
    }
    const before = choice.value || FIRST;
    choice.replaceChildren(...(answer.data.logs ?? []).map((log) => h('option', { value: log.name, title: log.path }, `${log.name} (${f.bytes(log.bytes)})`)));
    if ([...choice.options].some((option) => option.value === before)) choice.value = before;
    if (answer.data.standard_output && !choice.value) say(problem, t('logs.standardOutput'));
    await load();
  }

  const again = () => {
    loaded = [];
    load();
  };
  choice.addEventListener('change', again);
  lines.addEventListener('change', again);
  search.addEventListener('input', show);
  search.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') {
      search.value = '';
      show();
    }
  });
  follow.addEventListener('change', () => follow.checked && load());
  let onScreen = false;
  const section = card('logs', t('logs.title'), {
    wide: 'full',
    tools: [search, choice, lines, save, h('label', { class: 'row' }, follow, t('logs.follow'))],
  }, problem, output);
  new IntersectionObserver((entries) => {
    onScreen = entries.at(-1).isIntersecting;
  }).observe(section);
  window.setInterval(() => {
    if (follow.checked && onScreen && !document.hidden && String(document.getSelection()) === '') load();
  }, FOLLOW_SECONDS * 1000);
  list();
  return section;
}
