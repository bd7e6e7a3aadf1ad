// A few figures over the chosen time as lines. Colours come from the style sheet, so both themes are drawn right.

/* global uPlot */
import { h } from './dom.js';
import * as f from './format.js';
import { t } from './i18n.js';
import { chosen } from './series.js';
import { onTheme } from './theme.js';

const LEAST_SECONDS = 300;
const HEIGHT = 96;
const charts = new Set();

const colour = (name) => window.getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * A chart of these lines: [{name, label, colour (a CSS variable)}]. `format` writes a value, `axis` one at
 * the scale, `top` is the least top of
 * the scale. Returns {element, draw(times, columns)}; a column is an array with null where nothing is known.
 */
export function chart({ label, lines, format, axis: axisFormat = format, top = 0, height = HEIGHT }) {
  const place = h('div', { class: height > HEIGHT ? 'chart tall' : 'chart', role: 'img', 'aria-label': label });
  const empty = h('p', { class: 'empty quiet' }, t('chart.empty'));
  let plot = null;
  let data = [[], ...lines.map(() => [])];

  /** As far back as was chosen, or as there is anything, but some minutes at least. */
  function start() {
    const now = Date.now() / 1000;
    return Math.max(now - chosen().seconds, Math.min(data[0][0] ?? now, now - LEAST_SECONDS));
  }

  function options() {
    const axis = { stroke: colour('--quiet'), font: '11px system-ui, sans-serif', ticks: { show: false } };
    return {
      width: Math.max(120, place.clientWidth),
      height,
      padding: [6, 16, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { size: 5 }, drag: { x: false, y: false } },
      scales: {
        x: { range: () => [start(), Date.now() / 1000] },
        y: { range: (_plot, _low, high) => [0, Math.max(top, (high ?? 0) * 1.1, 1e-9)] },
      },
      axes: [
        { ...axis, size: 22, space: 80, grid: { show: false }, values: (_plot, splits) => splits.map((s) => f.mark(s * 1000, chosen().name === '7d')) },
        { ...axis, size: 52, space: 30, grid: { stroke: colour('--line'), width: 1 }, values: (_plot, splits) => splits.map((v) => axisFormat(v)) },
      ],
      series: [
        {},
        ...lines.map((line, index) => ({
          label: line.label, stroke: colour(line.colour), width: 1.5, points: { show: false }, spanGaps: false,
          fill: index === 0 ? `${colour(line.colour)}1f` : undefined,
        })),
      ],
      hooks: { setCursor: [(self) => hover(self)] },
    };
  }

  const tip = h('div', { class: 'tip', hidden: true });
  function hover(self) {
    const index = self.cursor.idx;
    const known = index !== null && index !== undefined && self.cursor.left >= 0;
    tip.hidden = !known;
    if (!known) return;
    const values = lines.map((line, i) => `${line.label} ${format(data[i + 1][index])}`);
    tip.textContent = `${f.clock(data[0][index] * 1000)}  ${values.join('  ')}`;
  }

  function build() {
    plot?.destroy();
    plot = null;
    if (place.clientWidth > 0) plot = new uPlot(options(), data, place);
  }

  const self = {
    element: h('div', { class: 'chart-box' }, place, tip, empty),
    draw(times, columns) {
      empty.hidden = times.length > 0;
      data = [times, ...lines.map((line) => columns[line.name] ?? times.map(() => null))];
      if (plot) plot.setData(data);
      else build();
      const newest = lines.map((line, i) => `${line.label} ${format(data[i + 1].at(-1))}`).join(', ');
      place.setAttribute('aria-label', `${label}: ${newest}`);
    },
    resize() {
      if (plot && place.clientWidth > 0) plot.setSize({ width: place.clientWidth, height });
      else if (data[0].length) build();
    },
    build,
  };
  charts.add(self);
  new ResizeObserver(() => self.resize()).observe(place);
  return self;
}

onTheme(() => {
  for (const each of charts) each.build();
});
