/** What is explained is what happened: for every event and pattern of a day that saw every kind of decision. */
import { expect, test } from 'vitest';
import { advanceClock, setClock } from '../support/clock.js';
import { type Json, noop, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

type Explained = {
  sentences: string[];
  patterns: { pattern_id: string; outcome: string | null; clause: string | null }[];
};

const pattern = (id: string, more: { [key: string]: Json } = {}): Json => ({
  id,
  event_type: 'thing:*',
  template: { title: `about ${id}`, steps: [noop('one')] },
  ...more,
});

test('explain says of every event and pattern what was decided, and of the rest that the type is another', async () => {
  await setClock(db.sql, { at: '2026-03-01T00:00:00Z' });
  const patterns = [
    pattern('all'),
    pattern('where', { where: '$.data.n > 10' }),
    pattern('rests', { cooldown_minutes: 50 }),
    pattern('limited', { limit: { count: 2, per_minutes: 600 } }),
    pattern('maybe', { probability: 0.5 }),
    pattern('renders', { template: { title: '{{event.data.title}}', steps: [noop('one')] } }),
    pattern('other', { event_type: 'elsewhere:*' }),
    pattern('off', { enabled: false }),
  ];
  await engine.patterns(...patterns);
  await engine.port.pause({ scope: 'pattern:maybe' });
  for (let n = 0; n < 20; n++) {
    if (n === 10) await engine.port.resume({ scope: 'pattern:maybe' });
    await engine.emit(n % 4 === 3 ? 'weather:rain' : 'thing:seen', {
      n,
      ...(n % 2 === 0 && { title: `t${n}` }),
    });
    await engine.beat();
    await advanceClock(db.sql, '20 minutes');
  }
  const events = await db.sql<{ id: string }>(
    "select id from ops_agent_events where source = 'manual' or source = 'api'",
  );
  const decisions = await db.sql<{ key: string; outcome: string; clause: string | null }>(
    "select event_id || ' ' || pattern_id as key, outcome, clause from ops_event_decisions",
  );
  const decided = new Map(decisions.map((row) => [row.key, row]));
  let seen = 0;
  for (const { id } of events) {
    const { patterns: said, sentences } = (await engine.port.explainEvent({ id })) as unknown as Explained;
    for (const { pattern_id, outcome, clause } of said) {
      const row = decided.get(`${id} ${pattern_id}`);
      expect({ id, pattern_id, outcome, clause }).toEqual(
        row === undefined
          ? { id, pattern_id, outcome: 'unmatched', clause: 'type' }
          : { id, pattern_id, outcome: row.outcome, clause: row.clause },
      );
      seen += row === undefined ? 0 : 1;
    }
    expect(sentences.length).toBeGreaterThan(0);
  }
  expect(seen).toBe(decisions.length);
  expect(decisions.length).toBeGreaterThan(80);
});
