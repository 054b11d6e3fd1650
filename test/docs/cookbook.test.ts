/** docs/cookbook: every recipe is valid, decides its fixtures as they say, and goes together with every other. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { judge, readFixtures } from '../../local/cli/commands/policy-test.js';
import { applied, readLive, readSource, type Source, type Standing } from '../../local/cli/policy-sources.js';
import { projectRoot } from '../../local/env.js';
import { type Database, openDatabase } from '../../supabase/client/pg.js';
import { simulate } from '../../supabase/client/simulation.js';
import { policyKeys } from '../../supabase/client/terms.js';
import { alertmanager } from '../../vercel/app/webhooks/alertmanager.js';
import { stripe } from '../../vercel/app/webhooks/stripe.js';
import { useDatabase } from '../support/database.js';
import { placeOf, readmeOf, recipes, samplesOf } from './cookbook-kit.js';

const db = useDatabase();
let opened: Database;
beforeAll(() => {
  opened = openDatabase({ connectionString: db.url, max: 5 });
});
afterAll(() => opened.close());

const Data = z.record(z.string(), z.json());
const matrixOf = (policies: object) =>
  (policies as { reaction_matrix: { patterns: { id: string }[] } }).reaction_matrix.patterns;

test('there is a recipe for each of these', () => {
  expect(recipes.sort()).toEqual([
    'content-pipeline',
    'cost-guard',
    'dead-letter-review',
    'demand-radar',
    'deployment',
    'failed-ci',
    'incident-response',
    'nightly-report',
    'security-alert',
    'stripe-follow-up',
  ]);
  const index = readFileSync(join(projectRoot, 'docs/cookbook/README.md'), 'utf8');
  expect(recipes.filter((recipe) => !index.includes(`(${recipe}/README.md)`))).toEqual([]);
});

describe.each(recipes)('%s', (recipe) => {
  test('says of each fixture what is expected, and every pattern of it fires in one', async () => {
    const { fixtures, drafts } = await readFixtures(placeOf(recipe));
    const verdicts = await Promise.all(fixtures.map((fixture) => judge(opened.port, drafts, fixture)));
    expect(verdicts.filter(({ ok }) => !ok)).toEqual([]);
    const fired = fixtures.flatMap(({ expect: said }) =>
      Object.keys(said).filter((id) => said[id] === 'fired'),
    );
    expect(matrixOf(drafts).filter(({ id }) => !fired.includes(id))).toEqual([]);
  });

  test('has sample events that lead to something, and fail nowhere', async () => {
    const { policies } = await readSource(placeOf(recipe));
    const { draft } = await simulate(opened.port, { drafts: policies, events: samplesOf(recipe) });
    const outcomes = Object.values(draft.patterns);
    expect(outcomes.some(({ fired = 0 }) => fired > 0)).toBe(true);
    expect(outcomes.filter(({ failed = 0 }) => failed > 0)).toEqual([]);
  });

  test('grants nothing, and replaces no list of the operator', async () => {
    const { policies } = await readSource(placeOf(recipe));
    const { reaction_matrix: _, schedules: __, ...others } = policies;
    expect(['worker_policy', 'budgets']).toEqual(expect.arrayContaining(Object.keys(others)));
    const members = Object.values(others).flatMap((value) => Object.entries(Data.parse(value)));
    expect(members.filter(([name, member]) => /^allowed_/.test(name) || Array.isArray(member))).toEqual([]);
  });

  test('has a README of 20 to 40 lines that says how to try it and what it never does', () => {
    const readme = readmeOf(recipe);
    const lines = readme.trimEnd().split('\n').length;
    expect(lines).toBeGreaterThanOrEqual(20);
    expect(lines).toBeLessThanOrEqual(40);
    for (const command of ['policy test', 'policy simulate', 'policy apply'])
      expect(readme).toContain(`ops-loop ${command}`);
    expect(readme).toMatch(/^\*\*Never by itself:\*\*/m);
    expect(readme).toMatch(/^```sql$/m);
  });
});

test('all of them go together, in any order, without a complaint, and a second time change nothing', async () => {
  const sources = await Promise.all(recipes.map((recipe) => readSource(placeOf(recipe))));
  const live = await readLive(opened.port, policyKeys);
  const cook = (from: Standing[], order: Source[]): Standing[] =>
    order.reduce((standing, source) => {
      const values = applied(
        source,
        standing.filter(({ key }) => key in source.policies),
      );
      return standing.map((one) => ({ ...one, value: values[one.key] ?? one.value }));
    }, from);
  const all = cook(live, sources);
  expect(cook(all, sources)).toEqual(all);
  expect(cook(live, sources.toReversed()).map(inOrder)).toEqual(all.map(inOrder));
  for (const { key, value } of all)
    if (value !== undefined) expect(await opened.port.validatePolicy({ key, value })).toEqual([]);
});

test('samples of Alertmanager and Stripe are what their webhooks make', () => {
  const sent = { headers: new Headers(), body: new Uint8Array(), receivedAt: new Date() };
  for (const sample of samplesOf('incident-response')) {
    const { group, ...alert } = z.object({ group: Data }).catchall(z.json()).parse(sample.data);
    const events = alertmanager.toEvents({ source: 'alertmanager', ...sent }, { ...group, alerts: [alert] });
    expect(events).toMatchObject([sample]);
  }
  for (const sample of samplesOf('stripe-follow-up'))
    expect(stripe.toEvents({ source: 'stripe', ...sent }, Data.parse(sample.data))).toMatchObject(sample);
});

/** Lists that are told apart by ids may stand in any order. */
function inOrder(value: unknown): unknown {
  if (Array.isArray(value))
    return value.map(inOrder).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).map(([name, member]) => [name, inOrder(member)] as const);
  return Object.fromEntries(members.sort(([a], [b]) => (a < b ? -1 : 1)));
}
