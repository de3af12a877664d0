// The list of runs, which grows page by page, and one of them.

import { cancel, replay } from './actions.js';
import { get } from './api.js';
import { at, el, runLink, say, status, STATUSES, table, td, took, triggerLink, triggerPath } from './dom.js';
import { ADVICE, skipWords } from './reasons.js';

/** The number of runs of a page. */
const PAGE = 50;
/** The most runs further down the list that are looked up one by one because they were still running. */
const MOST_FOLLOWED = 10;

function row(run, isNamed) {
  return el('tr', {},
    td(status(run.status)),
    td(el('a', { href: runLink(run) }, at(run.executedAt))),
    isNamed && td(run.triggerName || ''),
    td(took(run.durationMs)),
    el('td', { class: 'quiet' }, run.errorMessage === run.status ? '' : run.errorMessage || ''));
}

/** Returns a table of runs. Those of a single trigger do not repeat its name. */
export function runTable(executions, isNamed) {
  const head = ['Status', 'Time', ...(isNamed ? ['Trigger'] : []), 'Took', 'Note'];
  return table('run-table', 'Runs', 'runs', head, executions.map((run) => row(run, isNamed)));
}

/** A list of runs that is changed in place: a look at the API costs the rows that are new or different. */
class RunList {
  constructor(query) {
    const params = new URLSearchParams(query);
    this.wanted = params.get('status') || '';
    const trigger = params.get('trigger');
    this.path = `${trigger ? triggerPath(trigger) : ''}/executions?limit=${PAGE}${this.wanted ? `&status=${encodeURIComponent(this.wanted)}` : ''}`;
    this.rows = new Map();
    this.first = null;
    this.next = null;
    const choose = el('select', {
      id: 'status', onchange: (event) => {
        const chosen = event.target.value;
        location.hash = `#/runs?${new URLSearchParams({ ...(trigger && { trigger }), ...(chosen && { status: chosen }) })}`;
      },
    }, ...['', ...STATUSES].map((name) => el('option', { value: name, selected: name === this.wanted }, name || 'all')));
    this.isNamed = !trigger;
    this.table = runTable([], this.isNamed);
    this.body = this.table.querySelector('tbody');
    this.count = el('p', { class: 'quiet', role: 'status' });
    this.more = el('button', { id: 'older', onclick: () => this.older().catch((error) => say(error.message)) }, 'Older runs');
    this.parts = [
      el('div', { class: 'row tight' }, el('h2', { class: 'grow' }, 'Runs'), el('label', { for: 'status' }, 'Status'), choose),
      trigger && el('p', {}, el('a', { href: triggerLink(trigger) }, 'Its trigger')),
      this.wanted === 'skipped' && el('p', { class: 'quiet' }, 'Nothing ran? Each skip says why.'),
      this.table, this.count, this.more,
    ];
    // The end of the list loads what is older before it comes into view.
    this.end = new IntersectionObserver(([seen]) => seen.isIntersecting && this.more.isConnected && this.more.click(), { rootMargin: '300px' });
  }

  async refresh() {
    const answer = await get(this.path);
    if (answer !== this.first) {
      const { executions, nextToken } = answer;
      const oldest = executions.at(-1)?.executionId;
      const newest = this.rows.keys().next().value;
      if (!this.first || (nextToken && oldest > newest)) {
        // Nothing is known yet, or so much is new that what lies between is not.
        this.rows.clear();
        this.body.replaceChildren();
        this.next = nextToken;
      }
      const here = new Set(executions.map((run) => run.executionId));
      const isAsked = (id) => !nextToken || id >= oldest;
      for (const [id, { node }] of this.rows) {
        if (here.has(id) || !isAsked(id)) continue;
        node.remove();
        this.rows.delete(id);
      }
      this.place(executions);
      this.first = answer;
    }
    await this.follow();
    this.report();
  }

  /** Looks again at runs that were at work and are on the first page no more. */
  async follow() {
    const here = new Set(this.first.executions.map((run) => run.executionId));
    const running = [...this.rows.values()].map(({ run }) => run).filter((run) => run.status === 'running' && !here.has(run.executionId));
    for (const run of running.slice(-MOST_FOLLOWED)) {
      const { execution } = await get(`${triggerPath(run.triggerId)}/executions/${encodeURIComponent(run.executionId)}`);
      this.place([{ ...execution, triggerName: run.triggerName }]);
    }
  }

  async older() {
    if (!this.next || this.more.disabled) return;
    this.more.disabled = true;
    try {
      const { executions, nextToken } = await get(`${this.path}&nextToken=${encodeURIComponent(this.next)}`);
      this.next = nextToken;
      this.place(executions);
    } finally {
      this.more.disabled = false;
    }
    this.report();
  }

  /** Puts runs where they belong. Their ids sort by their times, the newest first. */
  place(runs) {
    const fresh = document.createDocumentFragment();
    const last = [...this.rows.keys()].at(-1);
    let isNew = false;
    for (const run of runs) {
      const id = run.executionId;
      const before = this.rows.get(id);
      if (before && JSON.stringify(before.run) === JSON.stringify(run)) continue;
      const node = row(run, this.isNamed);
      if (before) before.node.replaceWith(node);
      else if (last === undefined || id < last) fresh.append(node);
      else [...this.rows].find(([known]) => known < id)[1].node.before(node);
      isNew ||= !before;
      this.rows.set(id, { run, node });
    }
    this.body.append(fresh);
    if (isNew) this.rows = new Map([...this.rows].sort(([left], [right]) => (left < right ? 1 : -1)));
  }

  report() {
    this.more.hidden = !this.next;
    const count = this.rows.size;
    this.count.textContent = this.next ? `${count} runs so far.` : count ? `These are all ${count} runs.` : 'Nothing ran yet.';
    this.end.disconnect();
    if (this.next) this.end.observe(this.more);
  }
}

export async function runs(query, visit) {
  visit.list ||= new RunList(query);
  await visit.list.refresh();
  return { parts: visit.list.parts, busy: [...visit.list.rows.values()].some(({ run }) => run.status === 'running') };
}

export async function runView(id, execution, visit) {
  const path = `${triggerPath(id)}/executions/${encodeURIComponent(execution)}`;
  let run;
  try {
    ({ execution: run } = await get(path));
  } catch (error) {
    if (error.code !== 'NOT_FOUND') throw error;
    return { parts: [el('h2', {}, 'Run'), el('p', {}, 'This run has not begun yet, or there is none.')], busy: true };
  }
  // Somebody who hears the page learns of the end too.
  if (visit.status && visit.status !== run.status) say(`The run is ${run.status}.`);
  visit.status = run.status;
  const other = (found) => found && el('a', { href: runLink({ triggerId: id, executionId: found }) }, found);
  const rows = [['Started', at(run.executedAt)], ['Ended', at(run.completedAt)], ['Took', took(run.durationMs) || '–'],
    ['Agent', run.agentId], ['Attempt', run.attempt && String(run.attempt)], ['Fired for', run.scheduledTime || run.eventId], ['Source', run.source],
    ['Session', run.sessionId], ['Request', run.requestId], ['Trace', run.traceId], ['Execution', run.executionId],
    ['Replays', other(run.replayOf)], ['Follows', run.follows], ['Still at work was', other(run.overlaps)],
    ['Tokens', run.usage && `${run.usage.inputTokens} in, ${run.usage.outputTokens} out`]].filter(([, value]) => value);
  const copy = (value) => el('button', { class: 'quiet', 'aria-label': `Copy ${value}`, onclick: () => navigator.clipboard?.writeText(value).then(() => say('Copied.')) }, 'Copy');
  const ids = ['Session', 'Request', 'Trace', 'Execution'];
  const advice = run.status === 'skipped' ? skipWords(run.skipReason) : ADVICE[run.errorType];
  const isStopping = run.status === 'running' && run.cancelRequested;
  return {
    parts: [
      el('div', { class: 'row' }, el('h2', { class: 'grow' }, 'Run ', status(run.status)),
        run.canCancel ? cancel(path) : null, run.canReplay ? replay(id, path) : null, el('a', { href: triggerLink(id) }, 'Trigger')),
      run.status !== 'completed' && run.status !== 'running' ? el('pre', { class: 'error' }, run.errorMessage || '') : null,
      isStopping ? el('p', {}, 'It is asked to stop.') : null,
      advice ? el('p', {}, advice) : null,
      run.output ? el('div', {}, el('h3', {}, 'Answer'), el('pre', {}, run.output)) : null,
      el('h3', {}, 'Details'),
      el('dl', {}, ...rows.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value, ' ', ids.includes(name) ? copy(value) : null)])),
    ],
    busy: run.status === 'running',
  };
}
