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

/** Logs in with the code of a link (`#login=…`), which leaves the address bar and its history; what went wrong, or ''. */
export async function useLink() {
  const found = /^#login=([\w-]+)$/.exec(window.location.hash);
  if (!found) return '';
  window.history.replaceState(null, '', window.location.pathname);
  const answer = await post('/login', { code: found[1] });
  return answer.ok || answer.status === 409 ? '' : answer.message;
}

/** Ends the session and begins anew. */
export async function logOut() {
  await remove('/session');
  window.location.reload();
}

/** The form that asks for a token; `done()` is called once it is good. `said` is what went wrong before. */
export function form(done, said = '') {
  const problem = h('p', { class: 'problem', role: 'alert' }, said);
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
    h('p', { id: 'token-help', class: 'quiet' }, help()), problem, h('div', { class: 'row end' }, button));
}

/** How to come by a link or a token; the command stands out. */
function help() {
  const [before, after] = t('login.help').split('{command}');
  return [before, h('code', {}, 'modelward panel'), after];
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
