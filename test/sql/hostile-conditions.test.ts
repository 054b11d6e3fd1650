/** Conditions that are dear are refused at write, and the dearest that are accepted stay within a beat. Shared parts and the statement timeout: hostile-kit.ts. */
import { describe, expect, test } from 'vitest';
import { type Json, noop } from './engine-kit.js';
import { beat, decisions, emit, impatient, pattern, setPatterns } from './hostile-kit.js';

describe('a condition that could take for ever is refused', () => {
  const times = (count: number, text: string, by: string) => Array(count).fill(text).join(by);
  test.each<[string, string, RegExp]>([
    ['looking ahead', '$.data.s like_regex "a(?=.*b)"', /looks ahead or behind/],
    ['looking behind', '$.data.s like_regex "(?<!a)b"', /looks ahead or behind/],
    ['a back-reference', '$.data.s like_regex "(a*)*\\\\1"', /back-reference/],
    ['a huge repeat', '$.data.s like_regex "((a{1,30}){1,30}){1,30}b"', /repeats too often/],
    ['a repeat of a repeat', '$.data.s like_regex "(a?){200}a{200}b"', /repeats too often/],
    ['many regular expressions', times(11, '$.data.s like_regex "a"', ' || '), /uses like_regex 11 times/],
    ['lists of places, each doubling', `$.data.s${'[0,0]'.repeat(60)} == 1`, /lists places/],
    ['keyvalue() of keyvalue()', `$${'.keyvalue()'.repeat(30)}.key == "z"`, /keyvalue\(\) more than once/],
    ['every place there is', '$.data.**.x == 1', /uses \*\*/],
    ['everything with everything', '$.data.a[*] == $.data.b[*]', /wildcards on both sides/],
    ['many lists with lists', times(6, '$.data.a == $.data.b', ' || '), /compares two paths 6 times/],
    ['long products', times(3, '$.data.n', ' * '), /multiplies or divides by a path/],
    ['long sums', times(7, '$.data.n', ' - '), /reckons 6 times/],
    ['many comparisons', times(31, '$.a==1', '||'), /compares 31 times/],
    ['many filters', times(11, 'exists($.a?(@==1))', '||'), /filters 11 times/],
    ['a number without end', '$.data.n == 1e131073', /no SQL\/JSON path/],
    [
      'brackets without end',
      `${'('.repeat(990)}$.a == 1${')'.repeat(990)}${' '.repeat(20)}`,
      /more than 2000/,
    ],
  ])('%s', async (_, where, message) => {
    const steps = [noop('a'), noop('b', { when: where })];
    await expect(setPatterns(pattern({ where }))).rejects.toMatchObject({
      code: 'OP008',
      message: expect.stringMatching(message),
    });
    await expect(
      impatient.query('select ops_create_proposal($1)', [JSON.stringify({ title: 'T', steps })]),
    ).rejects.toMatchObject({ code: 'OP004', message: expect.stringMatching(message) });
  });

  test('though what only looks alike is accepted', async () => {
    const conditions = [
      '$.data.s like_regex "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"',
      '$.data.s like_regex "^(v\\\\d{1,3}\\\\.){1,4}[0-9a-f]{40}$"',
      '$.data.s == "(?=a) [0,0] .keyvalue().keyvalue() * * * * * * *"',
      'strict $.data.a == $.data.b || $.data.c == $.data.d || $.data.a == $.data.c || $.data.a == $.data.d || $.data.b == $.data.c || $.data.b == $.data.d',
      '$.data.before.state != $.data.after.state',
      '$.data.list[0 to 3] == 1',
    ];
    await setPatterns(...conditions.map((where, i) => pattern({ id: `p${i}`, where })));
  });
});

describe('the dearest conditions that are accepted', () => {
  const list = (item: Json, length: number): Json => Array(length).fill(item);
  const either = (count: number, write: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => write(i)).join('||');
  test.each<[string, string, Json]>([
    [
      'a list compared with a list',
      either(5, () => '$.data.a == $.data.b'),
      { a: list(1, 1300), b: list(2, 1300) },
    ],
    [
      'a list compared with a list, in 64 kB',
      either(5, () => '$.data.a == $.data.b'),
      { a: list(1, 10_800), b: list(2, 10_800) },
    ],
    ['thirty comparisons with a list', either(30, () => '$.data.a==3'), { a: list(1, 21_000) }],
    [
      'a dear regular expression on a list',
      '$.data.a like_regex "(a?){15}a{100}b"',
      { a: list('a', 13_000) },
    ],
    [
      'ten dear ones on a long text',
      either(10, (i) => `$.data.s like_regex "(a?){15}a{10${i}}b"`),
      { s: 'a'.repeat(65_000) },
    ],
    [
      'nested stars',
      '$.data.s like_regex "^((a*)*)*((a|aa)+)+$" && $.data.s like_regex "(.*)*(.*)*x"',
      { s: 'a'.repeat(65_000) },
    ],
    [
      'filters in filters',
      `exists($.data.a ? (@ == 2 || ${either(9, () => 'exists(@?(@==2))')}))`,
      { a: list(1, 21_000) },
    ],
  ])('%s: four events of it are decided in time', async (_, where, data) => {
    await setPatterns(pattern({ where }));
    for (let i = 0; i < 4; i += 1) await emit('hostile:dear', data);
    await beat();
    const outcomes = new Set((await decisions()).map(({ outcome }) => outcome));
    expect([...outcomes]).toHaveLength(1);
    expect(['unmatched', 'failed']).toContain([...outcomes][0]);
  });

  test('the product of long numbers: two events of it are decided in time', async () => {
    await setPatterns(pattern({ where: `$.data.n * ${'7'.repeat(1900)} - 1 == 0` }));
    for (let i = 0; i < 2; i += 1)
      await impatient.query("insert into ops_agent_events (type, data) values ('hostile:sum', $1)", [
        `{"n": ${'7'.repeat(60_000)}}`,
      ]);
    await beat();
    expect((await decisions()).map(({ outcome }) => outcome)).toEqual(Array(2).fill('unmatched'));
  });
});
