/**
 * What the tests would notice: each guard of the engine is taken out in turn, in a database of this file's own, and
 * programs, meetings or races have to find it within a few runs. docs/reliability.md lists them.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';
import { playRace, races } from './concurrency/counters.js';
import { playMeeting } from './concurrency/pairs.js';
import { openSession, openSessions, type Session } from './concurrency/sessions.js';
import type { Command } from './lifecycle/program.js';
import { claim, complete, fail, propose, step } from './lifecycle/regressions.js';
import { runProgram, runPrograms } from './lifecycle/run.js';
import { openWorld, type World } from './lifecycle/world.js';

const db = useDatabase();
let world: World;
let pair: [Session, Session];
let crew: Session[];
beforeAll(async () => {
  world = await openWorld(db);
  pair = [await openSession(db), await openSession(db)];
  crew = await openSessions(db, 6);
});
afterAll(() => world.close());

/** What is taken out: texts of a function, each of which must be there, or a constraint. */
type Guard =
  | { fn: string; out: [text: string, instead: string][] }
  | { table: string; constraint: string; alsoIn?: Guard };
type Hunt = () => Promise<void>;

async function takeOut(guard: Guard): Promise<() => Promise<void>> {
  if ('constraint' in guard) return dropConstraint(guard);
  const { definition } = await db.one<{ definition: string }>(
    'select pg_get_functiondef(p.oid) as definition from pg_proc p where p.proname = $1',
    [guard.fn],
  );
  let changed = definition;
  for (const [text, instead] of guard.out) {
    expect(changed, `${guard.fn} has the guard`).toContain(text);
    changed = changed.replaceAll(text, instead);
  }
  await db.sql(changed);
  return async () => void (await db.sql(definition));
}

async function dropConstraint(guard: Extract<Guard, { constraint: string }>): Promise<() => Promise<void>> {
  const { table, constraint, alsoIn } = guard;
  const { definition } = await db.one<{ definition: string }>(
    'select pg_get_constraintdef(oid) as definition from pg_constraint where conname = $1',
    [constraint],
  );
  const putBack = alsoIn === undefined ? async () => {} : await takeOut(alsoIn);
  await db.sql(`alter table ${table} drop constraint ${constraint}`);
  return async () => {
    await world.reset();
    await db.sql(`alter table ${table} add constraint ${constraint} ${definition}`);
    await putBack();
  };
}

const epoch = (alias: string, of: string): [string, string] => [
  `s.lease_epoch = ${alias}.${of} and s.status`,
  's.status',
];
const expired = 'and (p_expired_before is null or s.lease_expires_at < p_expired_before)';

const workersDo = ['propose', 'claim', 'complete', 'fail', 'renew', 'release', 'crash', 'stale'];
/** Drawn programs of what workers do, a fixed seed, no shrinking: the first violation is enough. */
const programs: Hunt = async () => {
  const { failed, report } = await runPrograms(world, {
    runs: 30,
    maxCommands: 60,
    only: workersDo,
    seed: 4711,
    hasty: true,
  });
  if (failed) throw new Error(report);
};
const program =
  (...commands: Command[]): Hunt =>
  () =>
    runProgram(world, commands);
const race =
  (name: keyof typeof races): Hunt =>
  async () => {
    const chosen = races[name];
    if (chosen === undefined) throw new Error(`there is no race ${name}`);
    for (let round = 0; round < 5; round++) await playRace(world, crew, chosen);
  };

const fired: Command[] = [
  ['reactionMatrix', { patterns: ['plain'] }],
  ['emit', [{ type: 'demo:a', n: 1, key: null }]],
  ['beat', {}],
];

const days = (n: number): Command => ['age', n * 86_400_000];
const archive: Command = ['archive', { days: 1, but: null, limit: 5_000 }];
/** A chain of which the first mission has ended and the second has not. */
const chain: Command[] = [
  ['reactionMatrix', { patterns: ['plain', 'repeats'] }],
  ['emit', [{ type: 'demo:a', n: 1, key: null }]],
  ['beat', {}],
  ...[1, 2].flatMap((): Command[] => [
    ['claim', { worker: 'ada', executors: ['noop'], limit: 3, leaseSeconds: 60 }],
    complete,
    ['beat', {}],
  ]),
];

const guards: [name: string, guard: Guard, hunt: Hunt, notices: RegExp][] = [
  [
    'the epoch in ops_complete_steps',
    { fn: 'ops_complete_steps', out: [epoch('i', 'epoch')] },
    programs,
    /held|quiet/,
  ],
  [
    'the epoch in ops_settle, for failures and recovery',
    { fn: 'ops_settle', out: [epoch('i', 'lease_epoch'), epoch('v', 'lease_epoch')] },
    programs,
    /held|quiet/,
  ],
  [
    'the epoch in ops_renew_leases',
    { fn: 'ops_renew_leases', out: [['and l.lease_epoch = s.lease_epoch', '']] },
    programs,
    /held|renewed|quiet/,
  ],
  [
    'the epoch in ops_release_steps',
    { fn: 'ops_release_steps', out: [epoch('l', 'lease_epoch')] },
    programs,
    /held|quiet/,
  ],
  [
    'unique (event, pattern)',
    { table: 'ops_agent_reactions', constraint: 'ops_agent_reactions_once' },
    program(...fired, ['copyBack', { nth: 0 }]),
    /fired twice/,
  ],
  [
    'one mission per proposal',
    {
      table: 'ops_missions',
      constraint: 'ops_missions_one_per_proposal',
      alsoIn: {
        fn: 'ops_create_missions',
        out: [['on conflict (proposal_id) do nothing', 'on conflict do nothing']],
      },
    },
    program(...fired, ['copyBack', { nth: 0 }]),
    /2 missions/,
  ],
  [
    'the lock of the caps',
    {
      fn: 'ops_lock_caps',
      out: [["perform public.ops_take_turn('proposal_caps')", 'null']],
    },
    race('a daily cap lets through exactly what it says'),
    /missions under a cap/,
  ],
  [
    'the lock of the cooldown counter',
    {
      fn: 'ops_apply_bounds',
      out: [
        ['order by l.key for update', 'order by l.key'],
        // The insert waits for whoever writes the same row, so it is a guard too.
        [
          'unnest(v_keys) k order by k',
          'unnest(v_keys) k where not exists (select from public.ops_limits o where o.key = k) order by k',
        ],
      ],
    },
    race('a cooldown fires once however many beats meet'),
    /firings in a window/,
  ],
  [
    'the lock of max_running',
    {
      fn: 'ops_executor_quota',
      out: [["perform public.ops_take_turn('executor:' || p_executor)", 'null']],
    },
    race('max_running is never exceeded'),
    /steps run/,
  ],
  [
    'the lock of the budgets',
    { fn: 'ops_open_budgets', out: [['order by b.key for update', 'order by b.key']] },
    race('a budget is never passed'),
    /steps run, the budget/,
  ],
  [
    'the lock of a key',
    {
      fn: 'ops_keep_within_keys',
      out: [["not pg_try_advisory_xact_lock(hashtextextended('ops key ' || v_key.key, 0))", 'false']],
    },
    race('one key runs one step'),
    /steps run under one key/,
  ],
  [
    'open dead letters keep their mission',
    {
      fn: 'ops_mission_is_asked_for',
      out: [
        [
          "or exists (select from public.ops_step_dead_letters d where d.step_id = s.id and d.state = 'open')",
          '',
        ],
      ],
    },
    program(propose(step()), claim, fail('permanent'), days(3), archive),
    /archived and is asked for/,
  ],
  [
    'a chain keeps the event that began it',
    {
      fn: 'ops_archive_events',
      out: [['where o.event_id = e.id and (r.status', 'where false and (r.status']],
    },
    program(...chain, days(3), archive),
    /archived while its chain is under way/,
  ],
  [
    'attempts stay with their open step',
    {
      fn: 'ops_archive_attempts',
      out: [["or s.status in ('blocked', 'scheduled', 'queued', 'running')", '']],
    },
    program(propose(step()), claim, fail('retryable'), days(3), archive),
    /archived and is asked for/,
  ],
  [
    'the second look at the lease in recovery',
    { fn: 'ops_settle', out: [[expired, '']] },
    () =>
      playMeeting(world, pair, {
        leases: 'live',
        first: 'renew',
        second: 'recover',
        by: [0, 0],
        steps: 1,
        late: true,
        commits: true,
      }).then(() => {}),
    /renewed and then taken/,
  ],
];

describe('a guard that is taken out is noticed', () => {
  test.each(guards)('%s', { timeout: 90_000 }, async (_name, guard, hunt, notices) => {
    const putBack = await takeOut(guard);
    try {
      await expect(hunt()).rejects.toThrow(notices);
    } finally {
      await putBack();
    }
  });

  test('and with all of them back in place nothing is', { timeout: 60_000 }, async () => {
    await runProgram(world, [...fired, ['copyBack', { nth: 0 }]]);
    for (const chosen of Object.values(races)) await playRace(world, crew, chosen);
  });
});
