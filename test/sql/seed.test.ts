import examples from '@octokit/webhooks-examples/api.github.com/index.json' with { type: 'json' };
import { expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';

const db = useDatabase();

type Json = unknown;

const classic = ['agent_roles', 'auto_approve', 'proposal_caps', 'reaction_matrix', 'worker_policy'];

test('holds the five classic policies, valid and without a warning', async () => {
  const keys = await db.sql('select key from public.ops_policy where key = any ($1) order by key', [classic]);
  expect(keys.map(({ key }) => key)).toEqual(classic);
  expect(
    await db.sql('select p.key, v.* from public.ops_policy p, public.ops_validate_policy(p.key, p.value) v'),
  ).toEqual([]);
});

test('names every pattern and uses only noop and radar, which auto_approve allows', async () => {
  const rows = await db.sql(
    "select pattern_id from public.ops_policy_patterns where coalesce(name, '') = ''",
  );
  expect(rows).toEqual([]);
  const kinds = await db.sql(
    "select distinct coalesce(s ->> 'executor', s ->> 'kind') as kind from public.ops_policy_patterns, jsonb_array_elements(template -> 'steps') s order by 1",
  );
  expect(kinds).toEqual([{ kind: 'noop' }, { kind: 'radar' }]);
});

test('leaves out what has an environment variable', async () => {
  const rows = await db.sql(
    "select from public.ops_policy where value ?| array['lease_minutes', 'stale_minutes']",
  );
  expect(rows).toEqual([]);
});

const real = examples.flatMap(({ name, examples: payloads }) =>
  (payloads as { action?: string }[]).map((data) => ({
    type: ['github', name, data.action].filter(Boolean).join(':'),
    data,
  })),
);
const issue = real.find(({ type }) => type === 'github:issues:opened')?.data as { issue: object };
const titled = {
  type: 'github:issues:opened',
  data: { ...issue, issue: { ...issue.issue, title: 'Please add a dark mode' } },
};
const labelled = {
  type: 'github:issues:opened',
  data: { ...issue, issue: { ...issue.issue, labels: [{ name: 'enhancement' }] } },
};
const dead = { type: 'step:dead_lettered', data: { kind: 'noop', step_id: 'x', error: 'boom' } };
const hello = { type: 'demo:hello', data: {} };

/** Ids of the patterns that would fire, each with the error of its rendering. */
const firing = (events: { type: string; data: Json }[]) =>
  db.sql<{ place: number; pattern_id: string; error: string | null; key_error: string | null }>(
    `select (e.ordinality - 1)::int as place, p.pattern_id, r.error, k.error as key_error
     from jsonb_array_elements($1) with ordinality e(event)
     join public.ops_policy_patterns p on e.event ->> 'type' = any (p.types) or e.event ->> 'type' like any (p.likes)
     cross join lateral public.ops_render_tree(p.template, p.leaves, jsonb_build_object('event', e.event)) r
     cross join lateral public.ops_render_text(p.dedupe_key, jsonb_build_object('event', e.event)) k
     where p.where_path is null or jsonb_path_query_first(e.event, p.where_path, '{}', true) not in ('null', 'false')`,
    [JSON.stringify(events)],
  );

test('reacts to real GitHub payloads with every pattern, and renders them all', async () => {
  const fired = await firing([...real, titled, labelled, dead, hello]);
  expect(fired.filter(({ error, key_error }) => error !== null || key_error !== null)).toEqual([]);
  const ids = await db.sql<{ pattern_id: string }>('select pattern_id from public.ops_policy_patterns');
  expect(new Set(fired.map(({ pattern_id }) => pattern_id))).toEqual(
    new Set(ids.map(({ pattern_id }) => pattern_id)),
  );
});

test('tells feature requests from bug reports by label or by title', async () => {
  const bug = { type: 'github:issues:opened', data: issue };
  const fired = (await firing([bug, titled, labelled])).filter(
    ({ pattern_id }) => pattern_id === 'feature-request',
  );
  expect(fired.map(({ place }) => place).sort()).toEqual([1, 2]);
});

test('reacts to failed checks and not to green ones', async () => {
  const checks = real.filter(({ type }) => type === 'github:check_run:completed');
  const fired = await firing(checks);
  const conclusions = fired.map(
    ({ place }) =>
      (checks[place]?.data as { check_run: { conclusion: string } } | undefined)?.check_run.conclusion,
  );
  expect(conclusions).toEqual(['failure']);
});

test('leaves security alerts and releases to a person', async () => {
  const rows = await db.sql(
    "select pattern_id from public.ops_policy_patterns where template ->> 'risk_level' in ('high', 'critical') order by 1",
  );
  expect(rows.map(({ pattern_id }) => pattern_id)).toEqual(['release-published', 'security-alert']);
});
