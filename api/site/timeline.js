// The timeline: a row for each trigger, its runs as bars by their start and length, and its coming fires.

import { get } from './api.js';
import { at, byTrigger, counted, el, runLink, shape, STATUSES, svg, table, td, took, triggerLink } from './dom.js';

const MINUTE = 60000;
/** What can be chosen: the length in minutes, and the minutes between two marks of the axis. */
const SPANS = {
  '1h': { length: 60, mark: 10 },
  '6h': { length: 360, mark: 60 },
  '24h': { length: 1440, mark: 180 },
  '7d': { length: 10080, mark: 1440 },
};
const spaced = (name) => name.replace(/[a-z]/, ' $&');
/** The most pages of runs that are read. */
const MOST_PAGES = 3;
const PAGE = 100;
// In pixels. The row's height and the axis' are those of the labels in the style sheet.
const ROW = 36, AXIS = 28, BAR = 16, LEAST = 8, LABELS = 190, NARROWEST = 640;

async function runsSince(from) {
  const runs = [];
  const path = `/executions?limit=${PAGE}&from=${new Date(from).toISOString()}`;
  for (let page = 0, token = ''; page < MOST_PAGES; page += 1) {
    const answer = await get(token ? `${path}&nextToken=${encodeURIComponent(token)}` : path);
    runs.push(...answer.executions);
    token = answer.nextToken;
    if (!token) return { runs, isCut: false };
  }
  return { runs, isCut: true };
}

function link(id, href, name, ...drawn) {
  return svg('a', { id, href, class: 'bar', tabindex: '-1', 'aria-label': name }, svg('title', {}, name), ...drawn);
}

function runBar(run, name, x, y, now) {
  const start = Date.parse(run.executedAt);
  const end = run.status === 'running' ? now : run.completedAt ? Date.parse(run.completedAt) : start + (run.durationMs || 0);
  const width = run.status === 'skipped' ? BAR : Math.max(LEAST, x(Math.min(end, now)) - x(start));
  const length = run.status === 'skipped' ? '' : `, ${took(end - start)}`;
  const words = `${name}: ${run.status}, ${at(run.executedAt)}${length}`;
  return link(`bar-${run.executionId}`, runLink(run), words, shape(run.status, Math.min(x(start), x(now) - width), y, width, BAR));
}

/** Returns the coming fires of a row. Those that would cover one another are one bar. */
function comingBars(fires, trigger, x, y) {
  const blocks = [];
  for (const fire of fires) {
    const place = x(Date.parse(fire.at));
    const block = blocks.at(-1);
    if (block && place < block.end + 2) Object.assign(block, { end: place + LEAST, last: fire.at, count: block.count + 1 });
    else blocks.push({ place, end: place + LEAST, first: fire.at, last: fire.at, count: 1 });
  }
  return blocks.map(({ place, end, first, last, count }) => {
    const words = count === 1 ? `${trigger.name}: coming, ${at(first)}` : `${trigger.name}: ${count} coming, ${at(first)} to ${at(last)}`;
    return link(`coming-${trigger.id}-${first}`, triggerLink(trigger.id), words,
      svg('rect', { class: 'coming', fill: 'url(#hatch)', x: place, y, width: end - place, height: BAR }));
  });
}

function axis({ length, mark }, from, to, x, width, height) {
  const node = svg('g', { 'aria-hidden': 'true', class: 'axis' });
  const time = new Date(from);
  // Marks stand at full hours of this browser's clock, a whole number of steps from midnight.
  time.setHours(0, 0, 0, 0);
  for (; time <= to; time.setMinutes(time.getMinutes() + mark)) {
    if (time < from || x(time) > width - 24) continue;
    const text = length > 1440 ? time.toLocaleDateString([], { weekday: 'short', day: 'numeric' })
      : time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    node.append(svg('line', { x1: x(time), x2: x(time), y1: AXIS - 6, y2: height }), svg('text', { x: x(time) + 3, y: AXIS - 10 }, text));
  }
  return node;
}

/** Lets the arrows move between the bars, which are one stop of the Tab key. */
function navigable(chart, rows) {
  const bars = rows.flat();
  const focus = (bar) => {
    for (const other of bars) other.setAttribute('tabindex', other === bar ? '0' : '-1');
  };
  const newest = rows.find((row) => row.length);
  if (newest) focus(newest.findLast((bar) => bar.id.startsWith('bar-')) || newest[0]);
  chart.addEventListener('focusin', (event) => bars.includes(event.target) && focus(event.target));
  chart.addEventListener('keydown', (event) => {
    const from = rows.findIndex((row) => row.includes(event.target));
    if (from < 0) return;
    const row = rows[from];
    const place = row.indexOf(event.target);
    const beside = (step) => {
      let to = from + step;
      while (rows[to] && !rows[to].length) to += step;
      const left = (bar) => bar.lastChild.getBBox().x;
      return rows[to]?.reduce((best, bar) => (Math.abs(left(bar) - left(event.target)) < Math.abs(left(best) - left(event.target)) ? bar : best));
    };
    const moves = {
      ArrowLeft: () => row[place - 1], ArrowRight: () => row[place + 1], Home: () => row[0], End: () => row.at(-1),
      ArrowUp: () => beside(-1), ArrowDown: () => beside(1),
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]()?.focus();
  });
}

function chart(rows, span, from, to, now) {
  const width = Math.max(NARROWEST, document.getElementById('main').clientWidth - 32 - LABELS);
  const height = AXIS + rows.length * ROW;
  const x = (time) => Math.round(((time - from) / (to - from)) * width * 10) / 10;
  const node = svg('svg', {
    class: 'timeline', width, height, viewBox: `0 0 ${width} ${height}`, role: 'group', 'aria-label': 'Runs and coming fires. The arrow keys move between them.',
  },
  svg('defs', {}, svg('pattern', { id: 'hatch', width: 5, height: 5, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' },
    svg('rect', { class: 'hatch', width: 2, height: 5 }))),
  axis(span, from, to, x, width, height),
  svg('line', { class: 'now', x1: x(now), x2: x(now), y1: AXIS - 6, y2: height }));
  const bars = rows.map(({ trigger, runs, fires }, index) => {
    const y = AXIS + index * ROW;
    node.append(svg('line', { class: 'rule', x1: 0, x2: width, y1: y, y2: y }));
    const past = [...runs].reverse().map((run) => runBar(run, trigger.name, x, y + (ROW - BAR) / 2, now));
    const coming = comingBars(fires, trigger, x, y + (ROW - BAR) / 2);
    // What did not complete is drawn last, so that no other bar covers it.
    node.append(...past, ...past.filter((bar) => !bar.querySelector('.completed')), ...coming);
    return [...past, ...coming];
  });
  navigable(node, bars);
  return { node, nowAt: x(now) };
}

function summary(rows) {
  const longest = (runs) => took(Math.max(...runs.map((run) => run.durationMs || 0)));
  return el('details', { id: 'summary' }, el('summary', { id: 'as-table' }, 'The same as a table'),
    table('by-trigger', 'Runs by trigger', null, ['Trigger', 'Runs', 'Longest', 'Last', 'Next'], rows.map(({ trigger, runs, fires }) => el('tr', {},
      el('th', { scope: 'row' }, el('a', { href: triggerLink(trigger.id) }, trigger.name)),
      td(counted(runs) || 'none'),
      td(runs.length ? longest(runs) : '–'),
      td(runs.length ? el('a', { href: runLink(runs[0]) }, at(runs[0].executedAt)) : '–'),
      td(at(fires[0]?.at))))));
}

function legend() {
  const sign = (drawn) => svg('svg', { width: 22, height: 16, 'aria-hidden': 'true' }, drawn);
  return el('ul', { class: 'legend' },
    ...STATUSES.map((name) => el('li', {}, sign(shape(name, 1, 1, 20, 14)), name)),
    el('li', {}, sign(svg('rect', { class: 'coming', fill: 'url(#hatch)', x: 1, y: 1, width: 20, height: 14 })), 'coming'));
}

export async function timeline(query, visit) {
  const chosen = new URLSearchParams(query).get('span');
  const name = SPANS[chosen] ? chosen : '6h';
  const span = SPANS[name];
  const now = Date.now();
  const from = now - span.length * MINUTE;
  const to = now + (span.length / 4) * MINUTE;
  // A time in full minutes lets most answers be those of the look before.
  const since = Math.floor(from / MINUTE) * MINUTE;
  const [{ triggers }, { runs, isCut }, { runs: upcoming }] = await Promise.all([get('/triggers'), runsSince(since), get(`/upcoming-runs?limit=${PAGE}`)]);
  const fires = byTrigger(upcoming.filter((run) => Date.parse(run.at) <= to));
  const past = byTrigger(runs.filter((run) => Date.parse(run.executedAt) >= from));
  const rows = triggers.map((trigger) => ({ trigger, runs: past.get(trigger.id) || [], fires: fires.get(trigger.id) || [] }));
  const isUsed = (row) => row.runs.length + row.fires.length > 0;
  rows.sort((left, right) => isUsed(right) - isUsed(left));
  const choose = el('select', { id: 'span', onchange: (event) => { location.hash = `#/timeline?span=${event.target.value}`; } },
    ...Object.keys(SPANS).map((value) => el('option', { value, selected: value === name }, spaced(value))));
  const notes = [`In the last ${spaced(name)}: ${counted(rows.flatMap((row) => row.runs)) || 'no runs'}.`];
  if (isCut) notes.push(`Only the newest ${runs.length} runs are shown, from ${at(runs.at(-1).executedAt)} on.`);
  const last = upcoming.at(-1);
  if (upcoming.length === PAGE && Date.parse(last.at) < to) notes.push(`Coming fires are shown until ${at(last.at)}.`);
  const { node, nowAt } = chart(rows, span, from, to, now);
  const scroll = el('div', { class: 'scroll lanes', id: 'lanes', tabindex: '0', role: 'region', 'aria-label': 'Timeline' },
    el('div', { class: 'labels' }, ...rows.map(({ trigger }) => el('a', { href: triggerLink(trigger.id), title: trigger.name }, trigger.name || trigger.id))), node);
  const isFirst = !visit.seen;
  visit.seen = true;
  return {
    parts: [
      el('div', { class: 'row tight' }, el('h2', { class: 'grow' }, 'Timeline'), el('label', { for: 'span' }, 'The last'), choose),
      el('p', { class: 'quiet' }, notes.join(' ')),
      rows.length ? scroll : el('p', {}, 'There are no triggers yet.'),
      legend(), summary(rows),
    ],
    // Where the chart is wider than the window, what is new comes first.
    after: () => { if (isFirst) scroll.scrollLeft = nowAt - scroll.clientWidth / 2; },
    busy: runs.some((run) => run.status === 'running'),
  };
}
