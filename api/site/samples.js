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

/** Returns a sample of a source's events, fit for simple filters. */
export function sample({ eventSourceId: source, eventPattern, condition }, userId, prompt) {
  const [from, type, known] = KNOWN[source] || [source, 'Something Happened', {}];
  const detail = structuredClone(known);
  const event = { id: '17793124-05d4-b198-2fde-7ededc63b103', source: from, 'detail-type': type, time: '2026-01-05T06:58:12Z', detail };
  if (source === 'agent-trigger') detail.userId = userId;
  if (!KNOWN[source]) {
    for (const [, path] of prompt.matchAll(/\$\.(detail(?:\.[A-Za-z_]\w*)+)/g)) put(event, path.split('.'), `some ${path.split('.').pop()}`);
  }
  fit(event, eventPattern);
  for (const one of [condition || []].flat()) {
    const { field, operator, value } = one || {};
    if (typeof field === 'string' && ['eq', 'gte', 'lte'].includes(operator)) put(event, field.replace(/^\$\./, '').split('.'), value, true);
  }
  return JSON.stringify(event, null, 2);
}
