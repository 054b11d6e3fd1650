/** No key, link or cookie is found again: in no table, no statement, no log of ours or of the server, no answer. */
import { readFile } from 'node:fs/promises';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { hashOf, newKey } from '../../supabase/client/keys.js';
import { type Database, openDatabase } from '../../supabase/client/pg.js';
import type { OpsPort } from '../../supabase/client/port.js';
import type { KeyScope } from '../../supabase/client/terms.js';
import { createApp } from '../../vercel/app/app.js';
import { parseControlEnv } from '../../vercel/app/env.js';
import { mintLoginToken } from '../../vercel/app/login.js';
import { runCli } from '../support/cli.js';
import { useDatabase } from '../support/database.js';
import { apiKey, bearer, json, previousKey, secrets } from '../unit/http-app.js';
import { linkToken, postSession, signedIn } from './door-kit.js';

const db = useDatabase();
const log: string[] = [];
const answers: string[] = [];
const opened: Database[] = [];
let env: Record<string, string>;

beforeAll(async () => {
  env = { DATABASE_URL: db.url, OPS_LOG_LEVEL: 'trace', OPS_API_KEY: apiKey };
  const { name } = await db.one('select current_database() as name');
  await db.sql(`alter database ${name} set log_statement = 'all'`);
});
afterAll(() => Promise.all(opened.map((database) => database.close())));

const port = (): OpsPort => {
  if (opened[0] === undefined) throw new Error('no app was opened yet');
  return opened[0].port;
};

function appOn(url: string) {
  const database = openDatabase({ connectionString: url, max: 4 });
  opened.push(database);
  const logger = pino({ level: 'trace', redact: ['err.detail'] }, { write: (line) => void log.push(line) });
  return createApp({
    port: database.port,
    env: parseControlEnv(secrets),
    log: logger,
    now: () => new Date(),
  });
}

/** A key made on the command line: what it prints beside the key counts as an answer. */
async function createByCommand(label: string): Promise<string> {
  const args = ['keys', 'create', label, '--scope', 'operator', '--json'];
  const { stdout, stderr } = await runCli(args, { env });
  const { key, ...rest } = JSON.parse(stdout) as { key: string };
  answers.push(stderr, JSON.stringify(rest));
  return key;
}

async function create(label: string, scope: KeyScope): Promise<string> {
  const { key, prefix, hash } = newKey(scope);
  answers.push(JSON.stringify(await port().createKey({ label, scope, prefix, hash })));
  return key;
}

async function rotate(label: string): Promise<string> {
  const { key, prefix, hash } = newKey('operator');
  answers.push(JSON.stringify(await port().rotateKey({ key: label, prefix, hash })));
  return key;
}

it('holds for keys that are made, used, guessed, rotated, revoked, and met by a database that is away', async () => {
  const first = await createByCommand('anna');
  const here = appOn(db.url);
  const second = await rotate('anna');
  const viewer = await create('rita', 'viewer');
  const away = appOn('postgresql://nobody:hunter2@127.0.0.1:1/nothing');
  const ask = async (app: typeof here, path: string, init: RequestInit) => {
    const response = await app.request(path, init);
    answers.push(await response.text(), JSON.stringify([...response.headers]));
  };
  const tokens = [mintLoginToken(apiKey, new Date()), await linkToken(here, second)];
  const browser = await signedIn(here, tokens[1] ?? '');
  for (const key of [first, second, viewer, apiKey, previousKey, `${first.slice(0, -1)}x`])
    for (const app of [here, away]) {
      await ask(app, '/api/ops/status', { headers: bearer(key) });
      await ask(app, '/api/ops/events', json({ type: 'canary:test', data: {} }, bearer(key)));
      await ask(app, '/api/ops/status', { headers: { Authorization: `Basic ${key}` } });
    }
  for (const token of tokens) answers.push(await (await postSession(here, token)).text());
  await ask(here, '/api/ops/overview', { headers: browser });
  await ask(here, '/api/ops/session', { method: 'DELETE', headers: browser });
  answers.push(JSON.stringify(await port().revokeKey({ key: 'anna', reason: 'leaked' })));
  answers.push(JSON.stringify([await port().revokeKeys(), await port().listKeys({ all: true })]));

  const cookie = /session%3A([\w-]{43})/.exec(browser.cookie ?? '')?.[1] ?? '';
  const canaries = [
    first,
    second,
    viewer,
    apiKey,
    previousKey,
    secrets.CRON_SECRET,
    ...tokens,
    cookie,
    'hunter2',
  ];
  const places = {
    answers: answers.join('\n'),
    log: log.join('\n'),
    tables: await tables(),
    statements: await statements(),
  };
  for (const canary of canaries) {
    expect(canary.length).toBeGreaterThan(6);
    for (const [place, text] of Object.entries(places)) {
      expect(text.length, place).toBeGreaterThan(100);
      expect(text.includes(canary), `${canary.slice(0, 24)}… in ${place}`).toBe(false);
    }
  }
  // What is looked through is the right thing: hashes are in it.
  expect(places.tables).toContain(hashOf(first));
  if (places.statements !== unread) expect(places.statements).toContain(hashOf(second));
});

/** Every row of every table of ours, as text, and what the sessions of the database run. */
async function tables(): Promise<string> {
  const names = await db.sql<{ name: string }>(
    "select c.relname as name from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'",
  );
  const rows = await Promise.all(
    names.map(({ name }) => db.sql<{ line: string }>(`select t::text as line from ${name} t`)),
  );
  const running = await db.sql<{ line: string }>('select query as line from pg_stat_activity');
  return [...rows.flat(), ...running].map(({ line }) => line).join('\n');
}

/** A server that was given to this run keeps its log where we may not read. */
const unread = `the log of this server is not at hand${' '.repeat(100)}`;

/** The server's log of this database's statements, with their parameters. */
async function statements(): Promise<string> {
  const { data_directory } = await db.one<{ data_directory: string }>('show data_directory');
  return readFile(`${data_directory}.log`, 'utf8').catch(() => unread);
}
