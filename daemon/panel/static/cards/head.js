// The head of the page: what is live, whether it is served, and whether this page is.

import { badge, setBadge } from '../card.js';
import { h, mark, say } from '../dom.js';
import * as f from '../format.js';
import * as language from '../i18n.js';
import { t } from '../i18n.js';
import { watch } from '../live.js';
import * as series from '../series.js';
import * as session from '../session.js';
import * as theme from '../theme.js';

const SECTIONS = ['service', 'rollout', 'versions', 'upkeep', 'history', 'logs'];

/** The element, and `connection(how)` for what the stream says of itself. */
export function head() {
  const live = h('strong', { class: 'live-version' });
  const state = badge('status', 'loading');
  const workers = h('span');
  const other = h('span', { class: 'warn-text', hidden: true });
  const daemon = h('span', { class: 'quiet' });
  const link = h('span', { class: 'connection', role: 'status' });
  const who = h('span');

  watch(['status'], ({ status }) => {
    say(live, status.live || t('status.no_version'));
    setBadge(state, 'status', status.ready ? 'ready' : status.serving ? 'loading' : 'failed');
    say(workers, t('status.workers', { ready: f.count(status.workers?.ready), total: f.count(status.workers?.total) }));
    say(daemon, t('status.daemon', { version: status.version ?? '', pid: status.pid ?? '', span: status.uptime_seconds < 60 ? t('time.under_a_minute') : f.span(status.uptime_seconds) }));
    const { version: named, because } = status.link ?? {};
    other.hidden = !status.link;
    say(other, named ? t('status.link', { version: named, because }) : t('status.link_bad', { because: because ?? '' }));
    document.title = `${status.ready ? '' : '✕ '}${status.live || '–'} · modelward`;
  });

  function standing() {
    const { tokens, logged_in: inside, may_change: free } = session.now();
    who.replaceChildren();
    if (tokens && inside) who.append(h('button', { type: 'button', class: 'small', onclick: session.logOut }, t('logout')));
    if (tokens && !inside && !free) {
      who.append(h('button', { type: 'button', class: 'small', onclick: async () => (await session.logIn()) && standing() }, t('login.button')));
    }
  }
  standing();

  /** A list of choices; `now` is the one in force. */
  const choices = (label, names, now, choose) => {
    const list = h('select', { 'aria-label': label, onchange: () => choose(list.value) },
      Object.entries(names).map(([value, name]) => h('option', { value, selected: value === now }, name)));
    return list;
  };
  const chooser = h('div', { class: 'row choosers' },
    choices(t('choose.span'), Object.fromEntries(Object.keys(series.SPANS).map((name) => [name, t(`span.${name}`)])), series.chosen().name, series.choose),
    choices(t('choose.theme'), Object.fromEntries(theme.THEMES.map((name) => [name, t(`theme.${name}`)])), theme.chosen(), theme.choose),
    choices(t('choose.language'), { en: 'English', zh: '中文' }, language.chosen(), language.choose));

  return {
    element: h('header', { class: 'top' },
      h('div', { class: 'row' }, h('h1', {}, 'modelward'), live, state, workers, other),
      h('nav', { 'aria-label': t('nav') }, SECTIONS.map((name) => h('a', { href: `#${name}` }, t(`${name}.title`)))),
      h('div', { class: 'row' }, daemon, link, chooser, who)),
    connection(how) {
      say(link, t(`connection.${how}`));
      mark(link, 'data-state', how);
      if (how === 'live') standing();
    },
  };
}
