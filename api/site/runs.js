// The list of runs, which grows page by page, and one of them.

import { cancel, replay } from './actions.js';
import { get } from './api.js';
import { a, at, attempt, el, enc, facts, heading, isAtWork, nameOf, runLink, runPath, say, status, STATUSES, table, td, text, took, triggerLink, triggerPath } from './dom.js';
import { ADVICE, skipWords } from './reasons.js';

const PAGE = 50;
/** The most running ones below the first page that are looked up one by one. */
const MOST_FOLLOWED = 10;

function row(run, isNamed) {
  return el('tr', {},
    td(status(run.status)),
    td(a(runLink(run), at(run.executedAt))),
    isNamed && td(run.triggerName || run.triggerId),
    td(took(run.durationMs)),
    el('td', { class: 'quiet' }, run.errorMessage === run.status ? '' : run.errorMessage || ''));
}

export function runTable(executions, isNamed) {
  const head = ['Status', 'Time', ...(isNamed ? ['Trigger'] : []), 'Took', 'Note'];
  return table('run-table', 'Runs', 'runs', head, executions.map((run) => row(run, isNamed)));
}

/** A list of runs that is changed in place: a look costs the rows that are new or different. */
class RunList {
  constructor(query) {
    const params = new URLSearchParams(query);
    this.wanted = params.get('status') || '';
    const trigger = params.get('trigger');
    this.path = `${trigger ? triggerPath(trigger) : ''}/executions?limit=${PAGE}${this.wanted ? `&status=${enc(this.wanted)}` : ''}`;
    this.rows = new Map();
    this.first = this.next = null;
    this.turn = 0;
    const choose = el('select', {
      id: 'status', onchange: (event) => {
        params.set('status', event.target.value);
        location.hash = `#/runs?${params}`;
      },
    }, ...['', ...STATUSES].map((name) => el('option', { value: name, selected: name === this.wanted }, name || 'all')));
    this.isNamed = !trigger;
    const list = runTable([], this.isNamed);
    this.body = list.querySelector('tbody');
    this.count = el('p', { class: 'quiet', role: 'status' });
    this.more = el('button', { id: 'older', onclick: () => attempt(() => this.older()) }, 'Older runs');
    this.parts = [
      heading('Runs', el('label', { for: 'status' }, 'Status'), choose),
      trigger && text(a(triggerLink(trigger), 'Its trigger')),
      this.wanted === 'skipped' && el('p', { class: 'quiet' }, 'Nothing ran? Each skip says why.'),
      list, this.count, this.more,
    ];
    // What is older is loaded before the end comes into view.
    this.end = new IntersectionObserver(([seen]) => seen.isIntersecting && this.more.isConnected && this.more.click(), { rootMargin: '300px' });
  }

  async refresh() {
    const turn = this.turn += 1;
    const answer = await get(this.path);
    if (turn !== this.turn) return;
    if (answer !== this.first) {
      const { executions, nextToken } = answer;
      const oldest = executions.at(-1)?.executionId;
      const newest = this.rows.keys().next().value;
      if (!this.rows.size || (nextToken && oldest > newest)) {
        // So much is new that what lies between is not known.
        this.rows.clear();
        this.body.replaceChildren();
        this.next = nextToken;
      }
      const here = new Set(executions.map((run) => run.executionId));
      const isAsked = (id) => !nextToken || id >= oldest;
      for (const id of this.rows.keys()) if (!here.has(id) && isAsked(id)) this.drop(id);
      this.place(executions);
      this.first = answer;
    }
    await this.follow(turn);
    if (turn === this.turn) this.report();
  }

  drop(id) {
    this.rows.get(id).node.remove();
    this.rows.delete(id);
  }

  async follow(turn) {
    const here = new Set(this.first.executions.map((run) => run.executionId));
    const running = [...this.rows.values()].map(({ run }) => run).filter((run) => run.status === 'running' && !here.has(run.executionId));
    for (const run of running.slice(-MOST_FOLLOWED)) {
      const found = await get(runPath(run)).catch((error) => {
        if (error.code !== 'NOT_FOUND') throw error;
        return {};
      });
      if (turn !== this.turn) return;
      // It was deleted, or is what the filter asks for no more.
      if (!found.execution || (this.wanted && found.execution.status !== this.wanted)) this.drop(run.executionId);
      else this.place([{ ...found.execution, triggerName: run.triggerName }]);
    }
  }

  async older() {
    const { next } = this;
    if (!next || this.more.disabled) return;
    this.more.disabled = true;
    try {
      const { executions, nextToken } = await get(`${this.path}&nextToken=${enc(next)}`);
      // The list has begun anew, and this page is not its next one.
      if (next !== this.next) return;
      this.next = nextToken;
      this.place(executions);
    } finally {
      this.more.disabled = false;
    }
    this.report();
  }

  /** Puts runs where they belong: ids sort by time, the newest first. */
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
  return { parts: visit.list.parts, busy: isAtWork([...visit.list.rows.values()].map(({ run }) => run)) };
}

export async function runView(id, executionId, visit) {
  const path = runPath({ triggerId: id, executionId });
  let run, trigger;
  try {
    [{ execution: run }, { trigger }] = await Promise.all([get(path), get(triggerPath(id))]);
  } catch (error) {
    if (error.code !== 'NOT_FOUND') throw error;
    return { parts: [el('h2', {}, 'Run'), text('This run has not begun yet, or there is none.')], busy: true };
  }
  // Somebody who hears the page learns of the end too.
  if (visit.status && visit.status !== run.status) say(`The run is ${run.status}.`);
  visit.status = run.status;
  const other = (found) => found && a(runLink({ triggerId: id, executionId: found }), found);
  const rows = [['Started', at(run.executedAt)], ['Ended', at(run.completedAt)], ['Took', took(run.durationMs) || '–'],
    ['Agent', run.agentId], ['Attempt', run.attempt], ['Fired for', run.scheduledTime || run.eventId], ['Source', run.source],
    ['Session', run.sessionId], ['Request', run.requestId], ['Trace', run.traceId], ['Execution', run.executionId],
    ['Replays', other(run.replayOf)], ['Follows', run.follows], ['Still at work was', other(run.overlaps)],
    ['Tokens', run.usage && `${run.usage.inputTokens} in, ${run.usage.outputTokens} out`]].filter(([, value]) => value);
  const copy = (value) => el('button', { class: 'quiet', 'aria-label': `Copy ${value}`, onclick: () => attempt(() => navigator.clipboard.writeText(value), 'Copied.') }, 'Copy');
  const ids = ['Session', 'Request', 'Trace', 'Execution'];
  const advice = run.status === 'skipped' ? skipWords(run.skipReason) : ADVICE[run.errorType];
  const isStopping = run.status === 'running' && run.cancelRequested;
  return {
    parts: [
      heading(el('span', {}, 'Run ', status(run.status), ` of ${nameOf(trigger)}`, run.triggerVersion && `, version ${run.triggerVersion}`),
        run.canCancel && cancel(path), run.canReplay && replay(id, path), a(triggerLink(id), 'Trigger')),
      run.status !== 'completed' && run.status !== 'running' ? el('pre', { class: 'error' }, run.errorMessage || '') : null,
      isStopping && text('It is asked to stop.'),
      advice && text(advice),
      run.output ? el('div', {}, el('h3', {}, 'Answer'), el('pre', {}, run.output)) : null,
      el('h3', {}, 'Details'),
      facts(rows.map(([name, value]) => [name, value, ' ', ids.includes(name) && copy(value)])),
    ],
    busy: run.status === 'running',
  };
}
