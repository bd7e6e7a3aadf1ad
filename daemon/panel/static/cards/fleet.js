// What this machine has to do with a fleet, and on the keeper how far the waves are; hidden where there is no fleet.

import { badge, card, cell, setBadge, table } from '../card.js';
import { h, keyed, say } from '../dom.js';
import * as f from '../format.js';
import { t } from '../i18n.js';
import { watch } from '../live.js';

const STANDINGS = ['serving', 'pending', 'failed', 'blocked', 'silent', 'late'];

function waveRow(first) {
  const state = badge('fleet', 'open');
  const figures = STANDINGS.map(() => h('span'));
  return {
    element: h('tr', {}, cell(t('fleet.wave'), 'number', String(first.wave)), cell(t('fleet.state'), '', state),
      STANDINGS.map((name, index) => cell(t(`fleet.${name}`), 'number', figures[index]))),
    update(wave) {
      setBadge(state, 'fleet', wave.open ? 'open' : 'closed');
      STANDINGS.forEach((name, index) => say(figures[index], f.count(wave[name])));
    },
  };
}

export function fleet() {
  const name = h('span', { class: 'mono headline' });
  const outcome = badge('fleet', 'waiting');
  const because = h('p', { role: 'status' });
  const wanted = h('p', { class: 'quiet' });
  const trouble = h('p', { class: 'bad-text' });
  const progress = h('p');
  const waves = table(t('fleet.waves'), [[t('fleet.wave'), 'number'], [t('fleet.state'), ''], ...STANDINGS.map((each) => [t(`fleet.${each}`), 'number'])]);
  const section = card('fleet', t('fleet.title'), {}, h('div', { class: 'row' }, name, outcome), because, wanted, trouble, progress, waves.element);
  section.hidden = true;
  watch(['fleet'], ({ fleet: found }) => {
    section.hidden = !found?.server;
    if (!found?.server) return;
    say(name, found.machine);
    setBadge(outcome, 'fleet', found.outcome);
    say(because, found.because);
    const { record, rollout } = found;
    say(wanted, record ? t('fleet.wanted', { sequence: f.count(record.sequence), version: record.version, wave: found.wave || '—', waves: record.waves }) : '');
    say(trouble, [found.refused, found.away].filter(Boolean).join(' · '));
    say(progress, rollout?.because ?? '');
    waves.element.hidden = !rollout;
    keyed(waves.body, rollout?.waves ?? [], (each) => each.wave, waveRow);
  });
  return section;
}
