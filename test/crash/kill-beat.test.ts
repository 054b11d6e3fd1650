/** SIGKILL of a beat, in the middle of a phase and between rounds: no half batch, and the next beat does the rest. */
import { expect, test } from 'vitest';
import { blocked, hold } from '../sql/engine-kit.js';
import { until } from '../support/until.js';
import { useScene } from './scene.js';

const scene = useScene();
const { engine, db } = scene;

/** The table that each phase is the first to write; holding it stops a beat in there. */
const phases = [
  { phase: 'decides events', table: 'ops_event_decisions' },
  { phase: 'makes proposals of reactions', table: 'ops_mission_proposals' },
  { phase: 'makes missions', table: 'ops_missions' },
  { phase: 'recovers leases', table: 'ops_step_dead_letters' },
  { phase: 'records itself', table: 'ops_heartbeats' },
];
const events = 3;

/** Events that wait for a decision, and a lease of each kind that has run out. */
async function workForEveryPhase() {
  const template = { title: 'reaction', steps: [{ key: 'only', kind: 'noop' }] };
  await engine.patterns({ id: 'react', event_type: 'crash:beat', template });
  const leases = { post: await scene.mission('post'), wire: await scene.mission('wire') };
  await engine.claim(2, ['post', 'wire']);
  await scene.pastLeases();
  for (let n = 0; n < events; n++) await engine.emit('crash:beat', { n });
  return leases;
}

async function expectDoneOnce(leases: Awaited<ReturnType<typeof workForEveryPhase>>): Promise<void> {
  const count = async (what: string) =>
    (await db.one<{ n: number }>(`select count(*)::int as n from ${what}`)).n;
  expect({
    fired: await count("ops_agent_events where type = 'crash:beat' and outcome = 'fired'"),
    decisions: await count("ops_event_decisions where pattern_id = 'react'"),
    reactions: await count("ops_agent_reactions where status = 'done'"),
    proposals: await count("ops_mission_proposals where title = 'reaction'"),
    missions: await count("ops_missions where title = 'reaction'"),
    steps: await count("ops_mission_steps where executor = 'noop' and status = 'queued'"),
  }).toEqual({
    fired: events,
    decisions: events,
    reactions: events,
    proposals: events,
    missions: events,
    steps: events,
  });
  expect(await scene.story(leases.post)).toMatchObject({
    step: 'queued',
    attempts: ['crashed'],
    letters: [],
  });
  expect(await scene.story(leases.wire)).toMatchObject({
    step: 'failed',
    attempts: ['crashed'],
    letters: ['unknown'],
  });
}

const goneAway = () =>
  until(
    async () => (await db.sql("select from pg_stat_activity where application_name = 'doomed'")).length === 0,
    {
      what: 'the connections of the killed beat end',
    },
  );
const beats = () => db.sql('select ok, rounds, source from ops_heartbeats order by started_at');

const killedIn = async (table: string, ends: boolean) => {
  const letGo = await hold(db, `lock table ${table} in exclusive mode`);
  const child = scene.child({ name: 'doomed', beatBatch: 500 });
  const pids = await blocked(db, 1, 'the beat');
  await child.kill();
  if (ends) for (const pid of pids) await db.sql('select pg_terminate_backend($1)', [pid]);
  await letGo();
  await goneAway();
};

test.each(phases)(
  'a beat that is killed while it $phase, its backend with it, has done nothing',
  async ({ table }) => {
    const leases = await workForEveryPhase();
    await killedIn(table, true);
    expect(await beats()).toEqual([]);
    await engine.beat('after');
    await expectDoneOnce(leases);
    expect(await beats()).toEqual([{ ok: true, rounds: 1, source: 'after' }]);
  },
);

test('a beat that is killed while its backend goes on alone has done everything', async () => {
  const leases = await workForEveryPhase();
  await killedIn('ops_event_decisions', false);
  expect(await beats()).toEqual([{ ok: true, rounds: 1, source: 'cron' }]);
  await expectDoneOnce(leases);
  await engine.beat('after');
  await expectDoneOnce(leases);
});

test('a beat that is killed between two rounds: what the first did stands, the next beat does the rest', async () => {
  const leases = await workForEveryPhase();
  const child = scene.child({ name: 'doomed', gate: 'next round', beatBatch: 1 });
  await child.at('next round');
  await child.kill();
  await goneAway();
  const decided = () =>
    db.sql("select from ops_agent_events where type = 'crash:beat' and outcome is not null");
  expect(await decided()).toHaveLength(1);
  expect(await beats()).toEqual([{ ok: true, rounds: 1, source: 'cron' }]);
  await engine.beat('after');
  await expectDoneOnce(leases);
});

test('a beat that nobody kills does all of it in one go', async () => {
  const leases = await workForEveryPhase();
  const child = scene.child({ name: 'steady', beatBatch: 1 });
  expect(await child.beat()).toMatchObject({
    ok: true,
    more: false,
    triggerResult: { events, queued: events },
  });
  expect(await child.exit).toEqual({ code: 0, signal: null });
  await expectDoneOnce(leases);
});
