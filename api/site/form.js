// The form of a trigger, with a look at what it will do while it is written.

import { call, get, post } from './api.js';
import { a, el, region, say, triggerLink, triggerPath } from './dom.js';
import { skipWords } from './reasons.js';
import { sample } from './samples.js';

/** The milliseconds after which what was written is looked at. */
const PAUSE = 300;
const FILTERS = { eventPattern: 'the event pattern', condition: 'the condition', userId: 'its user' };

const field = (name, label, node) => el('div', {}, el('label', { for: name }, label), node, el('p', { class: 'problem', id: `${name}-problem` }));
const named = (name) => ({ id: name, name, 'aria-describedby': `${name}-problem` });
const input = (name, label, value, more = {}) => field(name, label, el('input', { type: 'text', ...named(name), value, ...more }));
const area = (name, value, more = {}) => el('textarea', { ...named(name), ...more }, value);
const select = (name, options, value) => el('select', { ...named(name), class: 'wide' },
  ...options.map(([id, words]) => el('option', { value: id, selected: id === value }, words)));

/** Runs the last of several calls, after a pause. `isLast` says whether no other has begun. */
function settled(look) {
  let timer = null, count = 0;
  return () => {
    clearTimeout(timer);
    const mine = count += 1;
    timer = setTimeout(() => look(() => mine === count), PAUSE);
  };
}

/** Shows problems by their fields, `only` by those if it is given, and returns those that have no field. */
function show(form, violations, only) {
  const rest = [];
  for (const place of form.querySelectorAll('.problem')) {
    if (!only || only.has(place.id.replace('-problem', ''))) place.textContent = '';
  }
  for (const { field: name, description } of violations) {
    const last = name.split('.').pop();
    const id = last === 'name' ? 'name_' : last;
    const place = form.querySelector(`#${CSS.escape(id)}-problem`);
    if (!place) rest.push(`${name}: ${description}`);
    else if (!only || only.has(id)) place.textContent = description;
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

function preview(form, id, body, userId, config, fires) {
  const { prompt, type, eventSourceId } = form;
  const offered = () => sample(eventSourceId.value, userId, prompt.value, config);
  let last = offered();
  const event = area('event', last, { spellcheck: 'false', class: 'code' });
  const said = el('p', { role: 'status', id: 'verdict' });
  const rendered = el('pre', region('rendered', 'What is sent'));
  const asks = field('event', 'Sample event (JSON)', event);
  const touched = new Set(['event']);
  const tell = (words, text) => {
    said.textContent = words;
    rendered.textContent = text ?? '';
    rendered.hidden = !text;
  };
  const look = settled(async (isLast) => {
    const trigger = { ...body(), enabled: true };
    // Without an agent there is no prompt, and most people write it last.
    trigger.agentId ||= 'agent';
    const asked = { ...(id && { triggerId: id }), trigger };
    let wrong = [];
    if (type.value === 'event') {
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
  const change = () => {
    asks.hidden = type.value !== 'event';
    if (event.value === last) event.value = last = offered();
    look();
  };
  form.addEventListener('input', ({ target }) => {
    touched.add(target.id);
    change();
  });
  change();
  return el('fieldset', {}, el('legend', {}, 'Preview'), asks, said, rendered);
}

export async function form(id) {
  const { eventSources, metadata } = await get('/events');
  const before = id ? (await get(triggerPath(id))).trigger : {};
  let version = before.version ?? 0;
  // A source that is offered no more stays until somebody chooses another.
  const source = before.eventConfig?.eventSourceId;
  const sources = source && !eventSources.some((offered) => offered.id === source) ? [{ id: source }, ...eventSources] : eventSources;
  const problems = el('div', { role: 'alert' });
  const type = select('type', [['schedule', 'a schedule'], ['event', 'an event']], before.type || 'schedule');
  const fires = el('p', { class: 'quiet', role: 'status' });
  const schedule = el('div', {},
    input('expression', 'When (cron, rate or at)', before.scheduleConfig?.expression || '0 9 ? * MON-FRI *'),
    input('timezone', 'Time zone', before.scheduleConfig?.timezone || Intl.DateTimeFormat().resolvedOptions().timeZone), fires);
  const events = el('div', {},
    field('eventSourceId', 'Event source', select('eventSourceId', sources.map((offered) => [offered.id, offered.name || offered.id]), source)));
  const node = el('form', {},
    input('name_', 'Name', before.name, { required: true }),
    input('agentId', 'Agent', before.agentId, { required: true }),
    field('prompt', 'Prompt', area('prompt', before.prompt ?? '')),
    field('type', 'It runs on', type), schedule, events);
  const body = () => {
    const written = { name: node.name_.value, type: type.value, agentId: node.agentId.value, prompt: node.prompt.value };
    if (type.value === 'schedule') written.scheduleConfig = { expression: node.expression.value, timezone: node.timezone.value };
    else written.eventConfig = { eventSourceId: node.eventSourceId.value };
    return written;
  };
  node.addEventListener('submit', async (event) => {
    event.preventDefault();
    problems.textContent = '';
    show(node, []);
    try {
      const { trigger } = id ? await call('PUT', triggerPath(id), body(), { 'if-match': `"${version}"` }) : await post('/triggers', body());
      say('Saved.');
      location.hash = triggerLink(trigger.id);
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
  const kind = () => { schedule.hidden = type.value !== 'schedule'; events.hidden = type.value !== 'event'; };
  type.addEventListener('change', kind);
  kind();
  node.append(
    preview(node, id, body, metadata?.userId, before.eventConfig, fires), problems,
    el('p', { class: 'row' }, el('button', { class: 'main', type: 'submit' }, 'Save'), a(id ? triggerLink(id) : '#/triggers', 'Back')));
  return { parts: [el('h2', {}, id ? 'Edit trigger' : 'New trigger'), node], busy: null };
}
