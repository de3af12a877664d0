// The webhook of a trigger: its address, its secret, how to send to it, and what came.

import { act, asking } from './actions.js';
import { get, post } from './api.js';
import { a, at, copy, el, facts, heading, nameOf, options, parsed, runLink, table, td, text, triggerLink, triggerPath } from './dom.js';
import { delivered } from './samples.js';
import { command, stepsOf } from './senders.js';

/** How long a test delivery is looked out for, in milliseconds. */
const LOOKOUT = 20000;
const GRACES = [['0', 'not at all'], ['3600', 'for an hour'], ['86400', 'for a day'], ['604800', 'for a week']];
/** The presets whose senders choose the secret themselves. */
const THEIRS = ['standard', 'slack', 'stripe'];

// A new secret, until its trigger's webhook is opened.
let fresh = null;
export const keep = (id, secret) => { fresh = { id, secret }; };

const STATES = { dispatched: ['completed', 'accepted'], pending: ['running', 'accepted'], notDispatched: ['failed', 'not begun'], refused: ['failed', 'refused'], handshake: ['skipped', 'handshake'] };

function delivery(triggerId, { state, receivedAt, sourceIp, senderId, bytes, reason, message, executionId, duplicates, count, test }) {
  const [kind, words] = STATES[state] || STATES.refused;
  const notes = [test && 'Test. ', reason && `${reason}: `, message, duplicates && ` Sent again: ${duplicates}.`, count && ` ${count} like this one.`,
    executionId && [' ', a(runLink({ triggerId, executionId }), 'Its run')]].filter(Boolean).flat();
  return el('tr', td(el('span', { class: `status ${kind}` }, words)), td(at(receivedAt)), td(sourceIp || '–'),
    el('td', { title: [senderId, bytes != null && `${bytes} bytes`].filter(Boolean).join(', ') }, ...notes));
}

/** Returns the button that replaces the secret, once it is said how long the present one lives. */
function rotate(trigger, path, visit) {
  const preset = trigger.webhookConfig.preset || 'standard';
  const own = el('input', { id: 'own', type: 'password', autocomplete: 'off' });
  const said = el('span', { role: 'status' });
  const tell = () => {
    const seconds = Number(grace.value);
    said.textContent = seconds ? `Both work until ${at(Date.now() + seconds * 1000)}.` : 'The present one works no more from then on: deliveries that are signed with it are refused.';
  };
  const grace = el('select', { id: 'grace', onchange: tell }, ...options(GRACES, ['slack', 'stripe'].includes(preset) ? '0' : '86400'));
  tell();
  const words = el('span', el('label', { for: 'own' }, THEIRS.includes(preset) ? 'The secret that the sender shows. Without it, a new one is made.' : 'A secret of your own. Without it, a new one is made.'), own,
    el('label', { for: 'grace' }, 'The present secret works on'), grace, ' ', said);
  return asking('Replace the secret', null, 'Replace the secret?', words, 'Replace it', 'The secret is replaced.', async () => {
    const secret = own.value || undefined;
    own.value = '';
    const answer = await post(`${path}/webhook/secret`, { secret, graceSeconds: Number(grace.value) });
    visit.secret = answer.webhook.secret;
  });
}

/** Returns the button that sends a test delivery, with the headers and the body that somebody writes. */
function tested(trigger, path, visit) {
  const area = (id, label, value) => [el('label', { for: id }, label), el('textarea', { id, class: 'code', spellcheck: 'false' }, JSON.stringify(value, null, 2))];
  let parts = [];
  const words = () => {
    const [headers, body] = delivered(trigger);
    parts = [...area('test-headers', 'Its headers (JSON), such as those that a pattern asks for', headers), ...area('test-body', 'Its body (JSON)', body)];
    return el('span', 'It is signed, and runs the trigger like any other: the agent is called.', ...parts);
  };
  return asking('Send a test', null, 'Send a test delivery?', words, 'Send it', 'The test delivery is on its way.', async () => {
    const [, headers, , body] = parts.map(({ value }) => parsed(value));
    await post(`${path}/webhook/test`, { headers, body });
    visit.until = Date.now() + LOOKOUT;
  });
}

export async function webhook(id, visit) {
  const path = triggerPath(id);
  const [{ trigger, webhook: hook }, { deliveries }] = await Promise.all([get(path), get(`${path}/deliveries`)]);
  if (fresh?.id === id) visit.secret = fresh.secret;
  fresh = null;
  const { secret, until } = visit, { webhookConfig: config } = trigger, { url, aliasUrl } = hook;
  const preset = config.preset || 'standard', previous = config.previousSecretUntil;
  const test = tested(trigger, path, visit);
  const line = command(url, config, secret);
  const rows = deliveries.map((one) => delivery(id, one));
  return {
    parts: [
      heading(`Webhook of ${nameOf(trigger)}`, test, rotate(trigger, path, visit), a(triggerLink(id), 'Trigger')),
      trigger.webhookStatus === 'missing' && text('It has no secret yet, because its making was cut short. Replace the secret to complete it.', 'problem'),
      !trigger.enabled && text('The trigger is switched off: deliveries are taken and skipped.', 'problem'),
      facts([['Address', [url, ' ', copy(url, 'the address')]], ...(aliasUrl ? [['By its alias', [aliasUrl, ' ', copy(aliasUrl, 'its alias')]]] : []), ['Preset', preset],
        ['Secret', secret ? 'see below' : `${config.secretSetAt ? `set at ${at(config.secretSetAt)}` : 'none'}; it was shown once`],
        ...(previous && Date.parse(previous) > Date.now() ? [['The one before', `works until ${at(previous)}`]] : [])]),
      secret && el('section', { class: 'card', 'aria-labelledby': 'secret-title' }, el('h3', { id: 'secret-title' }, 'The secret'), el('pre', { id: 'secret' }, secret),
        copy(secret, 'the secret'), text('It is shown until you leave this view, and never again. Keep it where the sender needs it.')),
      el('h3', 'How to send'), el('ol', ...stepsOf(config).map((step) => el('li', step))),
      el('div', { class: 'row' }, el('span', { class: 'grow' }, secret ? 'In a shell:' : 'In a shell, with your secret:'), copy(line, 'the command')),
      el('pre', { id: 'command', class: 'code' }, line),
      el('h3', 'Deliveries'),
      rows.length ? table('deliveries', 'Deliveries', 'runs', ['Outcome', 'Time', 'From', 'Note'], rows)
        : text('Nothing came in the last seven days. What is refused would be shown here, too.'),
    ],
    busy: Date.now() < until || deliveries.some(({ state }) => state === 'pending'),
  };
}
