// The list of runs, which grows page by page, and one of them.

import { act, cancel, replay, runNow } from './actions.js';
import { find, get } from './api.js';
import { a, at, attempt, choice, copy, el, enc, facts, heading, nameOf, quote, runLink, runPath, say, status, STATUSES, table, td, text, took, triggerLink, triggerPath } from './dom.js';
import { ADVICE, skipWords } from './reasons.js';

const PAGE = 50;
/** The most running ones below the first page that are looked up one by one. */
const MOST_FOLLOWED = 10;

function row(run, isNamed) {
  return el('tr',
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
function runList(query) {
  const params = new URLSearchParams(query);
  const wanted = params.get('status') || '', trigger = params.get('trigger');
  const path = `${trigger ? triggerPath(trigger) : ''}/executions?limit=${PAGE}${wanted ? `&status=${enc(wanted)}` : ''}`;
  const list = runTable([], !trigger);
  const body = list.querySelector('tbody');
  const count = el('p', { class: 'quiet', role: 'status' });
  const more = el('button', { id: 'older', onclick: () => attempt(older) }, 'Older runs');
  // What is older is loaded before the end comes into view.
  const end = new IntersectionObserver(([seen]) => seen.isIntersecting && more.isConnected && more.click(), { rootMargin: '300px' });
  let rows = new Map(), here = new Set(), turn = 0, first, next;

  const running = () => [...rows.values()].map(({ run }) => run).filter((run) => run.status === 'running');

  function drop(id) {
    rows.get(id).node.remove();
    rows.delete(id);
  }

  /** Puts runs where they belong: ids sort by time, the newest first. */
  function place(runs) {
    for (const run of runs) {
      const before = rows.get(run.executionId);
      if (before && JSON.stringify(before.run) === JSON.stringify(run)) continue;
      const node = row(run, !trigger);
      before?.node.replaceWith(node);
      rows.set(run.executionId, { run, node });
    }
    rows = new Map([...rows].sort(([left], [right]) => (left < right ? 1 : -1)));
    let below = body.firstChild;
    for (const { node } of rows.values()) {
      if (node === below) below = node.nextSibling;
      else body.insertBefore(node, below);
    }
  }

  function report() {
    more.hidden = !next;
    count.textContent = next ? `${rows.size} runs so far.` : rows.size ? `These are all ${rows.size} runs.` : 'Nothing ran yet.';
    end.disconnect();
    if (next) end.observe(more);
  }

  async function older() {
    const token = next;
    if (!token || more.disabled) return;
    more.disabled = true;
    try {
      const { executions, nextToken } = await get(`${path}&nextToken=${enc(token)}`);
      // The list has begun anew, and this page is not its next one.
      if (token !== next) return;
      next = nextToken;
      place(executions);
    } finally {
      more.disabled = false;
    }
    report();
  }

  async function refresh() {
    const mine = turn += 1;
    const answer = await get(path);
    if (mine !== turn) return;
    if (answer !== first) {
      const { executions, nextToken } = answer;
      const oldest = executions.at(-1)?.executionId;
      if (!rows.size || (nextToken && oldest > rows.keys().next().value)) {
        // So much is new that what lies between is not known.
        rows.clear();
        body.replaceChildren();
        next = nextToken;
      }
      here = new Set(executions.map((run) => run.executionId));
      for (const id of rows.keys()) if (!here.has(id) && (!nextToken || id >= oldest)) drop(id);
      place(executions);
      first = answer;
    }
    for (const run of running().filter(({ executionId }) => !here.has(executionId)).slice(-MOST_FOLLOWED)) {
      const { execution } = await find(runPath(run));
      if (mine !== turn) return;
      // It was deleted, or is what the filter asks for no more.
      if (!execution || (wanted && execution.status !== wanted)) drop(run.executionId);
      else place([{ ...execution, triggerName: run.triggerName }]);
    }
    report();
  }

  const parts = [
    heading('Runs', ...choice('status', 'Status', ['', ...STATUSES].map((name) => [name, name || 'all']), wanted, (status) => {
      params.set('status', status);
      return `#/runs?${params}`;
    })),
    trigger && text(a(triggerLink(trigger), 'Its trigger')),
    wanted === 'skipped' && text('Nothing ran? Each skip says why.', 'quiet'),
    list, count, more,
  ];
  return { refresh, running, parts };
}

export async function runs(query, visit) {
  visit.list ||= runList(query);
  const { refresh, running, parts } = visit.list;
  await refresh();
  return { parts, busy: running().length > 0 };
}

/** Returns what the agent was asked, or the button that asks for it: a prompt may be long. */
function asked(path, visit) {
  if (!visit.input) {
    return el('button', { onclick: () => act(null, async () => { visit.input = await find(`${path}/input`); }) }, 'Show what was asked');
  }
  const { prompt = 'It is not kept.', input } = visit.input.input || {};
  return el('div', quote('Prompt', prompt), input && quote('Input', JSON.stringify(input, null, 1)));
}

export async function runView(triggerId, executionId, visit) {
  const path = runPath({ triggerId, executionId });
  const [{ execution: run }, { trigger }] = await Promise.all([find(path), find(triggerPath(triggerId))]);
  if (!run) return { parts: [el('h2', 'Run'), text('This run has not begun yet, or there is none.')], busy: true };
  // Somebody who hears the page learns of the end too.
  if (visit.status && visit.status !== run.status) say(`The run is ${run.status}.`);
  visit.status = run.status;
  const other = (found) => found && a(runLink({ triggerId, executionId: found }), found);
  const id = (value) => value && [value, ' ', copy(value)];
  const { status: now, usage } = run;
  // A replay names no version: it asks what the run asked that it repeats.
  const isChanged = trigger && now !== 'running' && !trigger.deletedAt && String(trigger.version) !== run.triggerVersion;
  const advice = now === 'skipped' ? skipWords(run.skipReason, run.overlapLimit) : ADVICE[run.errorType];
  return {
    parts: [
      heading(el('span', 'Run ', status(now), ` of ${nameOf(trigger || { id: triggerId })}`, run.triggerVersion && `, version ${run.triggerVersion}`),
        run.canCancel && cancel(path, now === 'failed', visit), run.canReplay && replay(triggerId, path, isChanged && trigger),
        isChanged && trigger.type === 'schedule' && runNow(trigger), a(triggerLink(triggerId), 'Trigger')),
      now !== 'completed' && now !== 'running' && el('pre', { class: 'error' }, run.errorMessage),
      now === 'running' && run.cancelRequested && text('It is asked to stop.'),
      ['completed', 'failed'].includes(now) && !run.canCancel && (run.cancelRequested || visit.isLate)
        && text(`It was asked to stop, and ${visit.isLate || now === 'completed' ? `that came too late: the run had ${now} by then` : 'failed instead'}.`),
      now === 'failed' && run.canCancel && text(`Attempt ${run.attempt} failed. Lambda tries again, in a minute the first time. When no attempt is left, the run can be replayed.`),
      advice && text(advice),
      run.output && quote('Answer', run.output),
      asked(path, visit),
      el('h3', 'Details'),
      facts([['Started', at(run.executedAt)], ['Ended', at(run.completedAt)], ['Took', took(run.durationMs) || '–'],
        ['Agent', run.agentId], ['Attempt', run.attempt], ['Fired for', run.scheduledTime || run.eventId], ['Source', run.source],
        ['Session', id(run.sessionId)], ['Request', id(run.requestId)], ['Trace', id(run.traceId)], ['Execution', id(run.executionId)],
        ['Replays', other(run.replayOf)], ['Follows', run.follows], ['Still at work was', other(run.overlaps)],
        ['Tokens', usage && `${usage.inputTokens} in, ${usage.outputTokens} out`]].filter(([, value]) => value)),
    ],
    busy: now === 'running' || (now === 'failed' && run.canCancel),
  };
}
