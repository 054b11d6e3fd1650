import { expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';

const db = useDatabase();

type Json = unknown;
async function problems(template: Json): Promise<string[]> {
  const rows = await db.sql<{ path: string; message: string; fix: string | null }>(
    'select * from public.ops_template_problems($1)',
    [JSON.stringify(template)],
  );
  for (const { fix } of rows) expect(fix).toMatch(/\S/);
  return rows.map(({ path, message }) => `${path} ${message}`);
}

const mission = (...steps: Json[]) => ({ title: 'A mission', steps });

test('a sound template has no problems', async () => {
  const template = {
    title: 'About {{event.data.title ?? "nothing"}}',
    risk_level: 'low',
    steps: [
      { key: 'look', kind: 'noop', params: { echo: '{{event.data}}' } },
      {
        key: 'left',
        kind: 'check',
        executor: 'noop',
        depends_on: ['look'],
        when: '$.steps.look.result.echo.ok == true',
      },
      {
        key: 'right',
        kind: 'noop',
        depends_on: ['look'],
        params: { sleep_ms: '{{event.data.wait ?? 1}}' },
      },
      {
        key: 'end',
        kind: 'noop',
        depends_on: ['left', 'right'],
        params: { echo: '{{steps.look.result}} {{mission.id}}' },
      },
    ],
  };
  expect(await problems(template)).toEqual([]);
});

test.each<[string, Json, RegExp]>([
  ['no steps', mission(), /^\$\.steps is empty/],
  ['no title', { steps: [{ kind: 'noop' }] }, /^\$\.title is missing/],
  ['a typo in a member', mission({ kind: 'noop', parms: {} }), /^\$\.steps\[0\]\.parms is not known here/],
  [
    'a wrong type',
    mission({ kind: 'noop', priority: 'high' }),
    /^\$\.steps\[0\]\.priority must be an integer/,
  ],
  [
    'a key used twice',
    mission({ key: 'a', kind: 'noop' }, { key: 'a', kind: 'noop' }),
    /^\$\.steps\[1\]\.key is a, and an earlier/,
  ],
  [
    "a key that is another step's default",
    mission({ key: 'step_2', kind: 'noop' }, { kind: 'noop' }),
    /^\$\.steps\[1\]\.key is step_2/,
  ],
  [
    'a key of the wrong shape',
    mission({ key: 'a b', kind: 'noop' }),
    /^\$\.steps\[0\]\.key must be a key of letters/,
  ],
  [
    'an unknown executor',
    mission({ kind: 'noop', executor: 'nobody' }),
    /^\$\.steps\[0\]\.executor OPS_005: there is no executor nobody/,
  ],
  ['an unknown kind without executor', mission({ kind: 'nobody' }), /^\$\.steps\[0\]\.kind OPS_005/],
  [
    'params the executor refuses',
    mission({ kind: 'noop', params: { sleep_ms: -1 } }),
    /^\$\.steps\[0\]\.params\.sleep_ms is -1, below 0/,
  ],
  [
    'params nobody knows',
    mission({ kind: 'noop', params: { sleep: 1 } }),
    /^\$\.steps\[0\]\.params\.sleep is not known here/,
  ],
  [
    'a form of params that is incomplete',
    mission({ kind: 'radar', params: { action: 'add' } }),
    /^\$\.steps\[0\]\.params\.title is missing/,
  ],
  [
    'a step that waits for itself',
    mission({ key: 'a', kind: 'noop', depends_on: ['a'] }),
    /depends_on names the step itself/,
  ],
  [
    'a step that waits for nobody',
    mission({ key: 'a', kind: 'noop', depends_on: ['b'] }),
    /depends_on names b, and no step/,
  ],
  [
    'a circle',
    mission({ key: 'a', kind: 'noop', depends_on: ['b'] }, { key: 'b', kind: 'noop', depends_on: ['a'] }),
    /^\$\.steps wait for each other in a circle: a, b/,
  ],
  [
    'a condition that does not parse',
    mission({ kind: 'noop', when: '$.a ==' }),
    /^\$\.steps\[0\]\.when is no SQL\/JSON path/,
  ],
  [
    'a condition over a step that is not there',
    mission(
      { key: 'a', kind: 'noop' },
      { kind: 'noop', when: 'exists($.steps.a.result) && $.steps."zz".x == 1' },
    ),
    /^\$\.steps\[1\]\.when asks for \$\.steps\.zz, and no step has that key/,
  ],
  ['a condition too dear', mission({ kind: 'noop', when: '$.**.a == 1' }), /^\$\.steps\[0\]\.when uses \*\*/],
  ['a placeholder in a kind', mission({ kind: '{{event.data.kind}}' }), /^\$\.steps\[0\]\.kind must be/],
  [
    'a placeholder in a condition',
    mission({ kind: 'noop', when: '$.x == "{{event.x}}"' }),
    /^\$\.steps\[0\]\.when holds a placeholder/,
  ],
  [
    'a placeholder in a name',
    mission({ kind: 'noop', params: { echo: { '{{event.x}}': 1 } } }),
    /the name of a member holds a placeholder/,
  ],
  [
    'a malformed placeholder',
    mission({ kind: 'noop', params: { echo: '{{event' } }),
    /^\$\.steps\[0\]\.params\.echo "\{\{event"/,
  ],
  [
    'an unknown root',
    mission({ kind: 'noop', params: { echo: '{{env.X}}' } }),
    /does not begin with event, steps, mission, item or index/,
  ],
  [
    'a step in the title',
    { title: '{{steps.a.result}}', steps: [{ key: 'a', kind: 'noop' }] },
    /^\$\.title asks for steps/,
  ],
  [
    'the result of a later step',
    mission({ kind: 'noop', params: { echo: '{{steps.b.result}}' } }, { key: 'b', kind: 'noop' }),
    /may not have ended by then/,
  ],
  [
    'its own result',
    mission({ key: 'a', kind: 'noop', params: { echo: '{{steps.a.result}}' } }),
    /may not have ended by then/,
  ],
  [
    'the result of nobody',
    mission({ kind: 'noop', params: { echo: '{{steps.z.result}}' } }),
    /and no step has that key/,
  ],
  [
    'the results of all',
    mission({ kind: 'noop' }, { kind: 'noop', params: { echo: '{{steps}}' } }),
    /which names no step/,
  ],
  [
    'the result of a sibling',
    mission(
      { key: 'a', kind: 'noop' },
      { key: 'b', kind: 'noop', depends_on: ['a'] },
      { key: 'c', kind: 'noop', depends_on: ['a'], params: { echo: '{{steps.b.result}}' } },
    ),
    /^\$\.steps\[2\]\.params\.echo .* may not have ended/,
  ],
])('%s is refused with its place', async (_, template, expected) => {
  const found = await problems(template);
  expect(found).toHaveLength(1);
  expect(found[0]).toMatch(expected);
});

test('the remedy for a step that waits for nobody names the others, where there are any', async () => {
  const fixes = async (template: object) =>
    (await db.sql('select fix from public.ops_order_problems($1, $2)', [JSON.stringify(template), '$'])).map(
      ({ fix }) => fix,
    );
  const alone = { key: 'a', kind: 'noop', depends_on: ['b'] };
  expect(await fixes(mission(alone))).toEqual(['The template has no other step: leave depends_on out.']);
  expect(await fixes(mission(alone, { key: 'c', kind: 'noop' }))).toEqual([
    'Name steps of this template: c.',
  ]);
});

test('a step without depends_on waits for the one before, with an empty list for none', async () => {
  const rows = await db.sql('select * from public.ops_step_needs($1)', [
    JSON.stringify(mission({ kind: 'noop' }, { kind: 'noop' }, { kind: 'noop', depends_on: [] })),
  ]);
  expect(rows.map(({ needs }) => needs)).toEqual([[], ['step_1'], []]);
});

test('a hundred steps are checked quickly, a hundred and one are too many', async () => {
  const steps = Array.from({ length: 101 }, (_, i) => ({
    key: `s${i}`,
    kind: 'noop',
    depends_on: i === 0 ? [] : [`s${i - 1}`],
  }));
  expect(await problems({ title: 't', steps: steps.slice(0, 100) })).toEqual([]);
  expect(await problems({ title: 't', steps })).toEqual(['$.steps has 101 item(s), more than 100']);
});

test.each([
  ['prompt', { role: 'scout', prompt: 'Look at {{event.data.text}}' }],
  ['role', { role: '{{event.data.role}}', prompt: 'look' }],
  ['tools', { role: 'scout', prompt: 'look', tools: ['{{event.data.tool}}'] }],
])('%s of an agent is the operator’s own: no placeholder may stand in it', async (param, params) => {
  expect(await problems(mission({ kind: 'agent', params }))).toEqual([
    expect.stringMatching(new RegExp(`^\\$\\.steps\\[0\\]\\.params\\.${param}.* ${param} of agent may not`)),
  ]);
});

test('a condition over a step that may not have ended by then is warned of, and text that looks like a place is none', async () => {
  const later = mission({ kind: 'noop', when: 'exists($.steps.b)' }, { key: 'b', kind: 'noop' });
  expect(await problems(later)).toEqual([
    '$.steps[0].when asks for $.steps.b, and that step may not have ended by then',
  ]);
  const [warning] = await db.sql('select severity from public.ops_template_problems($1)', [
    JSON.stringify(later),
  ]);
  expect(warning).toEqual({ severity: 'warning' });
  const text = String.raw`$.event.data.x == "$.steps.zz" || $.event.data."$.\"steps\".\"zz\"" == 1 || exists($.steps.*)`;
  expect(await problems(mission({ kind: 'noop', when: text }))).toEqual([]);
});

test('a matrix whose condition asks for a step that is not there is refused when it is written', async () => {
  const template = mission({ kind: 'noop', when: 'strict $.steps.zz.x == 1' });
  const matrix = { patterns: [{ id: 'p', event_type: 'x:y', template }] };
  await expect(
    db.sql("update public.ops_policy set value = $1 where key = 'reaction_matrix'", [JSON.stringify(matrix)]),
  ).rejects.toThrow('$.patterns[0].template.steps[0].when asks for $.steps.zz, and no step has that key');
});
