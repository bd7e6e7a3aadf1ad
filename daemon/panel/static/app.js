// Begins: words, who is here, then the cards over one stream.

import { noticePlace } from './act.js';
import { alerts } from './cards/alerts.js';
import { fleet } from './cards/fleet.js';
import { head } from './cards/head.js';
import { history } from './cards/history.js';
import { logs } from './cards/logs.js';
import { cpu, disk, memory } from './cards/machine.js';
import { rollout } from './cards/rollout.js';
import { service } from './cards/service.js';
import { upkeep } from './cards/upkeep.js';
import { versions } from './cards/versions.js';
import { h } from './dom.js';
import { load, t } from './i18n.js';
import * as live from './live.js';
import * as series from './series.js';
import * as session from './session.js';
import * as stale from './stale.js';

function showLogin(said = '') {
  document.body.replaceChildren(
    h('main', { class: 'entrance' },
      h('h1', {}, 'modelward'), h('h2', {}, t('login.title')), session.form(() => window.location.reload(), said)),
  );
  document.getElementById('token').focus();
}

function showPanel() {
  const top = head();
  top.element.append(stale.banner());
  document.body.replaceChildren(
    h('a', { class: 'skip', href: '#main' }, t('skip')),
    top.element,
    h('main', { id: 'main', tabindex: '-1' },
      stale.whole(alerts(), disk(), memory(), cpu(), service(), rollout(), fleet(), versions(), upkeep(), history(), logs())),
    noticePlace(),
  );
  series.begin();
  live.begin(async (how, heard) => {
    top.connection(how);
    stale.show(how !== 'live', heard);
    if (how === 'closed' && !(await session.ask()).may_read) showLogin();
  });
}

await load();
document.title = 'modelward';
window.addEventListener('hashchange', () => window.location.hash.startsWith('#login=') && window.location.reload());
const said = await session.useLink();
if ((await session.ask()).may_read) showPanel();
else showLogin(said);
