/** The demand radar in SQL: a stage is left by legal moves only and each is told, whoever makes it; and merges. */
import { describe, expect, test } from 'vitest';
import { radarStages } from '../../supabase/client/terms.js';
import { advanceClock } from '../support/clock.js';
import { hold, noop, only, useEngine } from './engine-kit.js';
import { radarOn } from './radar-kit.js';

const engine = useEngine();
const { db } = engine;
const { add, named, move, events, types } = radarOn(engine);

const legal: Record<string, string[]> = {
  watching: ['validating', 'dropped'],
  validating: ['building', 'dropped'],
  building: ['shipped', 'dropped'],
  dropped: ['watching'],
  shipped: [],
};

describe('a stage', () => {
  /** A signal that has come to this stage by legal moves. */
  async function at(stage: string): Promise<string> {
    const id = await named(`at ${stage}`);
    const way =
      stage === 'dropped' ? ['dropped'] : radarStages.slice(1, radarStages.indexOf(stage as 'watching') + 1);
    for (const next of way) await move(id, next);
    await db.sql('delete from ops_agent_events');
    return id;
  }
  const pairs = radarStages.flatMap((from) =>
    radarStages.filter((to) => to !== from).map((to) => [from, to] as const),
  );

  test.each(pairs)('from %s to %s is as the table says, by the function and by hand', async (from, to) => {
    const ways = [
      (id: string) => move(id, to, 'because'),
      (id: string) =>
        db.sql('update ops_demand_radar set stage = $2, move_reason = $3 where id = $1', [id, to, 'because']),
    ];
    for (const way of ways) {
      const id = await at(from);
      if (legal[from]?.includes(to)) {
        await way(id);
        expect(await events()).toMatchObject([
          { type: `radar:${to}`, data: { signal_id: id, stage: to, from, reason: 'because' } },
        ]);
      } else {
        await expect(way(id)).rejects.toMatchObject({
          code: expect.stringMatching(/OPS?_?015/),
          message: expect.stringContaining(`from ${from} to ${to}`),
          hint: expect.stringContaining(legal[from]?.join(' or ') || 'Shipped is the end'),
        });
        expect(await types()).toEqual([]);
      }
      await db.sql('delete from ops_demand_radar');
    }
  });

  test('changes once, however often or at once it is asked for', async () => {
    const id = await named('once');
    const answers = await Promise.all(Array.from({ length: 20 }, () => move(id, 'validating', 'asked for')));
    expect(answers.filter(({ changed }) => changed)).toEqual([
      { id, stage: 'validating', from: 'watching', changed: true, next: ['building', 'dropped'] },
    ]);
    expect(await types()).toEqual(['radar:watching', 'radar:validating']);
  });

  test('says who moved it, why and when', async () => {
    const id = await named('signed');
    await engine.port.radarMove({ id, stage: 'validating', reason: 'ten asked', actor: 'anna' });
    expect(await engine.port.radarGet({ id })).toMatchObject({
      stage: 'validating',
      next: ['building', 'dropped'],
      moved_by: 'anna',
      move_reason: 'ten asked',
      moved_at: expect.any(String),
      moved_step: null,
    });
    await db.sql("update ops_demand_radar set stage = 'building' where id = $1", [id]);
    const { who } = await db.one('select session_user::text as who');
    expect(await engine.port.radarGet({ id })).toMatchObject({ moved_by: who, move_reason: null });
  });

  test('is refused a name that is none, and a signal that is none', async () => {
    const id = await named('x');
    await expect(move(id, 'done')).rejects.toMatchObject({
      code: 'OPS_011',
      hint: expect.stringContaining('watching, validating'),
    });
    await expect(move(crypto.randomUUID(), 'dropped')).rejects.toMatchObject({ code: 'OPS_012' });
  });

  test('and its event are one transaction', async () => {
    const id = await named('x');
    const undo = await hold(db, "select ops_radar_move($1, 'validating')", [id]);
    expect(await types()).toEqual(['radar:watching']);
    await undo();
    expect(await engine.port.radarGet({ id })).toMatchObject({ stage: 'watching' });
    expect(await types()).toEqual(['radar:watching']);
  });
});

describe('by hand', () => {
  test('a signal is inserted with a title alone, scored and told', async () => {
    await db.sql("insert into ops_demand_radar (title) values ('Dark mode')");
    const [signal] = await engine.port.radarList();
    expect(signal).toMatchObject({ dedupe_key: 'dark mode', score: 1, sources: 1, stage: 'watching' });
    expect(await types()).toEqual(['radar:watching']);
    await add({ title: 'dark mode' });
    await db.sql('update ops_demand_radar set weight = 4, mentions = 7');
    expect((await engine.port.radarList())[0]).toMatchObject({ score: 12, mentions: 7 });
  });

  test('signals that are copied back keep their stages and raise nothing', async () => {
    await move(await named('kept'), 'validating');
    await db.sql('delete from ops_agent_events');
    await db.sql(
      'create table radar_copy as select * from ops_demand_radar; truncate ops_demand_radar; insert into ops_demand_radar select * from radar_copy; drop table radar_copy',
    );
    expect((await engine.port.radarList())[0]).toMatchObject({ stage: 'validating', score: 1 });
    expect(await types()).toEqual([]);
  });
});

describe('a step', () => {
  const claim = async () => {
    await engine.mission([noop('hears')]);
    const { id, lease_epoch, mission_id } = only(await engine.claim());
    return { held: { stepId: id, leaseEpoch: lease_epoch }, mission_id };
  };

  test('counts one mention however often it is tried, and its events are of its mission', async () => {
    await engine.patterns({
      id: 'hear',
      event_type: 'wish:heard',
      template: { title: 'hear', steps: [noop('hears')] },
    });
    const { id: root } = await engine.emit('wish:heard');
    await engine.beat();
    const [step] = await engine.claim();
    const held = { stepId: step?.id, leaseEpoch: step?.lease_epoch };
    const hear = () => engine.port.radarAdd({ signals: [{ title: 'dark mode' }], ...held });
    const { id } = only(await hear());
    expect(only(await hear())).toMatchObject({ id, created: false, counted: false, mentions: 1 });
    await engine.port.radarMove({ id, stage: 'validating', ...held });
    const raised = await db.sql(
      "select type, source, trust, root_id = $1 as ours, depth, chain, mission_id = $2 as mission, data ->> 'step_id' = $3 as step from ops_agent_events where type like 'radar:%' order by created_at",
      [root, step?.mission_id, step?.id],
    );
    const place = {
      source: 'ops-loop',
      trust: 'loop',
      ours: true,
      depth: 1,
      chain: ['hear'],
      mission: true,
      step: true,
    };
    expect(raised).toEqual([
      { type: 'radar:watching', ...place },
      { type: 'radar:validating', ...place },
    ]);
    expect(await engine.port.radarGet({ id })).toMatchObject({
      moved_by: `step:${step?.id}`,
      moved_step: step?.id,
    });
  });

  test('makes a move once: tried again after others went on, it changes nothing', async () => {
    const { held } = await claim();
    const id = await named('x');
    const again = () => engine.port.radarMove({ id, stage: 'validating', ...held });
    expect(await again()).toMatchObject({ changed: true });
    await move(id, 'building');
    expect(await again()).toMatchObject({ changed: false, stage: 'building' });
    await engine.port.radarWeigh({ id, weight: 5, ...held });
    await engine.port.radarWeigh({ id, weight: 2 });
    expect(await engine.port.radarWeigh({ id, weight: 5, ...held })).toMatchObject({
      changed: false,
      weight: 2,
    });
  });

  test('without its lease changes nothing and is told so', async () => {
    const { held } = await claim();
    const id = await named('x');
    for (const lost of [{ ...held, leaseEpoch: held.leaseEpoch - 1 }, { stepId: crypto.randomUUID() }]) {
      const calls = [
        () => engine.port.radarAdd({ signals: [{ title: 'y' }], ...lost }),
        () => engine.port.radarMove({ id, stage: 'dropped', ...lost }),
        () => engine.port.radarWeigh({ id, weight: 9, ...lost }),
      ];
      for (const call of calls) await expect(call()).rejects.toMatchObject({ code: 'OPS_006' });
    }
    expect(await engine.port.radarList()).toMatchObject([{ title: 'x', stage: 'watching', weight: 1 }]);
  });

  test('that moves in a circle of rules is stopped by the loop limits', async () => {
    await engine.setPolicy('loop_limits', { max_depth: 2 });
    await engine.patterns({
      id: 'again',
      event_type: 'radar:*',
      template: { title: 'again', steps: [noop('again')] },
    });
    const id = await named('circle');
    const stages = ['dropped', 'watching', 'dropped', 'watching', 'dropped'];
    const made: string[] = [];
    for (const stage of stages) {
      await engine.beat();
      const [step] = await engine.claim();
      if (step === undefined) break;
      await engine.port.radarMove({ id, stage, stepId: step.id, leaseEpoch: step.lease_epoch });
      await engine.complete([step]);
      made.push(stage);
    }
    expect(made.length).toBeLessThan(stages.length);
    expect(await db.sql("select 1 as one from ops_agent_events where type = 'loop:suppressed'")).toHaveLength(
      1,
    );
  });

  test('is forgotten after 40 days by the sweep', async () => {
    const { held } = await claim();
    await engine.port.radarAdd({ signals: [{ title: 'x' }], ...held });
    const kept = "select key from ops_limits where key like 'radar:%'";
    expect(await db.sql(kept)).toHaveLength(1);
    await advanceClock(db.sql, '41 days');
    await engine.beat();
    expect(await db.sql(kept)).toEqual([]);
  });
});

describe('a merge', () => {
  const merge = (from: string, into: string) =>
    engine.port.radarMerge({ from, into, reason: 'the same', actor: 'anna' });

  test('counts one signal where the other is, now and from now on', async () => {
    const [from, into] = [await named('dark theme'), await named('dark mode')];
    await add({ title: 'dark theme', source: 'mail', tags: ['ui'] });
    expect(await merge(from, into)).toMatchObject({ id: into, changed: true, mentions: 3 });
    expect(await merge(from, into)).toMatchObject({ changed: false, mentions: 3 });
    expect(await add({ title: 'dark theme' })).toMatchObject({ id: into, created: false, mentions: 4 });
    expect(await engine.port.radarGet({ dedupeKey: 'dark theme' })).toMatchObject({
      id: into,
      mentions: 4,
      tags: ['ui'],
      sources: ['manual', 'mail'],
    });
    const gone = await engine.port.radarGet({ id: from });
    expect(gone).toMatchObject({
      stage: 'dropped',
      merged_into: into,
      next: [],
      move_reason: 'the same',
      moved_by: 'anna',
    });
    expect(gone.mentions).toBe(2);
    expect((await engine.port.radarGet({ id: into })).evidence).toHaveLength(4);
    expect((await events()).at(-1)).toMatchObject({
      type: 'radar:dropped',
      data: { signal_id: from, merged_into: into },
    });
  });

  test('counts a mention once, also when the merge falls between two tries', async () => {
    const [from, into] = [await named('a'), await named('b')];
    await add({ title: 'a', mention_key: 'k' });
    await merge(from, into);
    expect(await add({ title: 'a', mention_key: 'k' })).toMatchObject({
      id: into,
      counted: false,
      mentions: 3,
    });
  });

  test('follows a chain, and loses nothing to mentions that come meanwhile', async () => {
    const [a, b, c] = [await named('a'), await named('b'), await named('c')];
    const heard = Array.from({ length: 30 }, (_, n) => add({ title: ['a', 'b', 'c'][n % 3] ?? '' }));
    await Promise.all([...heard, merge(a, b).then(() => merge(b, c))]);
    expect(await engine.port.radarGet({ dedupeKey: 'a' })).toMatchObject({ id: c, mentions: 33 });
  });

  test.each<[string, (a: string, b: string) => Promise<unknown>]>([
    ['into itself', (a) => merge(a, a)],
    ['back', (a, b) => merge(a, b).then(() => merge(b, a))],
    [
      'when it is shipped',
      async (a, b) => {
        for (const stage of ['validating', 'building', 'shipped']) await move(a, stage);
        return merge(a, b);
      },
    ],
    ['and then moved', (a, b) => merge(a, b).then(() => move(a, 'watching'))],
  ])('is refused %s, with what to do', async (_, attempt) => {
    const [a, b] = [await named('a'), await named('b')];
    await expect(attempt(a, b)).rejects.toMatchObject({
      code: 'OPS_015',
      hint: expect.stringMatching(/[Mm]erged? (two|into)/),
    });
  });
});
