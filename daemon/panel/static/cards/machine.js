// The machine: disk, memory, processors, each as it is now and over the chosen time.

import { card } from '../card.js';
import { chart } from '../chart.js';
import { h, mark, say } from '../dom.js';
import * as f from '../format.js';
import { t, word } from '../i18n.js';
import { watch } from '../live.js';
import { newest, onSeries } from '../series.js';
import { onSpace } from '../space.js';

const COLOURS = 5;

/** One bar cut into shares, with a list of what they are. Small shares that would not be seen are named together. */
function shares(label) {
  const bar = h('div', { class: 'shares', role: 'img' });
  const names = h('ul', { class: 'legend' });
  return {
    element: h('div', { hidden: true }, bar, names),
    show(entries) {
      const all = entries.filter((e) => e.bytes > 0).sort((a, b) => b.bytes - a.bytes);
      const shown = all.slice(0, COLOURS);
      const rest = all.slice(COLOURS).reduce((sum, e) => sum + e.bytes, 0);
      if (rest) shown.push({ name: t('machine.others'), bytes: rest });
      this.element.hidden = shown.length === 0;
      const texts = shown.map((e) => `${e.name} ${f.bytes(e.bytes)}`);
      mark(bar, 'aria-label', `${label}: ${texts.join(', ')}`);
      bar.replaceChildren(...shown.map((e, i) => {
        const part = h('span', { 'data-share': i % (COLOURS + 1) });
        part.style.flexGrow = String(e.bytes);
        return part;
      }));
      names.replaceChildren(...texts.map((text, i) => h('li', { 'data-share': i % (COLOURS + 1) }, text)));
    },
  };
}

function figure(id, title, lines, { format = f.percent, top = 100, extra = () => '', parts = null, height } = {}) {
  const big = h('span', { class: 'big' }, f.NONE);
  const beside = h('span', { class: 'quiet' });
  const legend = lines.length < 2 ? null : h('ul', { class: 'legend' },
    lines.map((line) => h('li', { 'data-colour': line.colour }, line.label)));
  const drawing = chart({ label: title, lines, format, top, height, axis: f.percent });
  onSeries((found) => {
    say(big, format(newest(lines[0].name) ?? undefined));
    say(beside, extra());
    drawing.draw(found.times, found.columns);
  });
  return card(id, title, { wide: 'third', tools: [beside, big] }, drawing.element, legend, parts?.element);
}

export function disk() {
  const parts = shares(t('disk.by_class'));
  onSpace((answer) => answer.ok && parts.show((answer.data.classes ?? []).map((each) => ({ name: word('class', each.class), bytes: each.bytes }))));
  return figure('disk', t('disk.title'), [
    { name: 'disk_used_percent', label: t('figure.disk'), colour: '--blue' },
    { name: 'io_pressure_percent', label: t('figure.io_pressure'), colour: '--amber' },
  ], { parts });
}

export function memory() {
  const parts = shares(t('memory.by_worker'));
  watch(['workers'], ({ workers }) => parts.show((workers.workers ?? []).map((each) => ({ name: each.name, bytes: each.rss_bytes }))));
  return figure('memory', t('memory.title'), [
    { name: 'memory_used_percent', label: t('figure.memory'), colour: '--blue' },
    { name: 'memory_pressure_percent', label: t('figure.memory_pressure'), colour: '--amber' },
  ], { extra: () => (newest('workers_resident_bytes') === null ? '' : t('memory.workers', { bytes: f.bytes(newest('workers_resident_bytes')) })), parts });
}

export function cpu() {
  return figure('cpu', t('cpu.title'), [
    { name: 'cpu_used_percent', label: t('figure.cpu'), colour: '--blue' },
  ], { height: 152 });
}
