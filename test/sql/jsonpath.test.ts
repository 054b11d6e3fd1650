import { expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';

const db = useDatabase();

async function problem(path: string): Promise<string | null> {
  const { problem } = await db.one<{ problem: string | null }>(
    'select public.ops_jsonpath_problem($1) as problem',
    [path],
  );
  return problem;
}

test.each([
  '$.data.issue.state == "open"',
  '$.data.issue.labels[*].name == "bug"',
  '$.data.*.conclusion like_regex "^(failure|timed_out)$"',
  'exists($.data.labels[*] ? (@.name == "bug" && @.color != "red"))',
  '$.data.a[*] == 1 && $.data.b[*] == 2',
  '($.data.a[*] == 1) && ($.data.b[*] == 2)',
  '$.data.list ? (@.b[*] == 1) == $.data.c[*]',
  '$.data.text == "$.** [*] == [*] ?($)"',
  '$."$odd key" == "("',
  '$.data.text like_regex "a\\\\\\\\1"',
  '$.data.list.size() > 3',
])('the condition %s is accepted', async (path) => {
  expect(await problem(path)).toBeNull();
});

test.each([
  ['bad (', /no SQL\/JSON path/],
  ['', /no SQL\/JSON path/],
  ['$.**.x == 1', /\*\*/],
  ['$.data.list ? (@.a == $.data.b) == 1', /\$ inside a filter/],
  ['exists($.data.list ? (exists(@.x ? (@ == $.data.b))))', /\$ inside a filter/],
  ['$.data.a[*] == $.data.b[*]', /both sides/],
  ['$.data.* != $.data.b[*]', /both sides/],
  ['$.data.a[0 to last] == $.data.b[*]', /both sides/],
  ['($.data.a[*] + 1) > ($.data.b.*)', /both sides/],
  ['!($.data.a[*] == $.data.b[*])', /both sides/],
  ['$.data.x == 1 || $.data.a[*] == $.data.b[*]', /both sides/],
  ['exists($.data.list ? (@.b[*] == @.c.*))', /both sides/],
  ['$.data.a.keyvalue().key == $.data.b[*]', /both sides/],
  ['$.data.text like_regex "(a)\\\\1"', /back-reference/],
  ['$limit == 1', /variable \$limit/],
])('the condition %s is refused with its reason', async (path, reason) => {
  expect(await problem(path)).toMatch(reason);
});

test('no condition given is no problem', async () => {
  const { problem } = await db.one('select public.ops_jsonpath_problem(null) as problem');
  expect(problem).toBeNull();
});

test.each([
  ['step:*:failed', 'step:deploy:now:failed', true],
  ['step:*:failed', 'step:failed', false],
  ['*', 'anything:at:all', true],
  ['a_b:*', 'axb:c', false],
  ['a_b:*', 'a_b:c', true],
  ['github:**', 'github:push', true],
  ['100%:x*', '100 and more:x', false],
])('the glob %s against the type %s gives %s', async (glob, type, matches) => {
  const row = await db.one('select $2 like public.ops_compile_glob($1) as matches', [glob, type]);
  expect(row.matches).toBe(matches);
});
