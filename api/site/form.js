// The form of a trigger, with a look at what it will do while it is written.

import { call, get, post } from './api.js';
import { a, el, options, parsed, region, say, triggerLink, triggerPath, webhookLink, ZONE } from './dom.js';
import { skipWords } from './reasons.js';
import { sample } from './samples.js';

/** The milliseconds after which what was written is looked at. */
const PAUSE = 300;
const SENDERS = { standard: 'Standard Webhooks', hmac: 'a signature of the body', token: 'a secret in a header', bearer: 'a bearer token', basic: 'user and password' };
const OVERLAPS = [['', 'runs beside it'], ['skip', 'is skipped'], ['cancelOther', 'cancels it and runs'], ['max', 'runs, up to a number at once']];
const FILTERS = { eventSourceId: 'its event source', eventPattern: 'the event pattern', condition: 'the condition', userId: 'its user' };

const field = (id, label, kind, attributes, ...children) => el('div', el('label', { for: id }, label),
  el(kind, { id, name: id, 'aria-describedby': `${id}-problem`, ...attributes }, ...children), el('p', { class: 'problem', id: `${id}-problem` }));
const input = (id, label, value, more = {}) => field(id, label, 'input', { type: 'text', value, ...more });
const area = (id, label, value, more = {}) => field(id, label, 'textarea', more, value);
const json = (id, label, value) => area(id, label, typeof value === 'object' ? JSON.stringify(value, null, 2) : value, { class: 'code', spellcheck: 'false' });
const select = (id, label, pairs, chosen) => field(id, label, 'select', { class: 'wide' }, ...options(pairs, chosen));

const hint = (words, more) => el('p', { class: 'quiet', ...more }, words);

/** Runs the last of several calls, after a pause. `isLast` says whether no other has begun. */
function settled(look) {
  let timer = null, count = 0;
  return () => {
    clearTimeout(timer);
    const mine = count += 1;
    timer = setTimeout(() => look(() => mine === count), PAUSE);
  };
}

/** Returns what the form says, as the API takes it. What should be JSON and is not is for the API to refuse. */
function written(form) {
  const { name, type, agentId, prompt, overlap: others, max, expression, timezone, eventSourceId, eventPattern, condition, ...rest } = Object.fromEntries(new FormData(form));
  const overlap = others === 'max' ? { max: parsed(max) || null } : others || null;
  if (type === 'schedule') return { name, type, agentId, prompt, overlap, scheduleConfig: { expression, timezone } };
  const filters = { eventPattern: parsed(eventPattern) || null, condition: parsed(condition) || null };
  if (type === 'event') return { name, type, agentId, prompt, overlap, eventConfig: { eventSourceId, ...filters } };
  return { name, type: 'event', agentId, prompt, overlap, eventConfig: { eventSourceId: 'webhook', ...filters }, webhookConfig: webhookConfig(form, rest) };
}

/** Returns the settings of a webhook. Those of other presets are removed. */
function webhookConfig(form, { preset, alias, allowedIps, ratePerMinute, ...rest }) {
  const own = [...form.querySelectorAll('[data-presets]')].map(({ dataset: { presets, name } }) => [name, presets.split(' ').includes(preset) && rest[name] || null]);
  const addresses = allowedIps.split(/[\s,]+/).filter(Boolean);
  return { preset, ...Object.fromEntries(own), alias: alias.trim() || null, allowedIps: addresses.length ? addresses : null, ratePerMinute: parsed(ratePerMinute) || null };
}

/** Returns the fields of a webhook: those of its preset have its words. */
function webhookFields(providers, hook) {
  const names = [...new Set(providers.flatMap(({ options }) => options.map(({ name }) => name)))];
  const having = (name) => providers.filter(({ options }) => options.some((option) => option.name === name)).map(({ id }) => id);
  return [select('preset', 'How its sender proves who it is', providers.map(({ id }) => [id, SENDERS[id] ? `${id}: ${SENDERS[id]}` : id]), hook.preset || 'standard'),
    ...names.map((name) => el('div', { 'data-presets': having(name).join(' '), 'data-name': name }, input(name, name, hook[name]))),
    input('alias', 'A readable name in its address, if it is to have one', hook.alias, { autocapitalize: 'none', spellcheck: 'false' }),
    input('allowedIps', 'Addresses and networks that may send, if not all', (hook.allowedIps || []).join(', ')),
    input('ratePerMinute', 'The most deliveries in a minute, if there is a limit', hook.ratePerMinute, { inputmode: 'numeric' })];
}

/** Shows problems by their fields, `only` by those if it is given, and returns those that have no field. */
function show(form, violations, only) {
  const rest = [];
  for (const place of form.querySelectorAll('.problem')) {
    if (!only || only.has(place.id)) place.textContent = '';
  }
  for (const { field: path, description } of violations) {
    const [name] = path.replace(/^(event|schedule|webhook)Config\./, '').split(/[.[]/);
    const place = form.querySelector(`#${CSS.escape(name)}-problem`);
    // A part of a field's JSON is named.
    const words = place && path.endsWith(name) ? description : `${path}: ${description}`;
    if (!place) rest.push(words);
    else if (!only || only.has(place.id)) place.textContent = words;
  }
  return rest;
}

function verdict({ matches, refusedBy, skipReason, emptyQueries, prompt, input }) {
  if (prompt == null && !skipReason) return 'There is no prompt while something in the form is wrong.';
  const words = [matches ? 'This event would run it.' : `Refused by ${refusedBy.map((name) => FILTERS[name] || name).join(' and by ')}.`];
  if (skipReason) words.push(`Skipped: ${skipWords(skipReason)}`);
  if (emptyQueries.length) words.push(`These find nothing in the event: ${emptyQueries.join(', ')}.`);
  if (input && Object.keys(input).length) words.push(`The request gets besides: ${JSON.stringify(input)}.`);
  return words.join(' ');
}

function preview(form, triggerId, userId, fires, providers) {
  const asks = json('event', 'Sample event (JSON)', '');
  const event = asks.querySelector('textarea');
  const said = el('p', { role: 'status', id: 'verdict' });
  const rendered = el('pre', region('rendered', 'What is sent'));
  const touched = new Set(['event-problem']);
  let last = '';
  const tell = (words, text) => {
    said.textContent = words;
    rendered.textContent = text ?? '';
    rendered.hidden = !text;
  };
  const look = settled(async (isLast) => {
    const trigger = { ...written(form), enabled: true };
    // Without an agent there is no prompt, and most people write it last.
    trigger.agentId ||= 'agent';
    const asked = { triggerId, trigger };
    let wrong = [];
    if (trigger.type === 'event') {
      try {
        asked.event = JSON.parse(event.value);
      } catch (error) {
        wrong = [{ field: 'event', description: error.message }];
      }
    }
    const ask = () => post('/triggers/check', asked);
    let answer;
    try {
      answer = await ask().catch((error) => {
        if (error.violations?.[0]?.field !== 'event') throw error;
        // The fields are looked at without it.
        wrong = error.violations;
        delete asked.event;
        return ask();
      });
    } catch (error) {
      if (isLast()) tell(error.message);
      return;
    }
    if (!isLast()) return;
    show(form, [...wrong, ...answer.fieldViolations], touched);
    const { schedule } = answer;
    fires.textContent = schedule ? `${schedule.description}. Next: ${schedule.nextRuns.map((run) => run.local).join(' · ')}. ${schedule.notes.join('. ')}` : '';
    if (wrong.length) tell('');
    else if (answer.event) tell(verdict(answer.event), answer.event.prompt);
    else tell('The prompt of a schedule is sent as it is.', answer.prompt);
  });
  const change = ({ target } = {}) => {
    if (target) touched.add(`${target.id}-problem`);
    const { prompt, eventConfig, webhookConfig: { preset } = {} } = written(form);
    for (const part of form.querySelectorAll('[data-for]')) part.hidden = !part.dataset.for.split(' ').includes(form.elements.type.value);
    form.querySelector('[data-overlap]').hidden = form.elements.overlap.value !== 'max';
    for (const part of form.querySelectorAll('[data-presets]')) {
      const option = providers.find(({ id }) => id === preset)?.options.find(({ name }) => name === part.dataset.name);
      part.hidden = !option;
      if (option) part.querySelector('label').textContent = option.description;
    }
    // The sample follows the fields until somebody writes one.
    if (event.value === last && eventConfig) event.value = last = sample(eventConfig, userId, prompt, preset);
    look();
  };
  form.addEventListener('input', change);
  form.append(el('fieldset', el('legend', 'Preview'), el('div', { 'data-for': 'event webhook' }, asks), said, rendered));
  change();
}

export async function form(id) {
  const [{ eventSources, metadata }, { providers }, { triggers }] = await Promise.all([get('/events'), get('/providers'), get('/triggers')]);
  const before = id ? (await get(triggerPath(id))).trigger : {};
  const { scheduleConfig: when = {}, eventConfig: filters = {}, webhookConfig: hook } = before;
  let { version = 0 } = before;
  const most = before.overlap?.max;
  // A source that is offered no more stays until somebody chooses another.
  const source = filters.eventSourceId;
  const isHook = ({ id: offered }) => offered === 'webhook';
  const offers = eventSources.filter((offered) => !isHook(offered));
  const sources = source && !hook && !offers.some((offered) => offered.id === source) ? [{ id: source }, ...offers] : offers;
  const types = [['schedule', 'a schedule'], ['event', 'an event'], ...(hook || eventSources.some(isHook) ? [['webhook', 'a webhook']] : [])];
  const problems = el('div', { role: 'alert' });
  const fires = el('p', { class: 'quiet', role: 'status' });
  const node = el('form',
    input('name', 'Name', before.name, { required: true }),
    input('agentId', 'Agent', before.agentId, { required: true, list: 'agents' }),
    el('datalist', { id: 'agents' }, ...[...new Set(triggers.map((other) => other.agentId))].map((value) => el('option', { value }))),
    hint('An id that the stack does not know means its default agent.'),
    area('prompt', 'Prompt', before.prompt),
    hint('{{ $.detail.name }} takes a value from the event', { 'data-for': 'event' }),
    hint("{{ $.body.name }} takes a value from what was sent, {{ $.detail.headers['x-github-event'] }} one of its headers", { 'data-for': 'webhook' }),
    select('type', 'It runs on', types, hook ? 'webhook' : before.type),
    el('div', { 'data-for': 'schedule' },
      input('expression', 'When (cron, rate or at)', when.expression || '0 9 ? * MON-FRI *'),
      hint('Such as rate(5 minutes) or 0 9 * * 1-5'),
      input('timezone', 'Time zone', when.timezone || ZONE), fires),
    el('div', { 'data-for': 'event' },
      select('eventSourceId', 'Event source', sources.map((offered) => [offered.id, offered.name || offered.id]), source)),
    el('div', { 'data-for': 'webhook' }, ...webhookFields(providers, hook || {})),
    el('div', { 'data-for': 'event webhook' },
      json('eventPattern', 'Event pattern (JSON), if not every event runs it', parsed(filters.eventPattern)),
      json('condition', 'Condition, or a list of them (JSON)', filters.condition)),
    select('overlap', 'A fire while another run is at work', OVERLAPS, most ? 'max' : before.overlap === 'allow' ? '' : before.overlap || ''),
    el('div', { 'data-overlap': '' }, input('max', 'At most at once, from 1 to 100', most || 2, { inputmode: 'numeric' })));
  node.addEventListener('submit', async (event) => {
    event.preventDefault();
    problems.textContent = '';
    show(node, []);
    try {
      const { trigger, webhook } = id ? await call('PUT', triggerPath(id), written(node), { 'if-match': `"${version}"` }) : await post('/triggers', written(node));
      say('Saved.');
      if (webhook?.secret) (await import('./webhook.js')).keep(trigger.id, webhook.secret);
      location.hash = (webhook?.secret ? webhookLink : triggerLink)(trigger.id);
    } catch (error) {
      const { details = {}, violations = [] } = error;
      // The next save is about what a half-done one has written.
      ({ triggerId: id = id, version = version } = details);
      const rest = show(node, violations);
      problems.textContent = error.status === 412
        ? 'Somebody else changed this trigger since you opened it. Save again to write your form over it, or go back to see the change.'
        : violations.length ? rest.join('; ') || 'Please correct the fields above.' : error.message;
    }
  });
  preview(node, id, metadata?.userId, fires, providers);
  node.append(problems, el('p', { class: 'row' },
    el('button', { class: 'main', type: 'submit' }, 'Save'), a(id ? triggerLink(id) : '#/triggers', 'Back')));
  return { parts: [el('h2', id ? 'Edit trigger' : 'New trigger'), node], busy: null };
}
