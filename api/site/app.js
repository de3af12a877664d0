// The page of the control plane: a plain module over the JSON API. Everything that users or agents wrote is shown by
// textContent. The token stays in memory.

const main = document.getElementById('main');
const notice = document.getElementById('notice');
const dialog = document.getElementById('dialog');
const FAST = 2000, SLOW = 10000;

let config = {};
let token = null;
let timer = null;
let shown = null;
const known = new Map();

// Elements.

function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, '');
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

function svg(name, attributes = {}, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function say(text) { notice.textContent = text; }
function at(text) { return text ? new Date(text).toLocaleString() : '–'; }
function status(value) { return el('span', { class: `status ${value}` }, value); }

// The API.

class ApiError extends Error {
  constructor(status, answer) {
    super(answer.message || 'no answer');
    this.status = status;
    this.code = answer.code;
    this.details = answer.details || {};
    this.violations = this.details.fieldViolations || [];
  }
}

async function call(method, path, body, more = {}) {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...more };
  const before = method === 'GET' ? known.get(path) : null;
  if (before) headers['if-none-match'] = before.tag;
  const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (response.status === 304) return before.answer;
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) { token = null; show(); }
  if (!response.ok) throw new ApiError(response.status, answer);
  const tag = response.headers.get('etag');
  if (method === 'GET' && tag) {
    if (known.size > 200) known.clear();
    known.set(path, { tag, answer });
  }
  return answer;
}

const get = (path) => call('GET', path);
const post = (path, body = {}) => call('POST', path, body);

async function act(text, action) {
  try {
    await action();
    say(text);
  } catch (error) {
    say(error.message);
  }
  await draw();
}

function confirmed(title, text, label, action) {
  const close = () => dialog.close();
  dialog.replaceChildren(
    el('h2', { id: 'dialog-title' }, title),
    el('p', {}, text),
    el('div', { class: 'row' },
      el('button', { class: 'main', onclick: () => { close(); action(); } }, label),
      el('button', { onclick: close, autofocus: true }, 'Leave it')));
  dialog.showModal();
}

// Triggers.

function spark(runs) {
  if (!runs.length) return el('span', { class: 'quiet' }, 'no runs yet');
  const bars = runs.slice(0, 20).reverse();
  const longest = Math.max(1, ...bars.map((run) => run.durationMs || 0));
  const counts = {};
  for (const run of bars) counts[run.status] = (counts[run.status] || 0) + 1;
  const words = Object.entries(counts).map(([name, count]) => `${count} ${name}`).join(', ');
  const node = svg('svg', { class: 'spark', viewBox: '0 0 100 15', role: 'img', 'aria-label': `Last ${bars.length} runs: ${words}` });
  bars.forEach((run, index) => {
    const height = 4 + 11 * ((run.durationMs || 0) / longest);
    node.append(svg('rect', { class: run.status, x: index * 5, y: 15 - height, width: 4, height }));
  });
  return node;
}

async function triggers() {
  const [{ triggers: list }, { executions }] = await Promise.all([get('/triggers'), get('/executions?limit=100')]);
  const runs = Map.groupBy ? Map.groupBy(executions, (run) => run.triggerId) : new Map();
  const cards = list.map((trigger) => {
    const path = `/triggers/${encodeURIComponent(trigger.id)}`;
    const toggle = el('button', {
      role: 'switch', 'aria-checked': String(trigger.enabled), 'aria-label': `${trigger.name}: on`,
      onclick: () => act(trigger.enabled ? 'Switched off.' : 'Switched on.', () => post(`${path}/${trigger.enabled ? 'disable' : 'enable'}`)),
    }, trigger.enabled ? 'On' : 'Off');
    const problem = trigger.deletedAt ? 'Its schedule is still there: delete the trigger again.'
      : trigger.scheduleStatus === 'missing' ? 'The schedule is missing: save the trigger again.'
      : trigger.health && trigger.health !== 'ok' ? `${trigger.health}: ${trigger.pausedReason || trigger.healthErrorType || ''}` : null;
    return el('li', { class: 'card' },
      el('div', { class: 'row' },
        el('div', { class: 'grow' },
          el('a', { class: 'name', href: `#/triggers/${encodeURIComponent(trigger.id)}` }, trigger.name || trigger.id),
          el('div', { class: 'quiet' }, trigger.scheduleDescription || `on ${trigger.eventConfig?.eventSourceId || 'events'}`),
          problem && el('div', { class: 'problem' }, problem)),
        spark(runs.get(trigger.id) || []),
        el('div', { class: 'quiet' }, trigger.nextRun ? `next ${at(trigger.nextRun)}` : trigger.scheduleStatus || ''),
        trigger.deletedAt ? remove(trigger) : el('button', { onclick: () => runNow(trigger) }, 'Run now'),
        trigger.deletedAt ? null : toggle));
  });
  return [
    el('div', { class: 'row' }, el('h2', { class: 'grow' }, 'Triggers'), el('a', { href: '#/new' }, 'New trigger')),
    list.length ? el('ul', { class: 'cards' }, ...cards) : el('p', {}, 'There are no triggers yet.'),
    executions.some((run) => run.status === 'running'),
  ];
}

function remove(trigger) {
  return el('button', {
    onclick: () => confirmed(`Delete “${trigger.name}”?`, 'Its schedule goes with it. Runs that are on their way are skipped.', 'Delete',
      () => act('Deleted.', async () => { await call('DELETE', `/triggers/${encodeURIComponent(trigger.id)}`); location.hash = '#/triggers'; })),
  }, 'Delete');
}

function runNow(trigger) {
  confirmed(`Run “${trigger.name}” now?`, 'The agent is called once more, beside whatever its schedule or events start.', 'Run now',
    () => act('The run begins.', async () => {
      const { executionId } = await post(`/triggers/${encodeURIComponent(trigger.id)}/run`);
      location.hash = `#/runs/${encodeURIComponent(trigger.id)}/${executionId}`;
    }));
}

async function triggerView(id) {
  const path = `/triggers/${encodeURIComponent(id)}`;
  const [{ trigger }, { status: state }, { executions }] =
    await Promise.all([get(path), get(`${path}/status`), get(`${path}/executions?limit=20`)]);
  const rows = [['Health', state.health], ['Failures in a row', String(state.failures || 0)], ['Last run', at(trigger.lastExecutedAt)],
    ['Version', String(trigger.version || '–')]];
  if (trigger.scheduleDescription) {
    rows.unshift(['Schedule', trigger.scheduleDescription], ['State', state.scheduleStatus], ['Next runs', (state.nextRuns || []).map(at).join(' · ') || 'none']);
  }
  return [
    el('div', { class: 'row' }, el('h2', { class: 'grow' }, trigger.name),
      trigger.deletedAt ? null : el('button', { onclick: () => runNow(trigger) }, 'Run now'),
      trigger.deletedAt ? null : el('a', { href: `#/edit/${encodeURIComponent(id)}` }, 'Edit'),
      remove(trigger)),
    el('dl', {}, ...rows.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)])),
    el('h3', {}, 'Prompt'), el('pre', {}, trigger.prompt),
    el('h3', {}, 'Runs'), runTable(executions),
    executions.some((run) => run.status === 'running'),
  ];
}

// Runs.

function runTable(executions) {
  if (!executions.length) return el('p', {}, 'Nothing ran yet.');
  const rows = executions.map((run) => el('tr', {},
    el('td', {}, status(run.status)),
    el('td', {}, el('a', { href: `#/runs/${encodeURIComponent(run.triggerId)}/${encodeURIComponent(run.executionId)}` }, at(run.executedAt))),
    el('td', {}, run.triggerName || ''),
    el('td', {}, run.durationMs == null ? '' : `${(run.durationMs / 1000).toFixed(1)} s`),
    el('td', { class: 'quiet' }, run.status === 'completed' ? '' : run.errorMessage || '')));
  return el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Runs' }, el('table', {},
    el('thead', {}, el('tr', {}, ...['Status', 'Time', 'Trigger', 'Took', ''].map((name) => el('th', { scope: 'col' }, name)))),
    el('tbody', {}, ...rows)));
}

async function runs(query) {
  const params = new URLSearchParams(query);
  const wanted = params.get('status') || '';
  const asked = new URLSearchParams({ limit: '50' });
  if (wanted) asked.set('status', wanted);
  if (params.get('after')) asked.set('nextToken', params.get('after'));
  const { executions, nextToken } = await get(`/executions?${asked}`);
  const choose = el('select', {
    id: 'status', onchange: (event) => { location.hash = event.target.value ? `#/runs?status=${event.target.value}` : '#/runs'; },
  }, ...['', 'running', 'completed', 'failed', 'cancelled', 'skipped'].map((name) => el('option', { value: name, selected: name === wanted }, name || 'all')));
  const next = new URLSearchParams(params);
  if (nextToken) next.set('after', nextToken);
  return [
    el('div', { class: 'row' }, el('h2', { class: 'grow' }, 'Runs'), el('label', { for: 'status' }, 'Status'), choose),
    wanted === 'skipped' ? el('p', { class: 'quiet' }, 'Nothing ran? Each skip says why.') : null,
    runTable(executions),
    nextToken ? el('p', {}, el('a', { href: `#/runs?${next}` }, 'Older runs')) : null,
    executions.some((run) => run.status === 'running'),
  ];
}

const ADVICE = {
  AgentUnavailable: 'The agent could not be reached. It was not called, so a replay is safe.',
  AuthenticationFailed: 'The token was refused. Nothing was called, so a replay is safe.',
  InvalidTrigger: 'The trigger is not valid: edit it, then run it again.',
  DeadlineExceeded: 'The time was up. The agent may have done part of the work.',
  Interrupted: 'The attempt died. The agent may have done part of the work.',
};

async function runView(id, execution) {
  const path = `/triggers/${encodeURIComponent(id)}/executions/${encodeURIComponent(execution)}`;
  let run;
  try {
    ({ execution: run } = await get(path));
  } catch (error) {
    if (error.code !== 'NOT_FOUND') throw error;
    return [el('h2', {}, 'Run'), el('p', {}, 'This run has not begun yet, or there is none.'), true];
  }
  const rows = [['Started', at(run.executedAt)], ['Ended', at(run.completedAt)], ['Took', run.durationMs == null ? '–' : `${run.durationMs} ms`],
    ['Agent', run.agentId], ['Attempt', run.attempt && String(run.attempt)], ['Fired for', run.scheduledTime || run.eventId], ['Source', run.source],
    ['Session', run.sessionId], ['Request', run.requestId], ['Trace', run.traceId], ['Execution', run.executionId],
    ['Replays', run.replayOf], ['Follows', run.follows],
    ['Tokens', run.usage && `${run.usage.inputTokens} in, ${run.usage.outputTokens} out`]].filter(([, value]) => value);
  const copy = (value) => el('button', { class: 'quiet', 'aria-label': `Copy ${value}`, onclick: () => navigator.clipboard?.writeText(value).then(() => say('Copied.')) }, 'Copy');
  const ids = ['Session', 'Request', 'Trace', 'Execution'];
  return [
    el('div', { class: 'row' }, el('h2', { class: 'grow' }, 'Run ', status(run.status)),
      run.canCancel ? el('button', {
        onclick: () => confirmed('Cancel this run?', 'The agent is asked to stop. What it has done already stays done.', 'Cancel the run',
          () => act('The run is asked to stop.', () => post(`${path}/cancel`))),
      }, 'Cancel') : null,
      run.canReplay ? el('button', {
        onclick: () => confirmed('Replay this run?', 'The agent is asked exactly the same again. What it did the first time may be done twice.', 'Replay',
          () => act('The replay begins.', async () => {
            const { executionId } = await post(`${path}/replay`);
            location.hash = `#/runs/${encodeURIComponent(id)}/${executionId}`;
          })),
      }, 'Replay') : null,
      el('a', { href: `#/triggers/${encodeURIComponent(id)}` }, 'Trigger')),
    run.status !== 'completed' && run.status !== 'running' ? el('pre', { class: 'error' }, run.errorMessage || '') : null,
    ADVICE[run.errorType] ? el('p', {}, ADVICE[run.errorType]) : null,
    run.output ? el('div', {}, el('h3', {}, 'Answer'), el('pre', {}, run.output)) : null,
    el('h3', {}, 'Details'),
    el('dl', {}, ...rows.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value, ' ', ids.includes(name) ? copy(value) : null)])),
    run.status === 'running',
  ];
}

async function upcoming() {
  const { runs: list } = await get('/upcoming-runs?limit=50');
  const rows = list.map((run) => el('tr', {}, el('td', {}, at(run.at)), el('td', {}, el('a', { href: `#/triggers/${encodeURIComponent(run.triggerId)}` }, run.name || run.triggerId))));
  return [el('h2', {}, 'Coming runs'), list.length ? el('table', {}, el('tbody', {}, ...rows)) : el('p', {}, 'No schedule is switched on.'), false];
}

// The form.

async function form(id) {
  const { eventSources } = await get('/events');
  const before = id ? (await get(`/triggers/${encodeURIComponent(id)}`)).trigger : null;
  const value = (name) => before?.[name] ?? '';
  let version = before?.version ?? 0;
  // A source that is offered no more stays the trigger's until somebody chooses another.
  const source = before?.eventConfig?.eventSourceId;
  const sources = source && !eventSources.some((offered) => offered.id === source) ? [{ id: source }, ...eventSources] : eventSources;
  const problems = el('div', { role: 'alert' });
  const field = (name, label, node) => el('div', {}, el('label', { for: name }, label), node, el('p', { class: 'problem', id: `${name}-problem` }));
  const input = (name, text, more = {}) => el('input', { type: 'text', id: name, name, value: text, 'aria-describedby': `${name}-problem`, ...more });
  const type = el('select', { id: 'type', name: 'type', class: 'wide' },
    ...[['schedule', 'a schedule'], ['event', 'an event']].map(([name, words]) => el('option', { value: name, selected: name === (before?.type || 'schedule') }, words)));
  const preview = el('p', { class: 'quiet', 'aria-live': 'polite' });
  const prompt = el('textarea', { id: 'prompt', name: 'prompt', 'aria-describedby': 'prompt-problem' }, value('prompt'));
  const schedule = el('div', {},
    field('expression', 'When (cron, rate or at)', input('expression', before?.scheduleConfig?.expression || '0 9 ? * MON-FRI *')),
    field('timezone', 'Time zone', input('timezone', before?.scheduleConfig?.timezone || Intl.DateTimeFormat().resolvedOptions().timeZone)),
    preview);
  const events = el('div', {}, field('eventSourceId', 'Event source', el('select', { id: 'eventSourceId', name: 'eventSourceId', class: 'wide' },
    ...sources.map((offered) => el('option', { value: offered.id, selected: offered.id === source }, `${offered.name || offered.id}`)))));
  const kind = () => { schedule.hidden = type.value !== 'schedule'; events.hidden = type.value !== 'event'; };
  type.addEventListener('change', kind);
  let asked = 0;
  const look = async () => {
    const mine = ++asked;
    try {
      const shown = await post('/schedules/preview', { expression: node.expression.value, timezone: node.timezone.value, limit: 3 });
      if (mine === asked) preview.textContent = `${shown.description}. Next: ${shown.nextRuns.map((run) => run.local).join(' · ')}. ${shown.notes.join('. ')}`;
    } catch (error) {
      if (mine === asked) preview.textContent = error.message;
    }
  };
  const node = el('form', {
    onsubmit: async (event) => {
      event.preventDefault();
      const body = { name: node.name_.value, type: type.value, agentId: node.agentId.value, prompt: prompt.value };
      if (type.value === 'schedule') body.scheduleConfig = { expression: node.expression.value, timezone: node.timezone.value };
      else body.eventConfig = { eventSourceId: node.eventSourceId.value };
      for (const problem of node.querySelectorAll('.problem')) problem.textContent = '';
      problems.textContent = '';
      try {
        const { trigger } = id ? await call('PUT', `/triggers/${encodeURIComponent(id)}`, body, { 'if-match': `"${version}"` }) : await post('/triggers', body);
        say('Saved.');
        location.hash = `#/triggers/${encodeURIComponent(trigger.id)}`;
      } catch (error) {
        if (error.status === 412) {
          version = error.details.version;
          problems.textContent = 'Somebody else changed this trigger since you opened it. Save again to write your form over it, or go back to see the change.';
          return;
        }
        const rest = [];
        for (const { field: name, description } of error.violations || []) {
          const place = node.querySelector(`#${CSS.escape(name.split('.').pop() === 'name' ? 'name_' : name.split('.').pop())}-problem`);
          if (place) place.textContent = description; else rest.push(`${name}: ${description}`);
        }
        problems.textContent = error.violations?.length ? rest.join('; ') || 'Please correct the fields above.' : error.message;
      }
    },
  },
  field('name_', 'Name', input('name_', value('name'), { required: true })),
  field('agentId', 'Agent', input('agentId', value('agentId'), { required: true })),
  field('prompt', 'Prompt', prompt),
  field('type', 'It runs on', type), schedule, events, problems,
  el('p', { class: 'row' }, el('button', { class: 'main', type: 'submit' }, 'Save'), el('a', { href: id ? `#/triggers/${encodeURIComponent(id)}` : '#/triggers' }, 'Back')));
  kind();
  for (const name of ['expression', 'timezone']) node[name].addEventListener('input', look);
  look();
  return [el('h2', {}, id ? 'Edit trigger' : 'New trigger'), node, null];
}

// Views by their address.

function view() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [first, ...rest] = path.split('/').map(decodeURIComponent);
  if (first === 'runs' && rest.length === 2) return () => runView(...rest);
  if (first === 'runs') return () => runs(query);
  if (first === 'upcoming') return upcoming;
  if (first === 'new') return () => form();
  if (first === 'edit') return () => form(rest[0]);
  if (first === 'triggers' && rest[0]) return () => triggerView(rest[0]);
  return triggers;
}

async function draw() {
  clearTimeout(timer);
  const mine = shown;
  let busy = false;
  try {
    const parts = await view()();
    if (mine !== shown) return;
    busy = parts.pop();
    const focused = document.activeElement?.id;
    const texts = JSON.stringify(parts.map((part) => part?.outerHTML));
    // An unchanged view keeps its focus and its selection.
    if (texts !== main.dataset.drawn) {
      main.replaceChildren(...parts.filter((part) => part != null));
      main.dataset.drawn = texts;
      if (focused) document.getElementById(focused)?.focus();
    }
  } catch (error) {
    if (mine !== shown) return;
    if (token) main.replaceChildren(el('h2', {}, 'This did not work'), el('p', {}, error.message));
  }
  // A form is not drawn anew by the clock, and nothing is asked while nobody looks.
  if (busy !== null && token) timer = setTimeout(() => (document.hidden ? null : draw()), busy ? FAST : SLOW);
}

function show() {
  shown = Symbol('view');
  delete main.dataset.drawn;
  for (const link of document.querySelectorAll('nav a')) {
    if (location.hash.startsWith(link.getAttribute('href'))) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (!token) {
    main.replaceChildren(el('h2', {}, 'Log in'), config.login
      ? el('button', { class: 'main', onclick: login }, 'Log in')
      : el('p', {}, 'Open the link that was printed at the start. It holds the key.'));
    return;
  }
  draw();
}

// Login: code with PKCE. The verifier outlives the redirect in the session's storage, the token does not.

const url = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');

async function login() {
  const verifier = url(crypto.getRandomValues(new Uint8Array(32)));
  const state = url(crypto.getRandomValues(new Uint8Array(16)));
  sessionStorage.setItem('login', JSON.stringify({ verifier, state, hash: location.hash }));
  const challenge = url(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier)));
  const query = new URLSearchParams({ response_type: 'code', client_id: config.login.clientId, redirect_uri: `${location.origin}/`, scope: 'openid', state, code_challenge: challenge, code_challenge_method: 'S256' });
  location.assign(`https://${config.login.domain}/oauth2/authorize?${query}`);
}

async function redeem(code, state) {
  const begun = JSON.parse(sessionStorage.getItem('login') || 'null');
  sessionStorage.removeItem('login');
  history.replaceState(null, '', `/${begun?.hash || ''}`);
  if (!begun || begun.state !== state) return;
  const body = new URLSearchParams({ grant_type: 'authorization_code', client_id: config.login.clientId, code, redirect_uri: `${location.origin}/`, code_verifier: begun.verifier });
  const response = await fetch(`https://${config.login.domain}/oauth2/token`, { method: 'POST', body });
  if (response.ok) token = (await response.json()).access_token;
  else say('The login did not work.');
}

async function start() {
  config = await (await fetch('/config.json')).json();
  const key = /^#key=([^&]+)/.exec(location.hash);
  const query = new URLSearchParams(location.search);
  if (key) {
    token = decodeURIComponent(key[1]);
    history.replaceState(null, '', '/#/triggers');
  } else if (config.login && query.get('code')) {
    await redeem(query.get('code'), query.get('state'));
  }
  window.addEventListener('hashchange', () => { say(''); show(); main.focus(); });
  // What somebody writes in a form outlasts a look at another tab.
  document.addEventListener('visibilitychange', () => { if (!document.hidden && !main.querySelector('form')) show(); });
  show();
}

start().catch((error) => { main.replaceChildren(el('p', {}, error.message)); });
