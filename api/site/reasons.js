// Why something failed or did not run, in words that say what to do.

import { at, el } from './dom.js';

/** What a failed run means for another try, by its error type. */
export const ADVICE = {
  AgentUnavailable: 'The agent could not be reached. It was not called, so a replay is safe.',
  AuthenticationFailed: 'The token was refused. Nothing was called, so a replay is safe.',
  InvalidTrigger: 'The trigger is not valid: edit it, then run it again.',
  DeadlineExceeded: 'The time was up. The agent may have done part of the work.',
  Interrupted: 'The attempt died. The agent may have done part of the work.',
};

const LIMIT = 'It may run again from midnight UTC on. Raise the limit if that is too little, or look at what fires it so often.';

/** What a skipped fire means, by its reason. */
export const SKIPS = {
  Disabled: 'The trigger was switched off. Switch it on if it should run.',
  Paused: 'The trigger was paused, because it had failed too often in a row. Look at the last failure and mend its cause, then switch the trigger on.',
  Deleted: 'The trigger was deleted. If its schedule still fires, delete the trigger again.',
  Overlap: 'Another run of the trigger was still at work. Let it fire less often, or let overlap be “allow” or “cancelOther”.',
  MaxRunsPerDay: `The trigger had run as often on that day as maxRunsPerDay allows. ${LIMIT}`,
  MaxTokensPerDay: `The trigger's runs of that day had used the tokens that maxTokensPerDay allows. ${LIMIT}`,
  ChainTooDeep: 'Too many runs followed one another, most likely in a loop. Narrow the event pattern of the trigger that closes it.',
};

export const skipWords = (reason) => SKIPS[reason] || 'It was not run.';

const OPERATORS = { eq: 'is', ne: 'is not', gt: 'is more than', gte: 'is at least', lt: 'is less than', lte: 'is at most' };

function condition({ field, operator, value }) {
  return `${field} ${OPERATORS[operator] || operator || 'is'} ${JSON.stringify(value)}`;
}

/** Returns the filters of an event trigger, or nothing if it has none. */
function filters({ eventPattern, condition: conditions, threshold }) {
  const items = [];
  if (eventPattern) items.push(el('li', {}, 'The event must match its pattern.', el('pre', {}, JSON.stringify(eventPattern, null, 1))));
  for (const one of [conditions || []].flat()) items.push(el('li', {}, condition(one)));
  if (threshold) items.push(el('li', {}, `Only every ${threshold.count}th event that matches within ${threshold.windowSeconds} s runs it.`));
  return items.length ? items : null;
}

/** Says why a trigger did not run: its state, its filters, and its skips, which are read beside it. */
export function nothingRan(trigger, state, skips) {
  const reasons = [];
  const reason = (title, ...text) => reasons.push(el('li', {}, el('strong', {}, title), ' ', ...text));
  if (trigger.deletedAt) reason('It was deleted.', 'Its schedule is still there: delete the trigger again.');
  else if (!trigger.enabled && trigger.pausedAt) {
    reason(`It is paused since ${at(trigger.pausedAt)}.`, `${trigger.pausedReason || 'It failed too often in a row'}. Look at the last failure and mend its cause, then switch the trigger on.`);
  } else if (!trigger.enabled) reason('It is switched off.', 'Switch it on if it should run.');
  if (!trigger.deletedAt && state.scheduleStatus === 'missing') reason('Its schedule is missing.', 'A write was cut short, or somebody changed the schedule in EventBridge Scheduler. Edit the trigger and save it again.');
  if (state.scheduleStatus === 'done') reason('Its schedule is over.', 'It fires no more. Edit the trigger to give it another time.');
  const { eventSourceId, ...rest } = trigger.eventConfig || {};
  if (trigger.type === 'event') {
    const wanted = filters(rest);
    reason(`It waits for events of ${eventSourceId || 'no source'}.`, wanted
      ? 'Those that its filters refuse leave no run behind. To see what they make of an event, edit the trigger.'
      : 'Each of them runs it. If nothing ran, none came in.', wanted ? el('ul', {}, ...wanted) : '');
  }
  for (const [name, runs] of Map.groupBy(skips, (run) => run.skipReason)) {
    const times = runs.length === 1 ? 'Skipped once' : `Skipped ${runs.length} times`;
    reason(`${times}, the last time at ${at(runs[0].executedAt)} (${name}).`, skipWords(name));
  }
  const next = state.nextRuns?.[0];
  return el('section', { 'aria-labelledby': 'why' },
    el('h3', { id: 'why' }, 'Nothing ran?'),
    reasons.length ? el('ul', { class: 'reasons' }, ...reasons)
      : el('p', {}, `Nothing keeps it from running, and no fire was skipped.${next ? ` It fires next at ${at(next)}.` : ''}`));
}
