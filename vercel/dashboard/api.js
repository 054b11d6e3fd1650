/** Requests to our own origin. The cookie travels by itself; unsafe requests are JSON, as the server asks. */

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the server answered ${status}`);
    this.status = status;
    this.hint = problem.hint;
  }
}

async function request(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
    body: body === undefined ? null : JSON.stringify(body),
    credentials: 'same-origin',
    signal: AbortSignal.timeout(15_000),
  });
  const answer = response.status === 204 ? {} : await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer);
  return answer;
}

export const overview = () => request('GET', '/api/ops/overview');
export const why = (id) => request('GET', `/api/ops/why/${encodeURIComponent(id)}`);
export const trace = (id) => request('GET', `/api/ops/trace/${encodeURIComponent(id)}`);
export const decide = (id, verb, reason) =>
  request('POST', `/api/ops/proposals/${encodeURIComponent(id)}/${verb}`, reason === '' ? {} : { reason });
export const signIn = (token) => request('POST', '/api/ops/session', { token });
export const signOut = () => request('DELETE', '/api/ops/session', {});
