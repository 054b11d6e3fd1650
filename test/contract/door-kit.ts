/** Instances of the app over one real database, every kind of credential, and a clock for each instance. */
import { afterAll, beforeAll } from 'vitest';
import { newKey } from '../../supabase/client/keys.js';
import { openDatabase } from '../../supabase/client/pg.js';
import type { OpsPort } from '../../supabase/client/port.js';
import type { KeyScope } from '../../supabase/client/terms.js';
import { type App, createApp } from '../../vercel/app/app.js';
import { parseControlEnv } from '../../vercel/app/env.js';
import { setClock } from '../support/clock.js';
import { type TestDatabase, useDatabase } from '../support/database.js';
import { bearer, json, secrets } from '../unit/http-app.js';

type Database = ReturnType<typeof openDatabase>;
export type Instance = {
  app: App;
  /** Moves this instance's own clock on. */
  later(ms: number): void;
  lines: Record<string, unknown>[];
};

export type Doors = {
  db: TestDatabase;
  readonly port: OpsPort;
  /** A process of its own: it remembers nothing that another one knows. */
  instance(variables?: Record<string, string>, url?: string): Instance;
  key(label: string, scope: KeyScope, expiresDays?: number): Promise<string>;
};

/** A request's address in these tests; one without the header comes from a place of its own. */
export const from = (address: string): Record<string, string> => ({ 'x-test-address': address });

export function useDoors(): Doors {
  const db = useDatabase();
  const open: Database[] = [];
  const openAt = (url: string): Database => {
    const database = openDatabase({ connectionString: url, max: 8 });
    open.push(database);
    return database;
  };
  let strangers = 0;
  let own: Database | undefined;
  beforeAll(async () => {
    own = openAt(db.url);
    await setClock(db.sql, 'real');
  });
  afterAll(() => Promise.all(open.map((database) => database.close())));
  const port = (): OpsPort => {
    if (own === undefined) throw new Error('the port is open from beforeAll to afterAll only');
    return own.port;
  };
  return {
    db,
    get port() {
      return port();
    },
    instance(variables = secrets, url) {
      const lines: Instance['lines'] = [];
      const keep = (fields: Record<string, unknown>) => void lines.push(fields);
      let movedMs = 0;
      const app = createApp({
        port: url === undefined ? port() : openAt(url).port,
        env: parseControlEnv(variables),
        log: { info: keep, warn: keep, error: keep },
        now: () => new Date(Date.now() + movedMs),
        clientAddress: (request) => request.headers.get('x-test-address') ?? `stranger ${++strangers}`,
      });
      const later = (ms: number) => {
        movedMs += ms;
      };
      return { app, later, lines };
    },
    async key(label, scope, expiresDays) {
      const { key, prefix, hash } = newKey(scope);
      const expires = expiresDays === undefined ? {} : { expiresDays };
      await port().createKey({ label, scope, prefix, hash, ...expires });
      return key;
    },
  };
}

const page = { 'Sec-Fetch-Site': 'same-origin' };

export const postSession = (app: App, token: string, headers: Record<string, string> = {}) =>
  app.request('/api/ops/session', json({ token }, { ...page, ...headers }));

/** The headers of a browser that signed in with a token, as the page sends them. */
export async function signedIn(app: App, token: string): Promise<Record<string, string>> {
  const response = await postSession(app, token);
  const cookie = (response.headers.get('set-cookie') ?? '').split(';')[0] ?? '';
  return { cookie, ...page, 'Content-Type': 'application/json' };
}

/** The token that a key asks the server for. */
export async function linkToken(app: App, key: string): Promise<string> {
  const response = await app.request('/api/ops/session/link', { method: 'POST', headers: bearer(key) });
  const { token } = (await response.json()) as { token: string };
  return token;
}
