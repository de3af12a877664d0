// The API. The token stays in memory.

let token = null;
let refused = () => {};
const known = new Map();

export class ApiError extends Error {
  constructor(status, answer) {
    super(answer.message || 'no answer');
    this.status = status;
    this.code = answer.code;
    this.details = answer.details || {};
    this.violations = this.details.fieldViolations || [];
  }
}

export const hasToken = () => token !== null;
export const setToken = (value) => { token = value; };
/** Sets what happens when a token is accepted no more. */
export const whenRefused = (action) => { refused = action; };

/** Asks the API. An answer to a GET that has not changed is the same object as before. */
export async function call(method, path, body, more = {}) {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...more };
  const before = method === 'GET' ? known.get(path) : null;
  if (before) headers['if-none-match'] = before.tag;
  const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  if (response.status === 304) return before.answer;
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) { token = null; refused(); }
  if (!response.ok) throw new ApiError(response.status, answer);
  const tag = response.headers.get('etag');
  if (method === 'GET' && tag) {
    if (known.size > 200) known.clear();
    known.set(path, { tag, answer });
  }
  return answer;
}

export const get = (path) => call('GET', path);
export const post = (path, body = {}) => call('POST', path, body);
