// Every version: where it stands, why, and what can be done with it.

import { button } from '../act.js';
import { badge, card, cell, setBadge, table } from '../card.js';
import { h, keyed, mark, say } from '../dom.js';
import * as f from '../format.js';
import { joined, t, word } from '../i18n.js';
import { now, watch } from '../live.js';
import { uploads } from './uploads.js';

const REJECTED_SHOWN = 3;
const SHOWN = 40;

function gate() {
  const name = h('span', { class: 'kind' });
  const passed = h('span');
  const seconds = h('span', { class: 'quiet mono' });
  const because = h('span', { class: 'grow' });
  return {
    element: h('li', {}, passed, name, seconds, because),
    update(entry) {
      say(name, word('gate', entry.gate));
      mark(name, 'title', entry.gate);
      const how = entry.passed ? (entry.warning ? 'warned' : 'passed') : 'not_passed';
      say(passed, { passed: '✓', warned: '!', not_passed: '✕' }[how]);
      mark(passed, 'class', { passed: 'good-text', warned: 'warn-text', not_passed: 'bad-text' }[how]);
      mark(passed, 'aria-label', t(`versions.${how}`));
      mark(passed, 'role', 'img');
      say(seconds, f.span(entry.seconds));
      say(because, entry.because);
    },
  };
}

function actions(name, held) {
  const about = (key) => ({ title: t(`versions.${key}_title`, { version: name }), text: t(`versions.${key}_text`, { version: name }), yes: t(`versions.${key}`) });
  const make = (key, path, kind = 'small', more = {}) => button(t(`versions.${key}`), () => ({ ...about(key), path, body: { version: name, ...more } }), { kind, describe: t(`versions.${key}_title`, { version: name }) });
  const hold = make('hold', '/v1/hold');
  const release = make('release', '/v1/release');
  const activate = make('activate', '/v1/activate?wait=1', 'small accent');
  const validate = make('validate', '/v1/validate?wait=1');
  const remove = button(t('versions.delete'), () => ({ ...about('delete'), path: '/v1/delete', body: { version: name }, danger: true }), { kind: 'small danger', describe: t('versions.delete_title', { version: name }) });
  const again = make('again', '/v1/validate?wait=1', 'small', { again: true });
  return {
    element: h('div', { class: 'row end nowrap' }, activate, hold, release, validate, again, remove),
    update(version) {
      hold.hidden = version.held;
      release.hidden = !version.held;
      const judging = ['validating', 'settling'].includes(version.state);
      validate.hidden = judging || version.state === 'rejected';
      again.hidden = version.state !== 'rejected';
      remove.hidden = Boolean(version.must_stay) || version.state === 'validating';
      activate.hidden = version.live && version.serving?.length > 0;
    },
  };
}

/** The form that workers load, in words: what it gains, or why there is none. */
function compiled(entry) {
  const at = (key) => entry?.[key];
  if (!at('form')) return null;
  const said = [at('compiling') && t('compiled.compiling', { state: at('compiling') })];
  said.push(at('form') === 'plain' ? t('compiled.plain') : t('compiled.form', { name: at('form') }));
  if (at('because')) said.push(at('because'));
  for (const [key, ratio] of Object.entries(entry)) {
    const length = /^cpu_ratio_(.+)s$/.exec(key)?.[1];
    if (length && ratio) said.push(t('compiled.cpu', { percent: f.percent(100 * ratio), span: f.span(Number(length)) }));
  }
  const pair = (key, write) => at(key) && at(`${key}_original`) && t(`compiled.${key}`, { now: write(at(key)), before: write(at(`${key}_original`)) });
  said.push(pair('load_seconds', f.span), pair('load_bytes', f.bytes));
  if (at('kept')) said.push(t('compiled.kept', { steps: at('kept') }));
  if (at('refused')) said.push(t('compiled.refused', { steps: at('refused') }));
  return h('p', {}, h('span', { class: 'kind' }, t('versions.compiled')), ' ', said.filter(Boolean).join(' · '));
}

function row(first) {
  const label = (key) => t(`versions.${key}`);
  const open = h('button', { type: 'button', class: 'plain expander', 'aria-expanded': 'false', 'aria-label': t('versions.details', { version: first.version }) }, '▸');
  const marks = h('span', { class: 'marks' });
  const state = badge('version', 'seen');
  const because = h('span', { class: 'because' });
  const size = h('span');
  const age = h('time');
  const doing = actions(first.version, first.held);
  const gates = h('ol', { class: 'lines gates' });
  const more = h('div', { class: 'more' });
  const main = h('tr', {},
    cell('', 'narrow', open), cell(label('name'), 'whole', h('span', { class: 'mono strong' }, first.version), ' ', marks),
    cell(label('state'), '', state), cell(label('because'), 'grow', because), cell(label('size'), 'number', size),
    cell(label('age'), 'number', age), cell('', '', doing.element));
  const detail = h('tr', { class: 'detail', hidden: true }, h('td', { colspan: 7 }, more, gates));
  open.addEventListener('click', () => {
    detail.hidden = !detail.hidden;
    mark(open, 'aria-expanded', String(!detail.hidden));
    say(open, detail.hidden ? '▸' : '▾');
  });
  const element = document.createElement('tbody');
  element.append(main, detail);
  return {
    element,
    update(version) {
      const shown = [];
      if (version.live) shown.push(['live', t('versions.live')]);
      if (version.serving?.length) shown.push(['serving', t('versions.serving', { count: version.serving.length })]);
      if (version.held) shown.push(['held', t('versions.held')]);
      marks.replaceChildren(...shown.map(([kind, text]) => h('span', { class: `mark ${kind}` }, text)));
      setBadge(state, 'version', version.state);
      const judging = version.state === 'validating' && now('gate')?.version === version.version;
      say(because, judging ? t('versions.at_gate', { gate: word('gate', now('gate').gate) }) : (version.unchosen_because ?? version.verdict?.because ?? version.waiting ?? ''));
      say(size, f.bytes(version.bytes));
      say(age, f.ago(version.arrived));
      mark(age, 'datetime', version.arrived);
      mark(main, 'data-version', version.version);
      doing.update(version);
      more.replaceChildren(
        h('p', {}, h('span', { class: 'kind' }, t('versions.digest')), ' ', h('span', { class: 'mono' }, version.digest || f.NONE)),
        ...(version.serving?.length ? [h('p', {}, h('span', { class: 'kind' }, t('versions.served_by')), ' ', joined(version.serving))] : []),
        ...(version.held_because ? [h('p', {}, h('span', { class: 'kind' }, t('versions.held')), ' ', version.held_because)] : []),
        ...(version.unchosen_because ? [h('p', {}, h('span', { class: 'kind' }, t('versions.unchosen')), ' ', version.unchosen_because)] : []),
        ...[compiled(version.compiled)].filter(Boolean),
      );
      keyed(gates, version.verdict?.gates ?? [], (each) => each.gate, gate);
    },
  };
}

/** Newest names first, numbers by value; live before all. */
function order(a, b) {
  if (a.live !== b.live) return a.live ? -1 : 1;
  return b.version.localeCompare(a.version, 'en', { numeric: true });
}

/** What is shown, and how many more there are: a few of the rejected that nobody needs, and so many in all. */
function folded(all, rejected, rest) {
  const idle = (v) => v.state === 'rejected' && !v.live && !v.held && !v.serving?.length;
  let left = rejected ? all.length : REJECTED_SHOWN;
  const kept = all.filter((each) => !idle(each) || (left -= 1) >= 0);
  const shown = rest ? kept : kept.slice(0, SHOWN);
  return { shown, rejected: all.length - kept.length, rest: kept.length - shown.length };
}

export function versions() {
  const found = table(t('versions.title'), [
    [h('span', { class: 'unseen' }, t('versions.show')), ''], [t('versions.name'), ''], [t('versions.state'), ''], [t('versions.because'), ''],
    [t('versions.size'), 'number'], [t('versions.age'), 'number'], [h('span', { class: 'unseen' }, t('versions.actions')), ''],
  ]);
  const list = found.body.parentNode;
  found.body.remove();
  const place = { insertBefore: (child, before) => list.insertBefore(child, before), get firstChild() { return list.tBodies[0] ?? null; } };
  const none = h('p', { class: 'quiet' }, t('versions.none'));
  let all = [];
  const opened = { rejected: false, rest: false };
  const moreRejected = h('button', { type: 'button', class: 'small', onclick: () => open('rejected') });
  const moreRest = h('button', { type: 'button', class: 'small', onclick: () => open('rest') });
  const foot = h('div', { class: 'row foot' }, moreRest, moreRejected);
  function open(which) {
    opened[which] = !opened[which];
    show();
  }
  function show() {
    const found = folded(all, opened.rejected, opened.rest);
    keyed(place, found.shown, (each) => each.version, row);
    moreRejected.hidden = !found.rejected && !opened.rejected;
    say(moreRejected, opened.rejected ? t('versions.fold') : t('versions.more_rejected', { count: f.count(found.rejected) }));
    moreRest.hidden = !found.rest;
    say(moreRest, t('versions.more', { count: f.count(found.rest) }));
  }
  watch(['versions', 'gate'], ({ versions: known }) => {
    all = [...(known?.versions ?? [])].sort(order);
    none.hidden = all.length > 0;
    found.element.hidden = all.length === 0;
    show();
  });
  const back = button(t('versions.rollback'), () => ({
    title: t('versions.rollback'), text: t('versions.rollback_text', { version: now('status')?.serving || f.NONE }), yes: t('versions.rollback'),
    path: '/v1/rollback?wait=1', danger: true,
  }), { kind: 'small danger' });
  watch(['status', 'rollout'], ({ status, rollout }) => {
    back.hidden = !status?.previous && !(rollout?.id && !rollout.decided);
  });
  const sent = uploads();
  return card('versions', t('versions.title'), { wide: 'full', tools: [sent.button, back] }, sent.list, found.element, none, foot);
}
