// The list of triggers, and one of them.

import { remove, runNow, toggle } from './actions.js';
import { get } from './api.js';
import { a, at, byTrigger, counted, el, enc, facts, heading, isAtWork, nameOf, quote, shape, svg, text, triggerLink, triggerPath, webhookLink } from './dom.js';
import { nothingRan, scheduleProblem } from './reasons.js';
import { runTable } from './runs.js';

const BARS = 20;

/** Returns the last runs as bars: their height is the duration, their shape the status. */
function spark(runs, trigger) {
  const bars = runs.slice(0, BARS).reverse();
  if (!bars.length) return el('span', { class: 'quiet spark' }, trigger.lastExecutedAt ? `last ${at(trigger.lastExecutedAt)}` : 'no runs yet');
  const longest = Math.max(1, ...bars.map((run) => run.durationMs || 0));
  const node = svg('svg', { class: 'spark', viewBox: `0 0 ${BARS * 8} 24`, role: 'img', 'aria-label': `Last ${bars.length} runs: ${counted(bars)}` });
  bars.forEach((run, index) => {
    const height = Math.max(run.status === 'failed' ? 14 : 0, 7 + (run.status === 'skipped' ? 0 : 17 * ((run.durationMs || 0) / longest)));
    node.append(shape(run.status, (index + BARS - bars.length) * 8 + 0.5, 24 - height, 7, height));
  });
  return node;
}

function problem(trigger) {
  return scheduleProblem(trigger, trigger.scheduleStatus)
    || ((trigger.health || 'ok') !== 'ok' && `${trigger.health}: ${trigger.pausedReason || trigger.healthErrorType || ''}`);
}

export async function triggers() {
  const [{ triggers: list }, { executions }] = await Promise.all([get('/triggers'), get('/executions?limit=100')]);
  const runs = byTrigger(executions);
  const cards = list.map((trigger) => {
    const what = problem(trigger);
    return el('li', { class: 'card row' },
      el('div', { class: 'grow' },
        el('a', { class: 'name', href: triggerLink(trigger.id) }, nameOf(trigger)),
        el('div', { class: 'quiet' }, trigger.scheduleDescription || `on ${trigger.eventConfig?.eventSourceId || 'events'}`),
        what && el('div', { class: 'problem' }, what)),
      spark(runs.get(trigger.id) || [], trigger),
      el('div', { class: 'quiet next' }, trigger.nextRun ? `next ${at(trigger.nextRun)}` : trigger.scheduleStatus || ''),
      ...(trigger.deletedAt ? [remove(trigger)] : [runNow(trigger), toggle(trigger)]));
  });
  return {
    parts: [
      heading('Triggers', a('#/new', 'New trigger')),
      list.length ? el('ul', { class: 'cards' }, ...cards) : text('There are no triggers yet.'),
    ],
    busy: isAtWork(executions),
  };
}

export async function triggerView(id) {
  const path = triggerPath(id);
  const [{ trigger }, { status: state }, { executions }, skips] = await Promise.all([
    get(path), get(`${path}/status`), get(`${path}/executions?limit=20`), get(`${path}/executions?status=skipped&limit=20`)]);
  const rows = [['Agent', trigger.agentId], ['Health', state.health], ['Failures in a row', state.failures || 0], ['Last run', at(trigger.lastExecutedAt)],
    ['Version', trigger.version || '–']];
  if (trigger.scheduleDescription) {
    rows.unshift(['Schedule', trigger.scheduleDescription], ['State', state.scheduleStatus], ['Next runs', (state.nextRuns || []).map(at).join(' · ') || 'none']);
  }
  const buttons = trigger.deletedAt ? [] : [runNow(trigger), toggle(trigger), a(`#/edit/${enc(id)}`, 'Edit'),
    trigger.webhookConfig && a(webhookLink(id), 'Webhook')];
  return {
    parts: [
      heading(nameOf(trigger), ...buttons, remove(trigger)),
      facts(rows),
      nothingRan(trigger, state, skips),
      quote('Prompt', trigger.prompt),
      el('h3', 'Runs'), ...(executions.length ? [runTable(executions, false), text(a(`#/runs?trigger=${enc(id)}`, 'All its runs'))] : [text('Nothing ran yet.')]),
    ],
    busy: isAtWork(executions),
  };
}
