/** Locks: everything that touches the same missions at once ends without a deadlock reaching anybody. */
import { describe, expect, test } from 'vitest';
import { advanceClock } from '../support/clock.js';
import { blocked, hold, type Lease, noop, reviveByHand, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const side = (count: number) => Array.from({ length: count }, (_, n) => noop(`s${n}`, { depends_on: [] }));
const missionIds = async () =>
  (await db.sql<{ id: string }>('select id from ops_missions order by id')).map(({ id }) => id);

/** A generator of numbers that is the same in every run. */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * sides);
  };
}

describe('a beat', () => {
  test('that recovers leases in two phases is in no circle with a completion', async () => {
    // Two phases of one transaction lock missions: a beat that waited for one would break the order by id.
    await engine.mission([noop('one', { timeout_seconds: 1 })]);
    await engine.mission([noop('one', { timeout_seconds: 1 })]);
    const [low, high] = await missionIds();
    const leases = await engine.claim(2, ['noop'], 3600);
    const inHigh = leases.filter(({ mission_id }) => mission_id === high);
    await engine.renew(inHigh, -1);
    await advanceClock(db.sql, '5 minutes');
    const letGo = await hold(db, 'select from ops_missions where id = $1 for update', [low]);
    const completion = engine.complete(leases);
    await blocked(db, 1, 'the completion waits for the lower mission');
    const beat = engine.port.heartbeat({ source: 'reactive' });
    // Whether the beat waits too or passes over what is locked is its own affair.
    await Promise.race([beat, blocked(db, 2, 'the beat waits as well')]);
    await letGo();
    expect((await beat).failures).toEqual([]);
    await completion;
    expect(await db.sql("select from ops_mission_steps where status = 'running'")).toEqual([]);
  });

  test('that makes missions does not hold up a completion that wakes somebody', async () => {
    // A beat keeps the wake-up row to its end: nobody may wait for it.
    await engine.mission([noop('one'), noop('two')]);
    const leases = await engine.claim();
    await engine.port.workerIdle({ worker: 'w', executors: ['noop'] });
    const letGo = await hold(db, `select ops_create_proposal('{"title":"t","steps":[{"kind":"noop"}]}')`);
    expect(await engine.complete(leases)).toMatchObject([{ held: true }]);
    await letGo();
  });
});

type Dice = ReturnType<typeof dice>;

/** Eight callers that each do what the others do, to the same dozen missions; answers what went wrong for them. */
async function turmoil(more: ((roll: Dice) => Promise<unknown>)[] = []): Promise<unknown[]> {
  // Retries are due at once, and no breaker opens: so much failure is meant here.
  await engine.setPolicy('worker_policy', {
    backoff: { base_seconds: 0.01, cap_seconds: 0.01 },
    breaker: { consecutive: 1000 },
  });
  const wrong: unknown[] = [];
  const ids: string[] = [];
  const begin = async () =>
    void ids.push(await engine.mission([...side(4), noop('end', { depends_on: ['s0', 's1', 's2', 's3'] })]));
  for (let n = 0; n < 12; n++) await begin();
  // The latest ones: those that are still moving.
  const anyone = (roll: Dice) => ids[ids.length - 1 - roll(Math.min(ids.length, 12))] ?? '';
  const finish = async (roll: Dice) => {
    const leases: Lease[] = await engine.claim(1 + roll(12), ['noop'], roll(4) === 0 ? -1 : 60);
    const mixed = leases.sort(() => roll(3) - 1);
    const cut = roll(mixed.length + 1);
    await engine.renew(mixed);
    await engine.complete(mixed.slice(0, cut));
    await engine.fail(
      mixed.slice(cut),
      (['retryable', 'permanent', 'unknown', 'cancelled'] as const)[roll(4)] ?? 'retryable',
    );
  };
  const requeueOne = async (roll: Dice) => {
    const letters = await engine.port.listDeadLetters({ limit: 5 });
    const letter = letters[roll(Math.max(letters.length, 1))];
    if (letter !== undefined) await engine.port.requeueDeadLetter({ id: letter.id });
  };
  const moves = [
    finish,
    finish,
    finish,
    begin,
    requeueOne,
    (roll: Dice) => engine.port.retryMission({ id: anyone(roll) }),
    (roll: Dice) => engine.port.cancelMission({ id: anyone(roll) }),
    () => engine.port.recoverExpiredLeases(),
    () => engine.port.recoverStaleSteps({ minutes: 0 }),
    async () => void wrong.push(...(await engine.port.heartbeat({ source: 'reactive' })).failures),
    ...more,
  ];
  const caller = async (seed: number) => {
    const roll = dice(seed);
    for (let round = 0; round < 25; round++)
      // A refusal is an answer (a mission that has nothing to retry); anything else is not.
      await moves[roll(moves.length)]?.(roll).catch((error) => error.code === 'OPS_015' || wrong.push(error));
  };
  await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(caller));
  return wrong;
}

/** Beats and claims until every mission has ended. */
async function drain(): Promise<void> {
  const open = async () => (await db.sql('select from ops_missions where completed_at is null')).length;
  for (let round = 0; round < 40 && (await open()) > 0; round++) {
    await advanceClock(db.sql, '1 hour');
    await engine.beat();
    await engine.complete(await engine.claim(200));
  }
  expect(await db.sql('select id, status from ops_missions where completed_at is null')).toEqual([]);
}

describe('everything at once on the same missions', () => {
  test('raises no deadlock to any caller and leaves nothing contradictory', async () => {
    expect(await turmoil()).toEqual([]);
    expect(await engine.port.checkInvariants()).toEqual([]);
    await drain();
    expect(await engine.port.checkInvariants()).toEqual([]);
  });

  test('with operators who revive by hand what failed raises none to them either', async () => {
    // A typed statement finds its missions row by row, yet has to lock them in id order like everybody.
    let typed = 0;
    const byHand = async () => {
      await db.sql(`${reviveByHand} where status = 'failed'`);
      typed++;
    };
    expect(await turmoil([byHand, byHand])).toEqual([]);
    expect(typed).toBeGreaterThan(0);
    await drain();
  });
});
