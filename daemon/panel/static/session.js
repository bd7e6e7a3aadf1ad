// Who is at the panel: what may be seen and changed, and the token login.

import { get, post, remove } from './api.js';
import { h, say } from './dom.js';
import { t } from './i18n.js';

let standing = { tokens: false, logged_in: false, may_read: false, may_change: false };

/** What this browser may do; asks the daemon. */
export async function ask() {
  const answer = await get('/session');
  if (answer.ok) standing = answer.data;
  return standing;
}

/** What this browser may do, as far as is known. */
export function now() {
  return standing;
}

/** Ends the session and begins anew. */
export async function logOut() {
  await remove('/session');
  window.location.reload();
}

/** The form that asks for a token; `done()` is called once it is good. */
export function form(done) {
  const problem = h('p', { class: 'problem', role: 'alert' });
  const field = h('input', {
    id: 'token', type: 'password', name: 'token', autocomplete: 'current-password', required: true, spellcheck: 'false',
    'aria-describedby': 'token-help',
  });
  const button = h('button', { class: 'primary', type: 'submit' }, t('login.button'));
  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    const answer = await post('/login', { token: field.value.trim() });
    button.disabled = false;
    if (!answer.ok) {
      say(problem, answer.message);
      field.select();
      return;
    }
    await ask();
    done();
  }
  return h('form', { class: 'login', onsubmit: submit },
    h('label', { for: 'token' }, t('login.token')), field,
    h('p', { id: 'token-help', class: 'quiet' }, t('login.help')), problem, h('div', { class: 'row end' }, button));
}

/** Asks for the token in a dialog; true once logged in, false when it was closed. */
export function logIn() {
  return new Promise((resolve) => {
    const dialog = h('dialog', { 'aria-labelledby': 'login-title' }, h('h2', { id: 'login-title' }, t('login.title')));
    dialog.append(form(() => {
      resolve(true);
      dialog.close();
    }));
    dialog.addEventListener('close', () => {
      resolve(false);
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
