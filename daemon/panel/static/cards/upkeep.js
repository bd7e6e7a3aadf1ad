// Where the space went, and upkeep: what would be removed or rotated is shown before anything is.

import { carryOut, confirm, mayChange, notice } from '../act.js';
import { post } from '../api.js';
import { card, cell, table } from '../card.js';
import { h, keyed, say } from '../dom.js';
import * as f from '../format.js';
import { joined, t, word } from '../i18n.js';
import { count, keepCounting, onSpace } from '../space.js';

const MAX_SHOWN = 500;

function classRow(first) {
  const used = h('span');
  const files = h('span');
  const bar = h('meter', { min: 0, max: 1, 'aria-label': t('disk.share', { name: word('class', first.class) }) });
  const note = h('span', { class: 'quiet' });
  return {
    element: h('tr', {}, cell(t('disk.class'), '', h('span', { class: 'strong', title: first.class }, word('class', first.class))), cell(t('disk.share_short'), 'meter', bar),
      cell(t('disk.bytes'), 'number', used), cell(t('disk.files'), 'number', files), cell(t('disk.path'), 'grow', h('span', { class: 'mono quiet' }, first.path), ' ', note)),
    update(entry) {
      say(used, f.bytes(entry.bytes));
      say(files, f.count(entry.files));
      bar.value = entry.share;
      say(note, entry.note ?? '');
    },
  };
}

function list(entries, line) {
  const shown = entries.slice(0, MAX_SHOWN).map((entry) => h('li', {}, ...line(entry)));
  if (entries.length > MAX_SHOWN) shown.push(h('li', { class: 'quiet' }, t('upkeep.and_more', { count: f.count(entries.length - MAX_SHOWN) })));
  return h('ul', { class: 'lines plan', tabindex: '0' }, shown);
}

function sweepPlan(data) {
  const listed = data.listed ?? [];
  const classes = (data.classes ?? []).flatMap((each) => (each.spared ?? []).map((spared) => ({ ...spared, class: each.class })));
  const trouble = data.trouble ?? [];
  return [
    h('p', {}, t('sweep.would', { files: f.count(data.removed?.files), bytes: f.bytes(data.removed?.bytes) })),
    listed.length > 0 && list(listed, (e) => [h('span', { class: 'number mono' }, f.bytes(e.bytes)), h('span', { class: 'mono grow' }, e.path), h('span', { class: 'quiet' }, e.because)]),
    classes.length > 0 && h('details', {}, h('summary', {}, t('sweep.spared')),
      list(classes, (e) => [h('span', { class: 'kind' }, word('class', e.class)), h('span', { class: 'number' }, t('sweep.files', { files: f.count(e.files), bytes: f.bytes(e.bytes) })), h('span', { class: 'grow' }, e.because)])),
    ...trouble.map((sentence) => h('p', { class: 'bad-text' }, sentence)),
  ].filter(Boolean);
}

function rotatePlan(data) {
  const steps = data.steps ?? [];
  const due = steps.filter((step) => step.action !== 'spared');
  const left = steps.filter((step) => step.action === 'spared');
  const line = (e) => [h('span', { class: 'kind' }, word('rotate', e.action)), h('span', { class: 'mono grow' }, e.archive ? `${e.path} → ${e.archive}` : e.path),
    h('span', { class: 'number' }, e.bytes ? f.bytes(e.bytes) : ''), h('span', { class: 'quiet' }, e.because)];
  return [
    h('p', {}, t(due.length ? 'rotate.would' : 'rotate.nothing', { count: f.count(due.length) })),
    due.length > 0 && list(due, line),
    left.length > 0 && h('details', {}, h('summary', {}, t('rotate.left', { count: f.count(left.length) })), list(left, line)),
    ...(data.trouble ?? []).map((sentence) => h('p', { class: 'bad-text' }, sentence)),
  ].filter(Boolean);
}

/** A button that shows the dry run first and only then offers to do it. */
function planned(kind, { plan, isEmpty, outcome, body = {}, after = () => {}, label = t(`${kind}.button`) }) {
  const element = h('button', { type: 'button', class: 'small' }, label);
  element.addEventListener('click', async () => {
    if (!(await mayChange())) return;
    element.disabled = true;
    try {
      const dry = await post(`/v1/${kind}?wait=1`, { ...body, dry_run: true });
      if (!dry.ok) {
        notice('bad', label, dry.message);
        return;
      }
      const nothing = isEmpty(dry.data);
      const agreed = await confirm({ title: label, content: plan(dry.data), yes: nothing ? '' : t(`${kind}.yes`), danger: kind === 'sweep', wide: true });
      if (!agreed) return;
      await carryOut({ title: label, path: `/v1/${kind}?wait=1`, body: { ...body, dry_run: false }, outcome });
      after();
    } finally {
      element.disabled = false;
    }
  });
  return element;
}

export function upkeep() {
  const classes = table(t('disk.by_class'), [[t('disk.class'), ''], [t('disk.share_short'), ''], [t('disk.bytes'), 'number'], [t('disk.files'), 'number'], [t('disk.path'), '']]);
  const disks = h('p', { class: 'quiet' });
  const largest = h('ul', { class: 'lines' });
  const problem = h('p', { class: 'quiet' }, t('disk.counting'));
  const largestBox = h('details', { hidden: true }, h('summary', {}, t('disk.largest')), largest);

  onSpace((answer) => {
    say(problem, answer.ok ? '' : answer.message);
    classes.element.hidden = !answer.ok;
    if (!answer.ok) return;
    const found = answer.data.classes ?? [];
    const most = Math.max(1, ...found.map((each) => each.bytes));
    keyed(classes.body, found.map((each) => ({ ...each, share: each.bytes / most })), (each) => each.class, classRow);
    say(disks, (answer.data.disks ?? []).map((d) => t('disk.free', { free: f.bytes(d.free_bytes), total: f.bytes(d.total_bytes), classes: joined(d.classes.map((name) => word('class', name))) })).join(' · '));
    const entries = found.flatMap((each) => (each.largest ?? []).map((e) => ({ ...e, class: each.class }))).sort((a, b) => b.bytes - a.bytes).slice(0, 10);
    largestBox.hidden = entries.length === 0;
    largest.replaceChildren(...entries.map((e) => h('li', {}, h('span', { class: 'number mono' }, f.bytes(e.bytes)), h('span', { class: 'kind' }, word('class', e.class)), h('span', { class: 'mono grow' }, e.path))));
  });
  classes.element.hidden = true;
  count();

  const recount = h('button', { type: 'button', class: 'small', onclick: async () => {
    recount.disabled = true;
    await count();
    recount.disabled = false;
  } }, t('disk.count'));
  const rotation = {
    plan: rotatePlan,
    isEmpty: (data) => !(data.steps ?? []).some((step) => step.action !== 'spared'),
    outcome: (data) => t('rotate.did', { count: f.count((data.steps ?? []).filter((step) => step.action !== 'spared').length) }),
    after: count,
  };
  const tools = [
    recount,
    planned('rotate', rotation),
    planned('rotate', { ...rotation, body: { force: true }, label: t('rotate.force') }),
    planned('sweep', { plan: sweepPlan, isEmpty: (data) => !data.removed?.files, outcome: (data) => t('sweep.did', { files: f.count(data.removed?.files), bytes: f.bytes(data.removed?.bytes) }), after: count }),
  ];
  const section = card('upkeep', t('upkeep.title'), { wide: 'half', tools }, problem, disks, classes.element, largestBox);
  let onScreen = false;
  new IntersectionObserver((entries) => {
    onScreen = entries.at(-1).isIntersecting;
  }).observe(section);
  keepCounting(() => onScreen);
  return section;
}
