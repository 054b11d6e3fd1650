import { describe, expect, test } from 'vitest';
import { useDatabase } from '../support/database.js';

const db = useDatabase();

type Json = unknown;
type Rendered = { tree: Json; leaves: Json; error: string | null };

async function render(tree: Json, context: Json): Promise<Rendered> {
  return db.one<Rendered>(
    'select r.* from public.ops_render_tree($1::jsonb, public.ops_compile_leaves($1::jsonb), $2::jsonb) r',
    [JSON.stringify(tree), JSON.stringify(context)],
  );
}

describe('rendering', () => {
  test('a lone placeholder keeps its JSON type and inside text it is text', async () => {
    const tree = {
      lone: '{{event.data.n}}',
      list: ['{{ event.data.tags }}'],
      mixed: 'n={{event.data.n}} tags={{event.data.tags}} text={{event.data.text}}',
    };
    const {
      tree: rendered,
      leaves,
      error,
    } = await render(tree, { event: { data: { n: 4, tags: ['a'], text: 'hi' } } });
    expect(error).toBeNull();
    expect(leaves).toEqual([]);
    expect(rendered).toEqual({ lone: 4, list: [['a']], mixed: 'n=4 tags=["a"] text=hi' });
  });

  test('a missing path without default is an error that names the leaf and the path, and renders nothing', async () => {
    const { tree, error } = await render({ a: [{ b: 'x {{event.data.gone}}' }] }, { event: { data: {} } });
    expect(tree).toBeNull();
    expect(error).toContain('$.a[0].b');
    expect(error).toContain('event.data.gone is missing');
  });

  test('a default stands in for what is missing or null, with its own type', async () => {
    const tree = {
      a: '{{event.none ?? {"x": {}}}}',
      b: '{{event.nil ?? "}}"}}',
      c: 'v{{event.none??7}}',
      d: '{{event.nil}}',
    };
    const { tree: rendered, error } = await render(tree, { event: { nil: null } });
    expect(error).toBeNull();
    expect(rendered).toEqual({ a: { x: {} }, b: '}}', c: 'v7', d: null });
  });

  test('what names a root that is not known yet stays, with the rest folded in', async () => {
    const tree = { p: '{{event.x}} {{steps.look.result.y}} {{event.x}}' };
    const first = await render(tree, { event: { x: 'E' } });
    expect(first.leaves).toEqual([
      {
        path: ['p'],
        lone: false,
        parts: [{ lit: 'E ' }, { ref: ['steps', 'look', 'result', 'y'] }, { lit: ' E' }],
      },
    ]);
    const second = await db.one<Rendered>('select r.* from public.ops_render_tree($1, $2, $3) r', [
      JSON.stringify(first.tree),
      JSON.stringify(first.leaves),
      JSON.stringify({ steps: { look: { result: { y: 3 } } } }),
    ]);
    expect(second).toEqual({ tree: { p: 'E 3 E' }, leaves: [], error: null });
  });

  test('rendered text is not rendered again, at once or later', async () => {
    const tree = { p: '{{event.x}}', q: '{{event.x}} {{steps.a.result}}' };
    const attack = '{{steps.secret.result}}';
    const first = await render(tree, { event: { x: attack } });
    expect(first.tree).toMatchObject({ p: attack });
    const second = await db.one<Rendered>('select r.* from public.ops_render_tree($1, $2, $3) r', [
      JSON.stringify(first.tree),
      JSON.stringify(first.leaves),
      JSON.stringify({ steps: { a: { result: 'A' }, secret: { result: 'LEAK' } } }),
    ]);
    expect(second.tree).toEqual({ p: attack, q: `${attack} A` });
  });

  test('odd keys of objects lead to their leaves', async () => {
    const tree = {
      'a]b': { 'c"d': { 'e\\f\n': ['{{event.x}}'] } },
      '{g}': '{{event.x}}',
      null: '{{event.x}}',
    };
    const { tree: rendered } = await render(tree, { event: { x: 1 } });
    expect(rendered).toEqual({ 'a]b': { 'c"d': { 'e\\f\n': [1] } }, '{g}': 1, null: 1 });
  });

  test('numbers index lists, and only members of the value itself are seen', async () => {
    const { tree } = await render(
      {
        a: '{{event.list.1.v}}',
        b: '{{event.list.length ?? "none"}}',
        c: '{{event.__proto__ ?? "none"}}',
        d: '{{event.null}}',
      },
      { event: { list: [0, { v: 'second' }], null: 5 } },
    );
    expect(tree).toEqual({ a: 'second', b: 'none', c: 'none', d: 5 });
  });

  test('a tree that is one text is rendered whole', async () => {
    expect((await render('{{event.x}}', { event: { x: [1] } })).tree).toEqual([1]);
  });

  test('output that would be huge is an error, not a huge row', async () => {
    const { tree, error } = await render(
      { a: '{{event.x}} '.repeat(40) },
      { event: { x: 'x'.repeat(50_000) } },
    );
    expect(tree).toBeNull();
    expect(error).toMatch(/longer than/);
  });

  test('leaves that do not belong to the tree give an error and never raise', async () => {
    const { error } = await db.one<Rendered>('select r.* from public.ops_render_tree($1, $2, $3) r', [
      '{"a": [1]}',
      JSON.stringify([{ path: ['a', 'x'], lone: true, parts: [{ ref: ['event'] }] }]),
      '{"event": 1}',
    ]);
    expect(error).toMatch(/cannot be rendered/);
  });

  test('keys are rendered to text and may not grow without bound', async () => {
    const text = async (source: string, context: Json) =>
      db.one<{ rendered: string | null; error: string | null }>(
        'select r.* from public.ops_render_text(public.ops_compile_text($1), $2) r',
        [source, JSON.stringify(context)],
      );
    expect(await text('issue:{{event.n}}', { event: { n: 7 } })).toEqual({
      rendered: 'issue:7',
      error: null,
    });
    expect((await text('{{event.gone}}', { event: {} })).error).toContain('event.gone is missing');
    expect((await text('{{event.x}}', { event: { x: 'x'.repeat(2000) } })).error).toMatch(/longer than 1000/);
  });
});

describe('malformed placeholders', () => {
  test.each([
    '{{',
    '{{}}',
    '{{ event.x }',
    '{{event..x}}',
    '{{event.x ?? }}',
    "{{event.x ?? 'a'}}",
    '{{event.x | upper}}',
    '{{{{event.x}}}}',
    '{{env.SECRET}}',
  ])('%s raises OPS_004 with the JSON path', async (text) => {
    const compile = db.sql('select public.ops_compile_leaves($1)', [
      JSON.stringify({ a: { 'b c': [text] } }),
    ]);
    await expect(compile).rejects.toMatchObject({
      code: 'OP004',
      message: expect.stringContaining('$.a["b c"][0]: '),
      detail: JSON.stringify({ path: '$.a["b c"][0]' }).replace('":"', '": "'),
    });
  });

  test('a placeholder in the name of a member is refused', async () => {
    const compile = db.sql('select public.ops_compile_leaves($1)', [JSON.stringify({ 'x{{event.y}}': 1 })]);
    await expect(compile).rejects.toMatchObject({ code: 'OP004' });
  });
});
