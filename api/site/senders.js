// What senders of webhooks do, in words and as commands of a shell.

const quoted = (words) => `'${words.replaceAll("'", "'\\''")}'`;
const HEX = ' | sed "s/^.* //"', BASE64 = ' -binary | openssl base64 -A';
const hmac = (content, algorithm = 'sha256', key = '-hmac "$secret"', form = HEX) => `signature=$(printf %s ${content} | openssl dgst -${algorithm} ${key}${form})`;

/** Returns the lines that sign `$body`, and the arguments with which curl proves it. */
function proof({ preset = 'standard', header, prefix = '', encoding, algorithm, timestampHeader, signedContent, username }) {
  const time = 'time=$(date +%s)', sent = (name, value) => `-H "${name}: ${value}"`;
  switch (preset) {
    case 'github': return [[hmac('"$body"')], [sent('X-GitHub-Event', 'issues'), sent('X-Hub-Signature-256', 'sha256=$signature')]];
    case 'slack': return [[time, hmac('"v0:$time:$body"')], [sent('X-Slack-Request-Timestamp', '$time'), sent('X-Slack-Signature', 'v0=$signature')]];
    case 'stripe': return [[time, hmac('"$time.$body"')], [sent('Stripe-Signature', 't=$time,v1=$signature')]];
    case 'hmac': {
      const content = (signedContent || (timestampHeader ? '{timestamp}.{body}' : '{body}')).split(/(\{timestamp\}|\{body\})/).filter(Boolean)
        .map((part) => ({ '{timestamp}': '"$time"', '{body}': '"$body"' })[part] || quoted(part)).join('');
      return [[...(timestampHeader ? [time] : []), hmac(content, algorithm, undefined, encoding === 'base64' ? BASE64 : HEX)],
        [...(timestampHeader ? [sent(timestampHeader, '$time')] : []), `-H ${quoted(`${header || 'X-Signature'}: ${prefix}`)}"$signature"`]];
    }
    case 'token': return [[], [`-H ${quoted(`${header || 'X-Webhook-Token'}: ${prefix}`)}"$secret"`]];
    case 'bearer': return [[], [sent('Authorization', 'Bearer $secret')]];
    case 'basic': return [[], [`-u ${quoted(`${username}:`)}"$secret"`]];
    default: return [[time, 'id="msg_$time"', `key=$(printf %s "\${secret#whsec_}" | openssl base64 -d -A | od -An -vtx1 | tr -d ' \\n')`,
      hmac('"$id.$time.$body"', 'sha256', '-mac HMAC -macopt "hexkey:$key"', BASE64)],
    [sent('webhook-id', '$id'), sent('webhook-timestamp', '$time'), sent('webhook-signature', 'v1,$signature')]];
  }
}

/** Returns what a shell runs to send a delivery. Each one is another: an equal one may count as sent again. */
export function command(url, config, secret) {
  const [lines, proofs] = proof(config);
  const body = config.preset === 'slack' ? '{\\"event_id\\": \\"test-$(date +%s)\\"}' : '{\\"test\\": true, \\"at\\": $(date +%s)}';
  return [`secret=${quoted(secret || 'THE SECRET')}`, `body="${body}"`, ...lines,
    [`curl -sS ${quoted(url)} -d "$body"`, '-H "Content-Type: application/json"', ...proofs].join(' \\\n  ')].join('\n');
}

const OWN = 'Replace the secret here by the one that you find there.';
const STEPS = {
  github: ['In the repository: Settings, Webhooks, Add webhook.', 'Payload URL: the address. Content type: application/json. Secret: the secret.',
    'Choose the events. GitHub sends a ping at once, which runs nothing.'],
  slack: ['In the app: Basic Information, Signing Secret.', OWN, 'Event Subscriptions, Request URL: the address. Slack verifies it at once. Or: Slash Commands, Request URL.'],
  stripe: ['Workbench, Webhooks, Create an event destination: the address, and the events.', 'Reveal its signing secret (whsec_…).', OWN],
  standard: ['At the sender (Svix, Clerk, Resend, OpenAI and others), add the address as an endpoint.', `If the sender shows a signing secret (whsec_…): ${OWN}`],
  hmac: ['Give the address and the secret to the sender.', 'It signs each body with the secret, as the command below does.', 'With the same id in the header ID_HEADER, two tries run once.'],
};
/** Senders that a header tells apart. */
const BY_HEADER = {
  'x-gitlab-token': ['In the project: Settings, Webhooks, Add new webhook.', 'URL: the address. Secret token: the secret.', 'Choose the events. Test, Push events sends one.'],
  'x-shopify-hmac-sha256': ['In the app: its client secret.', OWN, 'Subscribe to a topic with the address. Encoding: base64. Header with the id: X-Shopify-Webhook-Id.'],
  'linear-signature': ['Settings, API, Webhooks, New webhook: the address.', 'The webhook shows its signing secret.', OWN, 'Header with the id: Linear-Delivery. Status: 200, or each event comes again.'],
};
const UNSIGNED = ['Give the address and the secret to the sender.', 'It signs nothing: who reads one request can send others. Add allowed addresses if you know them.'];

/** Returns what to do at the sender of a webhook with these settings. */
export const stepsOf = ({ preset = 'standard', header, idHeader }) => (BY_HEADER[(header || '').toLowerCase()] || STEPS[preset] || UNSIGNED)
  .map((step) => step.replace('ID_HEADER', () => idHeader || 'Idempotency-Key'));
