// Sample events: what the known sources send. An unknown one sends what the prompt looks for.

const KNOWN = {
  'aws-s3': ['aws.s3', 'Object Created', { bucket: { name: 'example-bucket' }, object: { key: 'incoming/orders.csv', size: 48213 } }],
  'aws-cloudwatch': ['aws.cloudwatch', 'CloudWatch Alarm State Change', {
    alarmName: 'ServerCpuTooHigh', state: { value: 'ALARM', reason: '1 datapoint (99.5) was above 50.' },
  }],
  'aws-guardduty': ['aws.guardduty', 'GuardDuty Finding', {
    severity: 5, title: '198.51.100.0 attacks i-99999999 by SSH.',
  }],
  lambda: ['lambda', 'Lambda Function Invocation Result - Failure', {
    responsePayload: { errorType: 'Error', errorMessage: 'connection to the order database was refused' },
  }],
  'agent-trigger': ['agent-trigger', 'Execution Status Change', {
    triggerId: 'trigger-123', status: 'completed', output: 'Three files came in since yesterday.',
  }],
};

/** What the senders of webhooks send: the headers that are kept, and the body. */
const SENT = {
  github: [{ 'x-github-event': 'issues' }, { action: 'opened', issue: { number: 7, title: 'It does not start' }, repository: { full_name: 'example/orders' } }],
  slack: [{}, { type: 'event_callback', event_id: 'Ev08MFMKH6', event: { type: 'app_mention', text: 'What came in?', channel: 'C061EG9SL' } }],
  stripe: [{}, { id: 'evt_1', type: 'invoice.payment_failed', data: { object: { id: 'in_1', amount_due: 1200 } } }],
};

/** Puts a value at a path of names. What is there already stays, unless it is `forced` to go. */
function put(place, [name, ...rest], value, forced) {
  const known = Object.hasOwn(place, name) ? place[name] : undefined;
  if (!rest.length) place[name] = forced ? value : known ?? value;
  else put(place[name] = known && typeof known === 'object' ? known : {}, rest, value, forced);
}

function fit(event, names, path = []) {
  if (!names || typeof names !== 'object') return;
  for (const [name, wanted] of Object.entries(names)) {
    if (!Array.isArray(wanted)) fit(event, wanted, [...path, name]);
    else if (wanted.length && typeof wanted[0] !== 'object') put(event, [...path, name], wanted[0], true);
  }
}

/** Returns the headers and the body of a delivery to a trigger's webhook, fit for simple filters. Each call returns another body, so that no delivery counts as sent again. */
export function delivered({ eventConfig = {}, userId, prompt = '', webhookConfig: { preset = 'standard' } }) {
  const { detail: { headers, body } } = JSON.parse(sample(eventConfig, userId, prompt, preset));
  const mark = `test_${Date.now()}`;
  for (const name of ['id', 'event_id']) if (Object.hasOwn(Object(body), name)) body[name] = mark;
  return [headers, Object(body) === body ? { ...body, test: mark } : body];
}

/** Returns a sample of a source's events, fit for simple filters. */
export function sample({ eventSourceId: source, eventPattern, condition }, userId, prompt, preset) {
  const [headers, body] = SENT[preset] || [{}, {}];
  const [from, type, known] = preset ? ['webhook', 'Webhook Received', { provider: preset, deliveryId: '1', headers, body }] : KNOWN[source] || [source, 'Something Happened', {}];
  const detail = structuredClone(known);
  const event = { id: '17793124-05d4-b198-2fde-7ededc63b103', source: from, 'detail-type': type, time: '2026-01-05T06:58:12Z', detail };
  if (source === 'agent-trigger') detail.userId = userId;
  if (!KNOWN[source]) {
    for (const [, path] of prompt.matchAll(/\$\.((?:detail|body)(?:\.[A-Za-z_]\w*)+)/g)) {
      // The body of a webhook has a shorter name.
      put(event, path.replace(/^body/, 'detail.body').split('.'), `some ${path.split('.').pop()}`);
    }
  }
  fit(event, eventPattern);
  for (const one of [condition || []].flat()) {
    const { field, operator, value } = one || {};
    if (typeof field === 'string' && ['eq', 'gte', 'lte'].includes(operator)) put(event, field.replace(/^\$\./, '').split('.'), value, true);
  }
  return JSON.stringify(event, null, 2);
}
