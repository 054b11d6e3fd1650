import { expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';

const db = useDatabase();

type Json = unknown;

const pattern = (more: object = {}) => ({
  id: 'p1',
  event_type: 'x:y',
  template: { title: 'T', steps: [{ kind: 'noop', params: {} }] },
  ...more,
});
const setMatrix = (...patterns: Json[]) =>
  db.sql("select public.ops_set_policy('reaction_matrix', $1)", [JSON.stringify({ patterns })]);

test('follows every write of the matrix, disabled patterns left out', async () => {
  await setMatrix(
    pattern({ id: 'off', enabled: false }),
    pattern({
      id: 'full',
      name: 'Full',
      event_type: ['a:b', 'step:*:failed', '*:end'],
      source: 'github',
      tags: ['x', 'y'],
      where: '$.data.a == 1',
      probability: 0.5,
      cooldown_minutes: 1.5,
      cooldown_key: 'k{{event.data.a}}',
      limit: { count: 3, per_minutes: 60 },
      dedupe_key: '{{event.id}}',
      template: { title: '{{event.type}}', steps: [{ kind: 'noop', params: {} }] },
    }),
  );
  const rows = await db.sql('select * from public.ops_policy_patterns');
  const { version } = await db.one("select version from public.ops_policy where key = 'reaction_matrix'");
  expect(rows).toEqual([
    {
      pattern_id: 'full',
      revision: version,
      position: 2,
      name: 'Full',
      types: ['a:b'],
      likes: ['step:%:failed', '%:end'],
      system_likes: ['step:%:failed'],
      sources: ['github'],
      tags: ['x', 'y'],
      where_path: '($."data"."a" == 1)',
      probability: 0.5,
      cooldown_minutes: '1.5',
      cooldown_key: [{ lit: 'k' }, { ref: ['event', 'data', 'a'] }],
      limit_count: 3,
      limit_minutes: '60',
      limit_key: null,
      dedupe_key: [{ ref: ['event', 'id'] }],
      canary: null,
      template: { title: '{{event.type}}', steps: [{ kind: 'noop', params: {} }] },
      leaves: [{ path: ['title'], lone: true, parts: [{ ref: ['event', 'type'] }] }],
    },
  ]);
  await setMatrix(pattern({ event_type: '*', allow_system: true }));
  expect(await db.sql('select types, likes, system_likes from public.ops_policy_patterns')).toEqual([
    { types: [], likes: ['%'], system_likes: ['%'] },
  ]);
  await db.sql("delete from public.ops_policy where key = 'reaction_matrix'");
  expect(await db.sql('select from public.ops_policy_patterns')).toEqual([]);
});
