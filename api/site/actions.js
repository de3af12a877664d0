// What people do to triggers and runs, each with a confirmation if it may do harm.

import { call, post } from './api.js';
import { el, runLink, say, triggerPath } from './dom.js';

const dialog = document.getElementById('dialog');
let redraw = () => {};

/** Sets what draws the view after an action. */
export const drawWith = (draw) => { redraw = draw; };

async function act(text, action) {
  try {
    await action();
    say(text);
  } catch (error) {
    say(error.message);
  }
  await redraw();
}

/** Returns a button that asks before it acts. The answer that does nothing has the focus. */
function asking(label, name, title, text, yes, done, action) {
  const close = () => dialog.close();
  const ask = () => {
    dialog.replaceChildren(
      el('h2', { id: 'dialog-title' }, title),
      el('p', {}, text),
      el('div', { class: 'row' },
        el('button', { class: 'main', onclick: () => { close(); act(done, action); } }, yes),
        el('button', { onclick: close, autofocus: true }, 'Leave it')));
    dialog.showModal();
  };
  return el('button', { 'aria-label': name && `${label}: ${name}`, onclick: ask }, label);
}

const goToRun = async (triggerId, path) => {
  const { executionId } = await post(path);
  location.hash = runLink({ triggerId, executionId });
};

export const runNow = ({ id, name }) => asking('Run now', name, `Run “${name}” now?`,
  'The agent is called once more, beside whatever its schedule or events start.', 'Run now', 'The run begins.',
  () => goToRun(id, `${triggerPath(id)}/run`));

export const remove = ({ id, name }) => asking('Delete', name, `Delete “${name}”?`,
  'Its schedule goes with it. Runs that are on their way are skipped.', 'Delete', 'Deleted.',
  async () => {
    await call('DELETE', triggerPath(id));
    location.hash = '#/triggers';
  });

export const cancel = (path) => asking('Cancel', null, 'Cancel this run?',
  'The agent is asked to stop. What it has done already stays done.', 'Cancel the run', 'The run is asked to stop.',
  () => post(`${path}/cancel`));

export const replay = (triggerId, path) => asking('Replay', null, 'Replay this run?',
  'The agent is asked exactly the same again. What it did the first time may be done twice.', 'Replay', 'The replay begins.',
  () => goToRun(triggerId, `${path}/replay`));

export function toggle(trigger) {
  const [text, route] = trigger.enabled ? ['Switched off.', 'disable'] : ['Switched on.', 'enable'];
  return el('button', {
    role: 'switch', 'aria-checked': String(trigger.enabled), 'aria-label': `${trigger.name}: on`,
    onclick: () => act(text, () => post(`${triggerPath(trigger.id)}/${route}`)),
  }, trigger.enabled ? 'On' : 'Off');
}
