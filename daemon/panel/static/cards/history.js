// What happened, newest first; older lines on demand.

import { get } from '../api.js';
import { badge, card, setBadge } from '../card.js';
import { h, keyed, mark, say } from '../dom.js';
import * as f from '../format.js';
import { t } from '../i18n.js';
import { watch } from '../live.js';

const PAGE = 100;

function line() {
  const time = h('time', { class: 'quiet mono' });
  const kind = badge('history', '');
  const version = h('span', { class: 'mono' });
  const because = h('span', { class: 'grow' });
  return {
    element: h('li', {}, time, kind, version, because),
    update(entry) {
      say(time, f.clock(entry.time));
      mark(time, 'datetime', entry.time);
      setBadge(kind, 'history', entry.kind);
      say(version, entry.version);
      say(because, entry.because);
    },
  };
}

export function history() {
  const list = h('ol', { class: 'lines tall', tabindex: '0', 'aria-label': t('history.title') });
  const filter = h('input', { type: 'search', placeholder: t('history.filter'), 'aria-label': t('history.filter') });
  const older = h('button', { type: 'button', class: 'small' }, t('history.older'));
  const problem = h('p', { class: 'quiet' });
  let newest = [];
  let past = [];

  function show() {
    const text = filter.value.trim().toLowerCase();
    const all = [...newest, ...past];
    const wanted = text ? all.filter((e) => `${e.kind} ${e.version} ${e.because}`.toLowerCase().includes(text)) : all;
    keyed(list, wanted, (e) => e.id, line);
    say(problem, all.length ? (wanted.length ? '' : t('history.no_match')) : t('history.none'));
  }
  filter.addEventListener('input', show);

  older.addEventListener('click', async () => {
    const last = [...newest, ...past].at(-1);
    if (!last) return;
    older.disabled = true;
    const answer = await get(`/v1/history?n=${PAGE}&before=${last.id}`);
    older.disabled = false;
    const found = answer.data.history ?? [];
    if (answer.ok) past = [...past, ...found];
    else say(problem, answer.message);
    older.hidden = answer.ok && found.length < PAGE;
    show();
  });

  watch(['history'], ({ history: found }) => {
    if (found.unavailable) {
      say(problem, found.unavailable);
      return;
    }
    const fresh = found.history ?? [];
    const oldest = fresh.at(-1)?.id ?? 0;
    const kept = new Set(past.map((e) => e.id));
    const overtaken = newest.filter((e) => e.id < oldest && !kept.has(e.id));
    past = [...overtaken, ...past]; // lines that the newest fifty pushed out stay on the page
    newest = fresh;
    show();
  });
  return card('history', t('history.title'), { wide: 'half', tools: [filter, older] }, list, problem);
}
