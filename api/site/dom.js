// Elements and words. Everything that users or agents wrote becomes text, never markup.

export const byId = (id) => document.getElementById(id);
const notice = byId('notice');

export const STATUSES = ['running', 'completed', 'failed', 'cancelled', 'skipped'];

const isSaid = (value) => value != null && value !== false;

/** The attributes may be left out. */
function made(node, parts) {
  const [attributes, ...children] = parts[0]?.constructor === Object ? parts : [{}, ...parts];
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (isSaid(value)) node.setAttribute(key, value === true ? '' : value);
  }
  node.append(...children.filter(isSaid));
  return node;
}

export const el = (name, ...parts) => made(document.createElement(name), parts);
export const svg = (name, ...parts) => made(document.createElementNS('http://www.w3.org/2000/svg', name), parts);

let wait;
/** Shows a notice for ten seconds. */
export function say(words) {
  notice.textContent = words;
  clearTimeout(wait);
  wait = words && setTimeout(say, 10000, '');
}

export async function attempt(action, done) {
  try {
    await action();
    if (done) say(done);
  } catch (error) {
    say(error.message);
  }
}

export const enc = encodeURIComponent;
export const at = (time) => (time ? new Date(time).toLocaleString([], { timeZoneName: 'short' }) : '–');
export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
/** Returns what JSON text says. Anything else is returned as it is. */
export function parsed(value) {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
export const td = (...children) => el('td', ...children);
export const a = (href, ...words) => el('a', { href }, ...words);
export const status = (value) => el('span', { class: `status ${value}` }, value);
export const triggerPath = (id) => `/triggers/${enc(id)}`;
export const triggerLink = (id) => `#${triggerPath(id)}`;
export const runPath = (run) => `${triggerPath(run.triggerId)}/executions/${enc(run.executionId)}`;
export const runLink = (run) => `#/runs/${enc(run.triggerId)}/${enc(run.executionId)}`;
/** A trigger that was written by hand may have no name. */
export const nameOf = (trigger) => trigger.name || trigger.id;
export const isAtWork = (runs) => runs.some((run) => run.status === 'running');
export const text = (words, kind) => el('p', { class: kind }, words);
export const quote = (title, words) => el('div', el('h3', title), el('pre', words));
export const heading = (words, ...more) => el('div', { class: 'row' }, el('h2', { class: 'grow' }, words), ...more);
export const shownUntil = (time) => `Coming fires are shown until ${at(time)}, and after that the next one of each trigger.`;
export const facts = (rows) => el('dl', ...rows.flatMap(([name, values]) => [el('dt', name), el('dd', ...[values].flat())]));

export function took(millis) {
  if (millis == null) return '';
  if (millis < 1000) return `${Math.round(millis)} ms`;
  // No "60.0 s".
  if (millis < 59950) return `${(millis / 1000).toFixed(1)} s`;
  const seconds = Math.round(millis / 1000), minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Counts runs by their status: `3 completed, 1 failed`. */
export function counted(runs) {
  const count = (name) => runs.filter((run) => run.status === name).length;
  return STATUSES.filter(count).map((name) => `${count(name)} ${name}`).join(', ');
}

export const options = (pairs, chosen) => pairs.map(([value, words]) => el('option', { value, selected: value === chosen }, words));
/** Returns a choice that leads to another address, and its label. */
export const choice = (id, label, pairs, chosen, link) => [el('label', { for: id }, label),
  el('select', { id, onchange: ({ target }) => { location.hash = link(target.value); } }, ...options(pairs, chosen))];

export const region = (id, name) => ({ id, tabindex: '0', role: 'region', 'aria-label': name });
/** Returns a table in a box that scrolls by itself. */
export function table(id, name, kind, head, rows) {
  return el('div', { class: 'scroll', ...region(id, name) }, el('table', { class: kind },
    el('thead', el('tr', ...head.map((text) => el('th', { scope: 'col' }, text)))), el('tbody', ...rows)));
}

export const byTrigger = (runs) => Map.groupBy(runs, (run) => run.triggerId);

/** Returns the shape of a status: nobody needs to see its colour. */
export function shape(name, x, y, width, height) {
  const middle = y + height / 2;
  const mark = (kind, attributes) => svg(kind, { class: name, ...attributes });
  switch (name) {
    case 'failed': {
      const tip = Math.min(width / 2, height / 2);
      return mark('path', { d: `M${x} ${middle}l${tip} ${-height / 2}h${width - 2 * tip}l${tip} ${height / 2}l${-tip} ${height / 2}h${2 * tip - width}z` });
    }
    case 'skipped': return mark('circle', { cx: x + width / 2, cy: middle, r: Math.max(1, Math.min(width, height) / 2 - 1) });
    case 'cancelled': return mark('rect', { x, y: middle - height / 5, width, height: height * 0.4 });
    case 'running': return mark('path', { d: `M${x + width} ${y + 1}h${-width + 1}v${height - 2}h${width - 1}` });
    default: return mark('rect', { x, y, width, height, rx: Math.min(2, width / 3) });
  }
}
