// Asks before anything changes, does it through /v1, and shows how it ended.

import { post } from './api.js';
import { h, say } from './dom.js';
import { t } from './i18n.js';
import * as session from './session.js';

const GOOD_SECONDS = 12;
let notices = null;

/** Where outcomes are shown; to be put on the page once. */
export function noticePlace() {
  notices = h('div', { class: 'notices', role: 'log', 'aria-live': 'polite', 'aria-label': t('notice.place') });
  return notices;
}

/** A sentence that stays until it is put away; returns how to change it. `kind`: busy, good or bad. */
export function notice(kind, title, text = '') {
  const head = h('strong', {}, title);
  const body = h('span', {}, text);
  const close = h('button', { class: 'plain', type: 'button', 'aria-label': t('notice.close'), onclick: () => element.remove() }, '✕');
  const element = h('div', { class: `notice ${kind}` }, h('div', {}, head, body), close);
  notices.append(element);
  return (newKind, newText) => {
    element.className = `notice ${newKind}`;
    say(body, newText);
    if (!element.isConnected) notices.append(element);
    if (newKind === 'good') window.setTimeout(() => element.remove(), GOOD_SECONDS * 1000);
  };
}

/**
 * Asks in a dialog; resolves to true for yes. `text` says what will happen; `content` are further elements; without
 * `yes` there is nothing to agree to.
 */
export function confirm({ title, text = '', content = [], yes = '', danger = false, wide = false }) {
  return new Promise((resolve) => {
    const dialog = h('dialog', { 'aria-labelledby': 'dialog-title', class: wide ? 'wide' : null });
    const no = h('button', { type: 'button', value: 'no', onclick: () => dialog.close('no') }, yes ? t('dialog.cancel') : t('dialog.close'));
    const ok = yes && h('button', { type: 'button', class: danger ? 'danger' : 'primary', value: 'yes', onclick: () => dialog.close('yes') }, yes);
    dialog.append(h('h2', { id: 'dialog-title' }, title), text && h('p', {}, text), ...content, h('div', { class: 'row end' }, no, ok));
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
    (ok || no).focus();
  });
}

/** Whether this browser may change something; asks for a token where one is missing. */
export async function mayChange() {
  return session.now().may_change || session.logIn();
}

/** Does it and shows how it ended, in the words of `outcome(data)` where the daemon has none; resolves to the answer. */
export async function carryOut({ title, path, body = {}, outcome = () => '' }) {
  const update = notice('busy', title, t('notice.busy'));
  let answer = await post(path, body);
  if (answer.status === 401 && (await session.logIn())) answer = await post(path, body);
  const trouble = answer.data.trouble ?? [];
  const good = answer.ok && trouble.length === 0;
  const said = answer.message || (answer.ok && outcome(answer.data)) || t(good ? 'notice.done' : 'notice.failed');
  update(good ? 'good' : 'bad', [said, ...trouble].join('; '));
  return answer;
}

/** A button that asks, does and shows. `request()` gives {title, text, yes, danger, path, body} or null. */
export function button(label, request, { kind = '', describe = '' } = {}) {
  const element = h('button', { type: 'button', class: kind || null, 'aria-label': describe || null }, label);
  element.addEventListener('click', async () => {
    const wanted = request();
    if (!wanted || !(await mayChange()) || !(await confirm(wanted))) return;
    element.disabled = true;
    try {
      await carryOut(wanted);
    } finally {
      element.disabled = false;
    }
  });
  return element;
}
