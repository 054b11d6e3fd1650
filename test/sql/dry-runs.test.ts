/** Dry runs: told apart from the real thing wherever somebody looks, and as strict as it where they can be. */
import { describe, expect, test } from 'vitest';
import { type Json, noop, type StepTemplate, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const list = (items: Json, more: StepTemplate = {}): StepTemplate =>
  noop('all', { for_each: { items, max: 2 }, params: { echo: '{{item}}' }, depends_on: [], ...more });
const rehearse = async (...steps: StepTemplate[]): Promise<string> => {
  const template = { title: 'only to see', dry_run: true, steps };
  const { mission_id } = await engine.port.createProposal({ template });
  if (mission_id === null) throw new Error('the dry run was not approved');
  return mission_id;
};
const drain = async (): Promise<void> => {
  for (let claimed = await engine.claim(); claimed.length > 0; claimed = await engine.claim())
    await engine.complete(claimed, { dry_run: true });
};
const said = async (id: string): Promise<string> => (await engine.port.why({ id })).sentences.join('\n');
const labels = ({ label, children }: { label: string; children?: unknown }): string[] => [
  label,
  ...(children as { label: string; children?: unknown }[]).flatMap(labels),
];

describe('a dry run', () => {
  test('says so in why and trace of its event, proposal, mission, steps and attempts', async () => {
    const template = { title: 'w', steps: [noop('a'), noop('b', { when: '$.event.data.x' })] };
    await engine.patterns({ id: 'p', event_type: 'go:p', canary: 0, template });
    const { id: event } = await engine.emit('go:p', { x: false });
    await engine.beat();
    await drain();
    const { id: mission, proposal_id } = await db.one<{ id: string; proposal_id: string }>(
      'select id, proposal_id from ops_missions',
    );
    expect(await said(event)).toContain(`the proposal ${proposal_id} (auto_approved, dry run) came of it`);
    expect(await said(proposal_id)).toContain('Proposal "w" (dry run, risk low) was approved');
    expect(await said(mission)).toContain('Mission "w" (dry run: no executor is called) is succeeded');
    const { id } = await engine.step(mission, 'a');
    expect(await said(id)).toContain('on worker w as a dry run: executor noop was not called');
    expect(await said((await engine.step(mission, 'b')).id)).toContain('Its mission is a dry run');
    expect(
      labels(await engine.port.trace({ id: event })).filter((label) => label.includes('dry run')),
    ).toEqual([
      'w (dry run)',
      'w (dry run)',
      'a (noop), dry run',
      expect.stringMatching(/^by w, .* s, dry run$/),
      'b (noop), dry run',
    ]);
  });

  test('marks its events, also of what failed, and is counted apart by status', async () => {
    await rehearse(noop('a'), noop('b'));
    await drain();
    await rehearse(noop('c'));
    await engine.fail(await engine.claim(), 'permanent');
    await engine.mission([noop('real')]);
    await drain();
    const events = await db.sql<{ type: string; dry: boolean }>(
      `select type, coalesce((data -> 'dry_run')::boolean, false) as dry from ops_agent_events
       where type ~ '^(step|mission):' order by type`,
    );
    const types = (wanted: boolean) => events.filter(({ dry }) => dry === wanted).map(({ type }) => type);
    expect(types(true)).toEqual([
      'mission:failed',
      'mission:succeeded',
      'step:dead_lettered',
      'step:noop:failed',
      'step:noop:succeeded',
      'step:noop:succeeded',
    ]);
    expect(types(false)).toEqual(['mission:succeeded', 'step:noop:succeeded']);
    expect(await engine.port.status()).toMatchObject({
      steps: { succeeded: 1 },
      dry_runs: { succeeded: 2, failed: 1 },
    });
  });

  test.each([
    ['over more items than its max', list([1, 2, 3]), 'has 3 items, more than its max of 2'],
    ['over what is no list', list('{{mission.title}}'), 'is no list'],
    ['whose item lacks a field', list([{}], { params: { echo: '{{item.x}}' } }), 'item.x is missing'],
    [
      'whose item does not fit',
      list(['long'], { params: { sleep_ms: '{{item}}' } }),
      'item 0: $.steps[0].params.sleep_ms',
    ],
    [
      'whose params do not fit',
      noop('a', { params: { sleep_ms: '{{mission.title}}' } }),
      '$.steps[0].params.sleep_ms',
    ],
  ])('fails like the real one where it needs no result to know: %s', async (_, step, error) => {
    const mission = await rehearse(step);
    const row = await engine.step(mission, String(step.key));
    expect(row).toMatchObject({ status: 'failed', last_error: expect.stringContaining(error) });
  });

  test('goes on where only a result could tell, and counts the items that it knows of', async () => {
    const after = { depends_on: ['look'] };
    const mission = await rehearse(
      noop('look', { depends_on: [] }),
      list('{{steps.look.result.found}}', after),
      { ...list('{{steps.look.result}}', after), key: 'odd' },
      { ...list([1, 2], { ...after, params: { echo: '{{item}} {{steps.look.result.x}}' } }), key: 'two' },
    );
    await drain();
    expect(await engine.statuses(mission)).toEqual({
      look: 'succeeded',
      all: 'succeeded',
      odd: 'succeeded',
      two: 'succeeded',
      'two[0]': 'succeeded',
      'two[1]': 'succeeded',
    });
    const many = await rehearse(
      { ...list([1, 2]), key: 'look' },
      list('{{steps.look.result}}', { ...after, for_each: { items: '{{steps.look.result}}', max: 1 } }),
    );
    await drain();
    expect(await engine.step(many, 'all')).toMatchObject({
      last_error: expect.stringContaining('has 2 items, more than its max of 1'),
    });
  });
});

test('why of a step over a list speaks of its items, and of an item says whose it is', async () => {
  const mission = await engine.mission([
    list([1, 2], { on_failure: 'continue' }),
    { ...list([]), key: 'none' },
  ]);
  const [first, second] = await engine.claim();
  if (!first || !second) throw new Error('two items were expected');
  await engine.complete([first]);
  const { id } = await engine.step(mission, 'all');
  expect(await said(id)).toMatch(/^Step all waits for the steps of its items: 1 running, 1 succeeded\.\n/);
  expect(await said(second.id)).toContain('It is item 1 of step all, from 0.');
  await engine.fail([second], 'permanent');
  expect(await said(id)).toMatch(
    /^Step all succeeded at .*: the steps of its 2 items have ended \(1 failed, 1 succeeded\)\.\n/,
  );
  expect(await said((await engine.step(mission, 'none')).id)).toMatch(
    /^Step none succeeded at .*: its list was empty\.\n/,
  );
});
