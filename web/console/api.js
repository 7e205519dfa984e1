// What the page asks of the node that serves it. A token, where one is asked
// for, stays in this tab.
const KEY = 'limpet-ops-token';

export const token = {
  get: () => sessionStorage.getItem(KEY) ?? '',
  set: (text) => (text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY)),
};

/** What the node answered when it did not do as asked. */
export class Refused extends Error {
  constructor(status, text) { super(text); this.status = status; }
}

async function call(path, init = {}) {
  const headers = { 'Content-Type': 'application/json' };
  if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
  const res = await fetch(path, { ...init, headers, cache: 'no-store', signal: AbortSignal.timeout(20_000) });
  const body = await res.json().catch(() => ({}));
  if (!res.ok) throw new Refused(res.status, body.error ?? `${res.status} ${res.statusText}`);
  return body;
}

export const get = (path) => call(path);
export const post = (path, body) => call(path, { method: 'POST', body: JSON.stringify(body) });

/** Asks all live rooms; rows come as objects by column. */
export async function query(text, deadline = 400) {
  const a = await post('/v1/query', { query: text, deadline_ms: deadline });
  return { ...a, rows: a.rows.map((row) => Object.fromEntries(a.columns.map((c, i) => [c, row[i]]))) };
}
