// What people do to triggers and runs, each with a confirmation if it may do harm.

import { call, post } from './api.js';
import { attempt, byId, el, nameOf, runLink, text, triggerPath } from './dom.js';

const dialog = byId('dialog');
let redraw = () => {};

export const drawWith = (draw) => { redraw = draw; };

/** Does something, says it, and draws the view anew. */
export async function act(done, action) {
  await attempt(action, done);
  await redraw();
}

/** Returns a button that asks before it acts, with words, a node of them, or a function that makes it. The answer that does nothing has the focus. */
export function asking(label, trigger, title, words, yes, done, action) {
  const close = () => dialog.close();
  const ask = () => {
    dialog.replaceChildren(
      el('h2', { id: 'dialog-title' }, title),
      text(typeof words === 'function' ? words() : words),
      el('div', { class: 'row' },
        el('button', { class: 'main', onclick: () => { close(); act(done, action); } }, yes),
        el('button', { onclick: close, autofocus: true }, 'Leave it')));
    dialog.showModal();
  };
  return el('button', { 'aria-label': trigger && `${label}: ${nameOf(trigger)}`, onclick: ask }, label);
}

const goToRun = async (triggerId, path) => {
  const { executionId } = await post(path);
  location.hash = runLink({ triggerId, executionId });
};

export const runNow = (trigger) => asking('Run now', trigger, `Run “${nameOf(trigger)}” now?`,
  'The agent is called once more, beside whatever its schedule or events start.', 'Run now', 'The run begins.',
  () => goToRun(trigger.id, `${triggerPath(trigger.id)}/run`));

export const remove = (trigger) => asking('Delete', trigger, `Delete “${nameOf(trigger)}”?`,
  'Its schedule goes with it. Runs that are on their way are skipped.', 'Delete', 'Deleted.',
  async () => {
    await call('DELETE', triggerPath(trigger.id));
    location.hash = '#/triggers';
  });

export const cancel = (path, isOver, visit) => asking(isOver ? 'Cancel the retry' : 'Cancel', null, isOver ? 'Cancel the next attempt?' : 'Cancel this run?',
  isOver ? 'Lambda’s next delivery ends the run without a call.' : 'The agent is asked to stop. What it has done already stays done.',
  isOver ? 'Cancel the retry' : 'Cancel the run', 'The run is asked to stop.',
  // The notice goes away, and nothing else would say what became of it.
  () => post(`${path}/cancel`).catch((error) => { visit.isLate = error.status === 409; throw error; }));

/** `trigger` is the trigger as it is now, if it was changed since the run. */
export const replay = (triggerId, path, trigger) => asking('Replay', null, 'Replay this run?',
  `The agent is asked the same again, with the prompt of that time. What it did the first time may be done twice.${!trigger ? ''
    : ` The trigger was changed since: ${trigger.type === 'schedule' ? 'its Run now asks' : 'the event sent again asks'} with the prompt as it is now.`}`,
  'Replay', 'The replay begins.', () => goToRun(triggerId, `${path}/replay`));

export function toggle(trigger) {
  const [done, route] = trigger.enabled ? ['Switched off.', 'disable'] : ['Switched on.', 'enable'];
  return el('button', {
    role: 'switch', 'aria-checked': String(trigger.enabled), 'aria-label': `${nameOf(trigger)}: on`,
    onclick: () => act(done, () => post(`${triggerPath(trigger.id)}/${route}`)),
  }, trigger.enabled ? 'On' : 'Off');
}
