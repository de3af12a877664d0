// Why something failed or did not run, in words that say what to do.

import { a, at, el, parsed, text, webhookLink } from './dom.js';

export const ADVICE = {
  AgentUnavailable: 'The agent could not be reached. It was not called, so a replay is safe.',
  AuthenticationFailed: 'The token was refused. Nothing was called, so a replay is safe.',
  InvalidTrigger: 'The trigger is not valid: edit it, then run it again.',
  DeadlineExceeded: 'The time was up. The agent may have done part of the work.',
  Interrupted: 'The attempt died. The agent may have done part of the work.',
};

const MEND = 'Look at the last failure and mend its cause, then switch the trigger on.';
const SWITCH_ON = 'Switch it on if it should run.';
const LIMIT = 'It may run again from midnight UTC on. Raise the limit, or look at what fires it so often.';

const SKIPS = {
  Disabled: `The trigger was switched off. ${SWITCH_ON}`,
  Paused: `The trigger was paused, because it had failed too often in a row. ${MEND}`,
  Deleted: 'The trigger was deleted. If its schedule still fires, delete the trigger again.',
  Overlap: 'Another run of the trigger was still at work. Let it fire less often, or let more run at once.',
  MaxRunsPerDay: `The trigger had run as often on that day as maxRunsPerDay allows. ${LIMIT}`,
  MaxTokensPerDay: `The trigger's runs of that day had used the tokens that maxTokensPerDay allows. ${LIMIT}`,
  ChainTooDeep: 'Too many runs followed one another, most likely in a loop. Narrow the event pattern of the trigger that closes it.',
};

export const skipWords = (reason, limit) => (limit && reason === 'Overlap'
  ? `${limit} of ${limit} runs of the trigger were at work. Let it fire less often, or let more run at once.` : SKIPS[reason] || 'It was not run.');

const OPERATORS = { eq: 'is', ne: 'is not', gt: 'is more than', gte: 'is at least', lt: 'is less than', lte: 'is at most' };

function filters({ eventPattern, condition, threshold }) {
  const items = [];
  if (eventPattern) items.push(el('li', 'The event must match its pattern.', el('pre', JSON.stringify(parsed(eventPattern), null, 1))));
  for (const { field, operator, value } of [condition || []].flat()) {
    items.push(el('li', `${field} ${OPERATORS[operator] || operator || 'is'} ${JSON.stringify(value)}`));
  }
  if (threshold) items.push(el('li', `It runs once for every ${threshold.count} matching events within ${threshold.windowSeconds} s.`));
  return items.length && el('ul', ...items);
}

export function scheduleProblem(trigger, scheduleStatus) {
  if (trigger.deletedAt) return 'Its schedule is still there: delete the trigger again.';
  if (trigger.webhookStatus === 'missing') return 'Its webhook has no secret yet: save the trigger again.';
  if (scheduleStatus !== 'missing') return null;
  return trigger.type === 'event' ? 'A schedule from before may still start it: save the trigger again.'
    : 'Its schedule is missing, or somebody changed it in EventBridge Scheduler: save the trigger again.';
}

/** Says why a trigger did not run: its state, its filters, and its skips. */
export function nothingRan(trigger, state, { executions: skips, nextToken }) {
  const reasons = [];
  const reason = (title, ...words) => reasons.push(el('li', el('strong', title), ' ', ...words));
  const problem = scheduleProblem(trigger, state.scheduleStatus);
  if (trigger.deletedAt) reason('It was deleted.');
  else if (!trigger.enabled && trigger.pausedAt) reason(`It is paused since ${at(trigger.pausedAt)}.`, `${trigger.pausedReason || 'It failed too often in a row'}. ${MEND}`);
  else if (!trigger.enabled) reason('It is switched off.', SWITCH_ON);
  if (problem) reason(problem);
  if (state.scheduleStatus === 'done') reason('Its schedule is over.', 'It fires no more. Edit the trigger to give it another time.');
  const { eventSourceId, ...rest } = trigger.eventConfig || {};
  if (trigger.type === 'event') {
    const wanted = filters(rest);
    const { webhookConfig: hook, id } = trigger;
    reason(hook ? 'It waits for deliveries.' : `It waits for events of ${eventSourceId || 'no source'}.`,
      hook && el('span', a(webhookLink(id), 'What came, and what was refused'), '. '), wanted
      ? 'Those that its filters refuse leave no run behind. To see what they make of an event, edit the trigger.'
      : hook ? 'Each that is signed runs it.' : 'Each of them runs it. If nothing ran, none came in.', wanted || '');
  }
  for (const [name, runs] of Map.groupBy(skips, (run) => run.skipReason)) {
    const times = runs.length === 1 ? 'Skipped once' : `Skipped ${runs.length} times`;
    reason(`${times}, the last time at ${at(runs[0].executedAt)} (${name}).`, skipWords(name));
  }
  const next = state.nextRuns?.[0];
  return el('section', { 'aria-labelledby': 'why' },
    el('h3', { id: 'why' }, 'Nothing ran?'),
    reasons.length ? el('ul', { class: 'reasons' }, ...reasons)
      : text(`Nothing keeps it from running, and ${nextToken ? 'no skipped fire was found' : 'no fire was skipped'}.${next ? ` It fires next at ${at(next)}.` : ''}`));
}
