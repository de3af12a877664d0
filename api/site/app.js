// The page of the control plane. Each view is a function that returns its parts, and whether something in it is at work;
// this file chooses it by the address and draws it.

import { drawWith } from './actions.js';
import { coming, hasToken, setToken, whenRefused } from './api.js';
import { a, at, attempt, byId, el, shownUntil, table, td, text, triggerLink } from './dom.js';
import { login, redeem } from './login.js';
import { runs, runView } from './runs.js';
import { timeline } from './timeline.js';
import { triggers, triggerView } from './triggers.js';

const main = byId('main');
const dialog = byId('dialog');
/** The milliseconds between two looks while something runs, and while nothing does. */
const FAST = 2000, SLOW = 10000;

let config = {};
let timer = null;
// What a view keeps from one look to the next, and the number of looks: an answer counts no more when another look has begun.
let visit = null, turn = 0;

async function upcoming() {
  const { fires, until } = await coming();
  const rows = fires.map((run) => el('tr', td(at(run.at)), td(a(triggerLink(run.triggerId), run.name || run.triggerId))));
  return {
    parts: [el('h2', 'Coming runs'), rows.length ? table('coming', 'Coming runs', null, ['Time', 'Trigger'], rows) : text('No schedule is switched on.'),
      until && text(shownUntil(until))],
    busy: false,
  };
}

async function view() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [first, id, executionId] = path.split('/').map(decodeURIComponent);
  switch (first) {
    case 'runs': return executionId ? runView(id, executionId, visit) : runs(query, visit);
    case 'timeline': return timeline(query, visit);
    case 'upcoming': return upcoming();
    case 'webhook': return (await import('./webhook.js')).webhook(id, visit);
    case 'new': case 'edit': return (await import('./form.js')).form(id);
    default: return id ? triggerView(id) : triggers();
  }
}

/** What an element is known by when it is drawn anew. */
const mark = (node) => node.id || node.getAttribute?.('aria-label') || node.getAttribute?.('href') || (node.localName === 'button' && node.textContent);
/** Gives the focus to the element that has taken the place of one that was drawn over. */
const focusOn = (wanted) => [...main.querySelectorAll('[id], a, button')].find((node) => mark(node) === wanted)?.focus({ preventScroll: true });

/** Replaces what is shown. Focus, scrolled and opened parts stay. */
function replace(nodes) {
  const focused = main.contains(document.activeElement) && mark(document.activeElement);
  const kept = [...main.querySelectorAll('.scroll[id], details[id]')].map(({ id, scrollLeft, open }) => ({ id, scrollLeft, open }));
  main.replaceChildren(...nodes);
  for (const { id, scrollLeft, open } of kept) {
    const node = byId(id);
    if (node) Object.assign(node, { scrollLeft, ...(open !== undefined && { open }) });
  }
  if (focused) focusOn(focused);
}

async function draw() {
  clearTimeout(timer);
  const mine = turn += 1;
  const { parts, busy, after, error } = await view().catch((error) => ({ error }));
  if (mine !== turn) return;
  if (error) {
    // What somebody is asked about stays in sight.
    if (hasToken() && !dialog.open) main.replaceChildren(el('h2', 'This did not work'), text(error.message));
    visit.drawn = null;
  } else {
    const nodes = parts.filter(Boolean);
    // A view may have changed itself in place. What is unchanged keeps its selection.
    const drawn = nodes[0].isConnected || nodes.map((node) => node.outerHTML).join('');
    if (drawn !== true && drawn !== visit.drawn) {
      replace(nodes);
      after?.();
    }
    visit.drawn = drawn;
  }
  clearTimeout(timer);
  // The clock draws no form, and nothing while nobody looks.
  if (busy !== null && hasToken()) timer = setTimeout(() => (document.hidden ? null : draw()), busy ? FAST : SLOW);
}

function show() {
  visit = {};
  turn += 1;
  const here = location.hash.replace(/^#\/?$/, '') || '#/triggers';
  for (const link of document.querySelectorAll('nav a')) link.ariaCurrent = here.startsWith(link.hash) ? 'page' : null;
  if (hasToken()) return draw();
  main.replaceChildren(el('h2', 'Log in'), config.login
    ? el('button', { class: 'main', onclick: () => attempt(() => login(config.login)) }, 'Log in')
    : text('Open the link that was printed at the start. It holds the key.'));
  return null;
}

/** Goes to another view. A filter within one keeps the focus. */
function go(event) {
  if (location.hash.startsWith('#key=')) location.reload();
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
  const [, key] = /^#key=([^&]+)/.exec(location.hash) || [];
  const query = new URLSearchParams(location.search);
  if (key) {
    setToken(decodeURIComponent(key));
    history.replaceState(null, '', '/#/triggers');
  }
  await attempt(async () => {
    if (!config.login) {
      // The key of a local run outlasts a reload. It ends with its tab.
      if (key) sessionStorage.setItem('key', decodeURIComponent(key));
      setToken(sessionStorage.getItem('key'));
    } else if (query.get('code')) setToken(await redeem(config.login, query.get('code'), query.get('state')));
  });
  window.addEventListener('hashchange', go);
  // A dialog gives the focus back to its button, which may have been drawn anew meanwhile.
  let asker = null;
  main.addEventListener('click', ({ target }) => { asker = target.closest('button'); });
  dialog.addEventListener('close', () => { if (asker && !asker.isConnected) focusOn(mark(asker)); });
  // What somebody writes in a form outlasts a look at another tab.
  document.addEventListener('visibilitychange', () => { if (!document.hidden && hasToken() && !main.querySelector('form')) draw(); });
  let width = innerWidth;
  window.addEventListener('resize', () => {
    if (innerWidth === width) return;
    width = innerWidth;
    if (!visit.seen) return;
    clearTimeout(timer);
    timer = setTimeout(draw, 200);
  });
  show();
}

start().catch((error) => { main.replaceChildren(text(error.message)); });
