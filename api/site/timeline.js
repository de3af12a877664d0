// A row for each trigger, its runs as bars by their start and length, and its coming fires.

import { coming, get } from './api.js';
import { a, at, byId, byTrigger, choice, counted, el, enc, heading, isAtWork, nameOf, region, runLink, shape, shownUntil, STATUSES, svg, table, td, text, took, triggerLink, ZONE } from './dom.js';

const MINUTE = 60000;
/** The minutes that are shown, and those between two marks of the axis. */
const SPANS = {
  '1h': [60, 10], '6h': [360, 60], '24h': [1440, 180], '7d': [10080, 1440],
};
const spaced = (name) => name.replace(/[a-z]/, ' $&');
const MOST_PAGES = 3;
const PAGE = 100;
// In pixels. ROW and AXIS stand in the style sheet, too.
const ROW = 36, AXIS = 28, BAR = 16, LEAST = 8, LABELS = 190, NARROWEST = 640;

async function runsSince(from) {
  const runs = [];
  const path = `/executions?limit=${PAGE}&from=${new Date(from).toISOString()}`;
  for (let page = 0, token = ''; page < MOST_PAGES; page += 1) {
    const answer = await get(token ? `${path}&nextToken=${enc(token)}` : path);
    runs.push(...answer.executions);
    token = answer.nextToken;
    if (!token) return { runs, isCut: false };
  }
  return { runs, isCut: true };
}

function link(id, href, name, ...drawn) {
  return svg('a', { id, href, class: 'bar', tabindex: '-1', 'aria-label': name }, svg('title', name), ...drawn);
}

function runBar(run, name, x, y, now) {
  const start = Date.parse(run.executedAt);
  const end = run.status === 'running' ? now : run.completedAt ? Date.parse(run.completedAt) : start + (run.durationMs || 0);
  const isSkipped = run.status === 'skipped';
  const width = isSkipped ? BAR : Math.max(LEAST, x(Math.min(end, now)) - x(start));
  const words = `${name}: ${run.status}, ${at(run.executedAt)}${isSkipped ? '' : `, ${took(end - start)}`}`;
  return link(`bar-${run.executionId}`, runLink(run), words, shape(run.status, Math.min(x(start), x(now) - width), y, width, BAR));
}

const hatched = (x, y, width, height) => svg('rect', { class: 'coming', fill: 'url(#hatch)', x, y, width, height });

/** Returns coming fires. Those that would cover one another are one bar. */
function comingBars(fires, trigger, x, y) {
  const blocks = [];
  let end;
  for (const fire of fires) {
    const left = x(Date.parse(fire.at));
    if (left < end + 2) blocks.at(-1).push(fire.at);
    else blocks.push([fire.at]);
    end = left + LEAST;
  }
  return blocks.map((times) => {
    const [first, last] = [times[0], times.at(-1)];
    const words = times.length === 1 ? `coming, ${at(first)}` : `${times.length} coming, ${at(first)} to ${at(last)}`;
    const left = x(Date.parse(first));
    return link(`coming-${trigger.id}-${first}`, triggerLink(trigger.id), `${nameOf(trigger)}: ${words}`, hatched(left, y, x(Date.parse(last)) + LEAST - left, BAR));
  });
}

function axis([length, mark], from, to, x, width, rule) {
  const node = svg('g', { 'aria-hidden': 'true' });
  const time = new Date(from);
  // Marks stand at full hours of this browser's clock.
  time.setHours(0, 0, 0, 0);
  for (; time <= to; time.setMinutes(time.getMinutes() + mark)) {
    if (time < from || x(time) > width - 24) continue;
    const label = length > 1440 ? time.toLocaleDateString([], { weekday: 'short', day: 'numeric' })
      : time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    node.append(rule(x(time)), svg('text', { x: x(time) + 3, y: AXIS - 10 }, label));
  }
  return node;
}

/** The arrows move between the bars, one stop of the Tab key. */
function navigable(chart, rows) {
  const used = rows.filter((row) => row.length);
  const stop = (bar) => {
    chart.querySelector('[tabindex="0"]')?.setAttribute('tabindex', '-1');
    bar.setAttribute('tabindex', '0');
  };
  if (used.length) stop(used[0].findLast((bar) => bar.id.startsWith('bar-')) || used[0][0]);
  // Chromium lets the chart itself have the focus, because it listens.
  chart.addEventListener('focusin', (event) => event.target !== chart && stop(event.target));
  chart.addEventListener('keydown', (event) => {
    const bar = event.target;
    const index = used.findIndex((row) => row.includes(bar));
    if (index < 0) return;
    const row = used[index];
    const place = row.indexOf(bar);
    const left = (other) => other.lastChild.getBBox().x;
    const far = (other) => Math.abs(left(other) - left(bar));
    const nearest = (others) => others?.reduce((best, other) => (far(other) < far(best) ? other : best));
    const moves = {
      ArrowLeft: row[place - 1], ArrowRight: row[place + 1], Home: row[0], End: row.at(-1),
      ArrowUp: nearest(used[index - 1]), ArrowDown: nearest(used[index + 1]),
    };
    if (!(event.key in moves)) return;
    event.preventDefault();
    moves[event.key]?.focus();
  });
}

function chart(rows, span, from, to, now, unread) {
  const width = Math.max(NARROWEST, byId('main').clientWidth - 32 - LABELS);
  const height = AXIS + rows.length * ROW;
  const x = (time) => Math.round(((time - from) / (to - from)) * width * 10) / 10;
  const rule = (left, kind) => svg('line', { class: kind, x1: left, x2: left, y1: AXIS - 6, y2: height });
  const node = svg('svg', {
    class: 'timeline', width, height, viewBox: `0 0 ${width} ${height}`, role: 'group', 'aria-label': 'Runs and coming fires. The arrow keys move between them.',
  },
  svg('defs', svg('pattern', { id: 'hatch', width: 5, height: 5, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' },
    svg('rect', { class: 'hatch', width: 2, height: 5 }))),
  // Where runs or fires may be missing, the chart is grey.
  ...unread.map(([first, last]) => svg('rect', { class: 'unread', x: x(first), y: AXIS, width: x(last) - x(first), height: height - AXIS })),
  axis(span, from, to, x, width, rule), rule(x(now), 'now'));
  const bars = rows.map(({ trigger, runs, fires }, index) => {
    const y = AXIS + index * ROW;
    node.append(svg('line', { x2: width, y1: y, y2: y }));
    const past = [...runs].reverse().map((run) => runBar(run, nameOf(trigger), x, y + (ROW - BAR) / 2, now));
    const next = comingBars(fires, trigger, x, y + (ROW - BAR) / 2);
    // No bar covers one that did not complete.
    node.append(...past, ...past.filter((bar) => !bar.querySelector('.completed')), ...next);
    return [...past, ...next];
  });
  navigable(node, bars);
  return { node, nowAt: x(now) };
}

function summary(rows) {
  return el('details', { id: 'summary' }, el('summary', { id: 'as-table' }, 'The same as a table'),
    table('by-trigger', 'Runs by trigger', null, ['Trigger', 'Runs', 'Longest', 'Last', 'Next'], rows.map(({ trigger, runs }) => el('tr',
      el('th', { scope: 'row' }, a(triggerLink(trigger.id), nameOf(trigger))),
      td(counted(runs) || 'none'),
      td(runs.length ? took(Math.max(...runs.map((run) => run.durationMs || 0))) : '–'),
      td(runs.length ? a(runLink(runs[0]), at(runs[0].executedAt)) : '–'),
      td(at(trigger.nextRun))))));
}

function legend() {
  const sign = (drawn) => svg('svg', { width: 22, height: 16, 'aria-hidden': 'true' }, drawn);
  return el('ul', { class: 'legend' },
    ...STATUSES.map((name) => el('li', sign(shape(name, 1, 1, 20, 14)), name)),
    el('li', sign(hatched(1, 1, 20, 14)), 'coming'));
}

export async function timeline(query, visit) {
  const chosen = new URLSearchParams(query).get('span');
  const name = Object.hasOwn(SPANS, chosen) ? chosen : '6h';
  const span = SPANS[name];
  const now = Date.now();
  const from = now - span[0] * MINUTE;
  const to = now + (span[0] / 4) * MINUTE;
  // In full minutes, so that most answers are those of the look before.
  const since = Math.floor(from / MINUTE) * MINUTE;
  const [{ triggers, fires: all, until }, { runs, isCut }] = await Promise.all([coming(), runsSince(since)]);
  const fires = byTrigger(all.filter((run) => Date.parse(run.at) <= to));
  const past = byTrigger(runs.filter((run) => Date.parse(run.executedAt) >= from));
  const rows = triggers.map((trigger) => ({ trigger, runs: past.get(trigger.id) || [], fires: fires.get(trigger.id) || [] }));
  const isUsed = (row) => row.runs.length + row.fires.length > 0;
  rows.sort((left, right) => isUsed(right) - isUsed(left));
  const notes = [`In the last ${spaced(name)}: ${counted(rows.flatMap((row) => row.runs)) || 'no runs'}. Times are those of ${ZONE}.`];
  const unread = [];
  if (isCut && runs.length) {
    const first = runs.at(-1).executedAt;
    notes.push(`Only the newest ${runs.length} runs are shown, from ${at(first)} on.`);
    unread.push([from, Math.max(from, Date.parse(first))]);
  }
  if (until && Date.parse(until) < to) {
    notes.push(shownUntil(until));
    unread.push([Date.parse(until), to]);
  }
  const { node, nowAt } = chart(rows, span, from, to, now, unread);
  const scroll = el('div', { class: 'scroll lanes', ...region('lanes', 'Timeline') },
    el('div', { class: 'labels' }, ...rows.map(({ trigger }) => el('a', { href: triggerLink(trigger.id), title: nameOf(trigger) }, nameOf(trigger)))), node);
  const isFirst = !visit.seen;
  visit.seen = true;
  return {
    parts: [
      heading('Timeline', ...choice('span', 'The last', Object.keys(SPANS).map((value) => [value, spaced(value)]), name, (value) => `#/timeline?span=${value}`)),
      text(notes.join(' '), 'quiet'),
      rows.length ? scroll : text('There are no triggers yet.'),
      legend(), summary(rows),
    ],
    // In a narrow window what is new comes first.
    after: () => { if (isFirst) scroll.scrollLeft = nowAt - scroll.clientWidth / 2; },
    busy: isAtWork(runs),
  };
}
