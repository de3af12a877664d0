// Sample events for the preview of a prompt: what the known sources send, and a plausible one for any other.

const KNOWN = {
  'aws-s3': ['aws.s3', 'Object Created', { bucket: { name: 'example-bucket' }, object: { key: 'incoming/orders.csv', size: 48213 }, reason: 'PutObject' }],
  'aws-cloudwatch': ['aws.cloudwatch', 'CloudWatch Alarm State Change', {
    alarmName: 'ServerCpuTooHigh', state: { value: 'ALARM', reason: '1 datapoint [99.5] was greater than the threshold (50.0).' },
  }],
  'aws-guardduty': ['aws.guardduty', 'GuardDuty Finding', {
    severity: 5, type: 'UnauthorizedAccess:EC2/SSHBruteForce', title: '198.51.100.0 attacks i-99999999 by SSH.',
  }],
  lambda: ['lambda', 'Lambda Function Invocation Result - Failure', {
    requestPayload: { orderIds: ['order-1042'] }, responsePayload: { errorType: 'Error', errorMessage: 'connection to the order database was refused' },
  }],
  'agent-trigger': ['agent-trigger', 'Execution Status Change', {
    triggerId: 'trigger-123', agentId: 'agent-789', status: 'completed', durationMs: '40675', output: 'Three files came in since yesterday.',
  }],
};

/** Puts what a pattern names literally into an event, so that the sample is one that it wants. */
function fit(event, pattern) {
  for (const [name, wanted] of Object.entries(pattern || {})) {
    if (!Array.isArray(wanted)) {
      if (typeof event[name] !== 'object') event[name] = {};
      fit(event[name], wanted);
    } else if (wanted.length && typeof wanted[0] !== 'object') event[name] = wanted[0];
  }
}

/** Returns a sample of a source's events. One of an unknown source has what the prompt's queries look for. */
export function sample(source, userId, prompt, pattern) {
  const [from, type, known] = KNOWN[source] || [source, 'Something Happened', {}];
  const detail = structuredClone(known);
  if (source === 'agent-trigger') detail.userId = userId;
  if (!KNOWN[source]) {
    for (const [, path] of prompt.matchAll(/\$\.detail((?:\.[A-Za-z_]\w*)+)/g)) {
      const names = path.slice(1).split('.');
      const last = names.pop();
      let place = detail;
      for (const name of names) place = place[name] = typeof place[name] === 'object' ? place[name] : {};
      place[last] ??= `some ${last}`;
    }
  }
  const event = { id: '17793124-05d4-b198-2fde-7ededc63b103', source: from, 'detail-type': type, time: '2026-01-05T06:58:12Z', region: 'us-east-1', detail };
  fit(event, pattern);
  return JSON.stringify(event, null, 2);
}
