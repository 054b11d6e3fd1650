/** Every gate under fifty at once, again and again: what a policy bounds is never passed. */
import { describe, expect, test } from 'vitest';
import { type Json, noop, race, raceRounds, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;
const patience = 5_000 + raceRounds * 3_000;

const propose = (more: { [key: string]: Json } = {}, source = 'api') =>
  engine.port.createProposal({ template: { title: 'work', steps: [noop('one')], ...more }, source });
const count = async (what: string) => Number((await db.one(`select count(*) as n from ${what}`)).n);
const gated = (where = 'true') =>
  count(`ops_mission_proposals where gated_at is not null and status <> 'rejected' and ${where}`);

/** Runs the round so often, each from empty tables. */
async function again(round: (n: number) => Promise<void>): Promise<void> {
  for (let n = 1; n <= raceRounds; n++) {
    await round(n);
    await engine.forget();
  }
}

describe('caps', () => {
  test.each(['wait', 'reject'])(
    'of the day, the hour and the source hold together, on_exceed %s',
    async (on_exceed) => {
      await again(async (n) => {
        await engine.setPolicy('proposal_caps', {
          // In turns, so that each of the two is the one that binds.
          daily_limit: n % 2 === 0 ? 10 : 12,
          hourly_limit: n % 2 === 0 ? 12 : 10,
          per_source: { api: 2 + (n % 5) },
          on_exceed,
        });
        await race(50, (k) => propose({}, k % 2 === 0 ? 'api' : 'trigger'));
        expect(await gated("source = 'api'")).toBeLessThanOrEqual(2 + (n % 5));
        expect(await gated()).toBe(10);
        expect(await count('ops_missions')).toBe(10);
      });
    },
    patience,
  );

  test(
    'hold for callers under repeatable read, who count by what was there before they waited',
    async () => {
      await engine.setPolicy('proposal_caps', { daily_limit: 5 });
      await propose();
      await race(50, async () => {
        const caller = await db.connect();
        try {
          await caller.query('begin isolation level repeatable read');
          await caller.query(`select public.ops_create_proposal($1)`, [
            { title: 'work', steps: [noop('one')] },
          ]);
          await caller.query('commit');
        } catch (error) {
          expect(error).toMatchObject({ code: '40001' });
        } finally {
          await caller.end();
        }
      });
      expect(await gated()).toBeLessThanOrEqual(5);
      expect(await engine.port.checkInvariants()).toEqual([]);
    },
    patience,
  );

  test(
    'of what waits for a person',
    async () => {
      await engine.setPolicy('auto_approve', { enabled: false });
      await engine.setPolicy('proposal_caps', { max_pending: 3 });
      await again(async () => {
        await race(50, () => propose());
        expect(await gated("status = 'pending'")).toBe(3);
      });
    },
    patience,
  );

  test(
    'of a pattern, under beats at once',
    async () => {
      await engine.patterns({
        id: 'p',
        event_type: 'go:p',
        template: { title: 'work', steps: [noop('one')] },
      });
      await engine.setPolicy('proposal_caps', { per_pattern: { p: 4 } });
      await again(async () => {
        await engine.port.emitEvents({ events: Array.from({ length: 30 }, () => ({ type: 'go:p' })) });
        await race(50, () => engine.port.heartbeat({ source: 'reactive', eventBatch: 3, reactionBatch: 3 }));
        await engine.beat();
        expect(await gated("pattern_id = 'p'")).toBe(4);
      });
    },
    patience,
  );
});

test(
  'the daily limit of approval by itself',
  async () => {
    await engine.setPolicy('auto_approve', { enabled: true, allowed_step_kinds: ['noop'], daily_limit: 6 });
    await again(async () => {
      await race(50, () => propose({ risk_level: 'low' }));
      expect(await gated("status = 'auto_approved'")).toBe(6);
    });
  },
  patience,
);

describe('an approval', () => {
  test(
    'by fifty at once is one mission; against rejections at once exactly one side wins',
    async () => {
      await engine.setPolicy('auto_approve', { enabled: false });
      await again(async () => {
        const { id } = await propose();
        await race(50, (n) => engine.port.approveProposal({ id, actor: `p${n}` }));
        expect(await count('ops_missions')).toBe(1);
        const contested = (await propose()).id;
        const answers = await Promise.allSettled(
          Array.from({ length: 50 }, (_, n) =>
            n % 2 === 0
              ? engine.port.approveProposal({ id: contested, actor: `p${n}` })
              : engine.port.rejectProposal({ id: contested, actor: `p${n}`, reason: 'no' }),
          ),
        );
        const { status } = await db.one('select status from ops_mission_proposals where id = $1', [
          contested,
        ]);
        const won = answers.flatMap((a) => (a.status === 'fulfilled' ? [a.value.status] : []));
        expect(new Set(won)).toEqual(new Set([status]));
        expect(await count('ops_missions')).toBe(status === 'approved' ? 2 : 1);
      });
    },
    patience,
  );
});

describe('a claim', () => {
  test(
    'never passes max_running or a rate',
    async () => {
      await again(async (n) => {
        await engine.setPolicy('worker_policy', {
          executors: {
            noop: { max_running: 3 + (n % 4) },
            radar: { rate: { count: 5, per_minutes: 60 } },
          },
        });
        const listing = { kind: 'radar', depends_on: [], params: { action: 'list' } };
        await engine.mission([
          ...Array.from({ length: 20 }, (_, k) => noop(`n${k}`, { depends_on: [] })),
          ...Array.from({ length: 20 }, (_, k) => ({ key: `r${k}`, ...listing })),
        ]);
        const claims = (await race(50, () => engine.claim(2, ['noop', 'radar']))).flat();
        expect(claims.filter(({ executor }) => executor === 'noop')).toHaveLength(3 + (n % 4));
        expect(claims.filter(({ executor }) => executor === 'radar')).toHaveLength(5);
      });
    },
    patience,
  );
});

describe('a pattern', () => {
  test(
    'keeps its limit, its cooldown and the fan-out of a root event under beats at once',
    async () => {
      const work = { title: 'work', steps: [noop('one')] };
      await engine.patterns(
        { id: 'limited', event_type: 'go:l', limit: { count: 4, per_minutes: 60 }, template: work },
        { id: 'rests', event_type: 'go:c', cooldown_minutes: 60, template: work },
      );
      await engine.setPolicy('loop_limits', { max_fan_out: 100 });
      await again(async () => {
        const events = Array.from({ length: 40 }, (_, n) => ({ type: n % 2 === 0 ? 'go:l' : 'go:c' }));
        await engine.port.emitEvents({ events });
        await race(50, () => engine.port.heartbeat({ source: 'reactive', eventBatch: 2 }));
        await engine.beat();
        expect(await count("ops_agent_reactions where pattern_id = 'limited'")).toBe(4);
        expect(await count("ops_agent_reactions where pattern_id = 'rests'")).toBe(1);
      });
    },
    patience,
  );

  test(
    'never leads one root event to more reactions than the fan-out allows',
    async () => {
      const work = { title: 'work', steps: [noop('one')] };
      await engine.patterns(
        { id: 'root', event_type: 'go:wide', template: work },
        ...Array.from({ length: 8 }, (_, n) => ({
          id: `p${n}`,
          event_type: 'mission:succeeded',
          template: work,
        })),
      );
      await engine.setPolicy('loop_limits', { max_fan_out: 5 });
      await again(async () => {
        await engine.emit('go:wide');
        await engine.beat();
        await engine.complete(await engine.claim());
        await race(50, () => engine.port.heartbeat({ source: 'reactive', eventBatch: 1 }));
        await engine.beat();
        expect(await count('ops_agent_reactions')).toBe(5);
      });
    },
    patience,
  );
});
