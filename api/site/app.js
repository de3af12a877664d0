// The page of the control plane: a plain module over the JSON API. Each view is a function that returns its parts, and
// whether something in it is at work; this file chooses it by the address and draws it.

import { drawWith } from './actions.js';
import { get, hasToken, setToken, whenRefused } from './api.js';
import { at, el, say, table, td, triggerLink } from './dom.js';
import { form } from './form.js';
import { login, redeem } from './login.js';
import { runs, runView } from './runs.js';
import { timeline } from './timeline.js';
import { triggers, triggerView } from './triggers.js';

const main = document.getElementById('main');
/** How long a view is left alone while something runs, and while nothing does, in milliseconds. */
const FAST = 2000, SLOW = 10000;

let config = {};
let timer = null;
// What a view keeps from one look to the next, until somebody goes elsewhere.
let visit = null;

async function upcoming() {
  const { runs: list } = await get('/upcoming-runs?limit=50');
  const rows = list.map((run) => el('tr', {}, td(at(run.at)), td(el('a', { href: triggerLink(run.triggerId) }, run.name || run.triggerId))));
  return { parts: [el('h2', {}, 'Coming runs'), list.length ? table('coming', 'Coming runs', null, ['Time', 'Trigger'], rows) : el('p', {}, 'No schedule is switched on.')], busy: false };
}

function view() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [first, ...rest] = path.split('/').map(decodeURIComponent);
  if (first === 'runs' && rest.length === 2) return () => runView(...rest, visit);
  if (first === 'runs') return () => runs(query, visit);
  if (first === 'timeline') return () => timeline(query, visit);
  if (first === 'upcoming') return upcoming;
  if (first === 'new') return () => form();
  if (first === 'edit') return () => form(rest[0]);
  if (first === 'triggers' && rest[0]) return () => triggerView(rest[0]);
  return triggers;
}

/** What tells an element from the others of a view, also after it was drawn anew. */
const mark = (node) => node.id || node.getAttribute?.('aria-label') || node.getAttribute?.('href');

/** Replaces what is shown. The focus, the scrolled parts and the opened ones stay as they are. */
function replace(nodes) {
  const focused = main.contains(document.activeElement) && mark(document.activeElement);
  const kept = [...main.querySelectorAll('.scroll[id], details[id]')].map(({ id, scrollLeft, open }) => ({ id, scrollLeft, open }));
  main.replaceChildren(...nodes);
  for (const { id, scrollLeft, open } of kept) {
    const node = document.getElementById(id);
    if (node) Object.assign(node, { scrollLeft, ...(open !== undefined && { open }) });
  }
  if (focused) [...main.querySelectorAll('[id], a, button')].find((node) => mark(node) === focused)?.focus({ preventScroll: true });
}

async function draw() {
  clearTimeout(timer);
  const mine = visit;
  let isBusy = false;
  try {
    const { parts, busy, after } = await view()();
    if (mine !== visit) return;
    isBusy = busy;
    const nodes = parts.filter(Boolean);
    // A view may have changed itself in place. An unchanged one keeps its selection.
    const drawn = nodes[0].isConnected || nodes.map((node) => node.outerHTML).join('');
    if (drawn !== true && drawn !== visit.drawn) {
      replace(nodes);
      after?.();
    }
    visit.drawn = drawn;
  } catch (error) {
    if (mine !== visit) return;
    if (hasToken()) main.replaceChildren(el('h2', {}, 'This did not work'), el('p', {}, error.message));
    visit.drawn = null;
  }
  clearTimeout(timer);
  // A form is not drawn anew by the clock, and nothing is asked while nobody looks.
  if (isBusy !== null && hasToken()) timer = setTimeout(() => (document.hidden ? null : draw()), isBusy ? FAST : SLOW);
}

function show() {
  visit = {};
  for (const link of document.querySelectorAll('nav a')) {
    if (location.hash.startsWith(link.getAttribute('href'))) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (hasToken()) return draw();
  main.replaceChildren(el('h2', {}, 'Log in'), config.login
    ? el('button', { class: 'main', onclick: () => login(config.login) }, 'Log in')
    : el('p', {}, 'Open the link that was printed at the start. It holds the key.'));
  return null;
}

/** Goes to another view. A filter within a view leaves the focus where it is. */
function go(event) {
  say('');
  const path = (url) => new URL(url).hash.split('?')[0];
  if (path(event.oldURL) !== path(event.newURL)) {
    main.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
  show();
}

async function start() {
  config = await (await fetch('/config.json')).json();
  drawWith(draw);
  whenRefused(show);
  const key = /^#key=([^&]+)/.exec(location.hash);
  const query = new URLSearchParams(location.search);
  if (key) {
    setToken(decodeURIComponent(key[1]));
    history.replaceState(null, '', '/#/triggers');
  } else if (config.login && query.get('code')) {
    setToken(await redeem(config.login, query.get('code'), query.get('state')).catch((error) => { say(error.message); return null; }));
  }
  window.addEventListener('hashchange', go);
  const isForm = () => main.querySelector('form');
  // What somebody writes in a form outlasts a look at another tab.
  document.addEventListener('visibilitychange', () => { if (!document.hidden && hasToken() && !isForm()) draw(); });
  // The timeline is as wide as the window.
  window.addEventListener('resize', () => { if (visit.seen) draw(); });
  show();
}

start().catch((error) => { main.replaceChildren(el('p', {}, error.message)); });
