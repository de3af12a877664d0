// The API.

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
/** Returns an answer, or an empty one if there is no such thing. */
export const find = (path) => get(path).catch((error) => {
  if (error.code === 'NOT_FOUND') return {};
  throw error;
});
const FIRES = 100;
/** Returns the triggers, their fires with each one's next, and the time until which none is left out, if there are more. */
export async function coming() {
  const [{ triggers }, { runs }] = await Promise.all([get('/triggers'), get(`/upcoming-runs?limit=${FIRES}`)]);
  const later = triggers.filter(({ id, nextRun }) => nextRun && !runs.some((run) => run.triggerId === id))
    .map(({ id, name, nextRun }) => ({ triggerId: id, name, at: nextRun }));
  later.sort((left, right) => left.at.localeCompare(right.at));
  return { triggers, fires: [...runs, ...later], until: runs.length === FIRES ? runs.at(-1).at : null };
}
export const post = (path, body = {}) => call('POST', path, body);
