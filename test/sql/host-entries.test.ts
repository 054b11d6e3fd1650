/** Entries of allowed_hosts: the database refuses at the write what could never grant anything. */
import { expect, test } from 'vitest';
import { parseGrant } from '../../local/executors/http/grants.js';
import { useDatabase } from '../support/database.js';

const db = useDatabase();

const taken = [
  'api.github.com',
  '*.example.com',
  'http://127.0.0.1:8080',
  'https://[::1]:8443',
  'wiki.internal@10.0.0.0/8,fd00::/8',
  'localhost',
];
const refused = [
  '',
  '*',
  '*.*',
  'a b',
  'https://a.test/path',
  'ftp://a.test',
  'u@a.test@10.0.0.0/8',
  'a.test:http',
];

test.each([...taken, ...refused])('%j', async (entry) => {
  const { problems } = await db.one<{ problems: string[] }>(
    `select coalesce(array_agg(path) filter (where severity = 'error'), '{}') as problems
     from ops_validate_policy('worker_policy', jsonb_build_object('allowed_hosts', jsonb_build_array($1::text)))`,
    [entry],
  );
  expect(problems).toEqual(taken.includes(entry) ? [] : ['$.allowed_hosts[0]']);
  expect(parseGrant(entry) !== undefined).toBe(taken.includes(entry));
});
