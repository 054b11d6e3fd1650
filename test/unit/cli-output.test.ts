import { describe, expect, test } from 'vitest';
import { painter, wantsColour } from '../../local/cli/colours.js';
import { createOutput, errorDocument, errorLines, oneLine, table } from '../../local/cli/output.js';
import { between, relativeTime, span } from '../../local/cli/times.js';
import { drawTrace } from '../../local/cli/trace-tree.js';
import { OpsError } from '../../supabase/client/errors.js';
import type { TraceNode } from '../../supabase/client/schemas/rows.js';

const plain = painter(false);
// biome-ignore lint/suspicious/noControlCharactersInRegex: colour is what is looked for
const colourCode = /\u001b\[/;

function collector(isTTY: boolean) {
  const written: string[] = [];
  return { written, isTTY, write: (text: string) => written.push(text) };
}

describe('output', () => {
  test('with --json prints one document on stdout and nothing else there', () => {
    const stdout = collector(true);
    const stderr = collector(true);
    const out = createOutput({ json: true, stdout, stderr, variables: {} });
    out.note('working');
    out.show({ a: 1 }, () => 'never rendered');
    expect(stdout.written).toEqual(['{"a":1}\n']);
    expect(stderr.written).toEqual(['working\n']);
  });

  test('with --json an error is a document too', () => {
    const stdout = collector(false);
    const error = new OpsError('OPS_012', 'no such step', { hint: 'Check the id.' });
    createOutput({ json: true, stdout, stderr: collector(false), variables: {} }).fail(error);
    expect(JSON.parse(stdout.written.join(''))).toEqual({
      error: { code: 'OPS_012', message: 'no such step', hint: 'Check the id.' },
    });
    expect(errorDocument(new OpsError('OPS_018', 'x'))).toEqual({
      error: { code: 'OPS_018', message: 'x', hint: null },
    });
  });

  test('an error for people has its code, its message and what to do next', () => {
    const error = new OpsError('OPS_001', 'database unreachable', { hint: 'Start it.' });
    expect(errorLines(error, plain)).toBe('OPS_001  database unreachable\n→ Start it.');
  });

  test('colours a terminal only, and not with NO_COLOR or TERM=dumb', () => {
    expect(wantsColour({ isTTY: true }, {})).toBe(true);
    expect(wantsColour({ isTTY: false }, {})).toBe(false);
    expect(wantsColour({ isTTY: true }, { NO_COLOR: '1' })).toBe(false);
    expect(wantsColour({ isTTY: true }, { NO_COLOR: '' })).toBe(true);
    expect(wantsColour({ isTTY: true }, { TERM: 'dumb' })).toBe(false);
    expect(painter(true)('red', 'x')).toMatch(colourCode);
    expect(plain('red', 'x')).toBe('x');
  });

  test('a table is aligned, without borders or trailing blanks', () => {
    const drawn = table(
      ['name', { name: 'count', align: 'right' }],
      [
        ['noop', 7],
        ['radar', 1200],
        ['x', null],
      ],
      plain,
    );
    expect(drawn.split('\n')).toEqual(['name   count', 'noop       7', 'radar   1200', 'x          -']);
  });

  test('a long text is cut to one line', () => {
    expect(oneLine('a\n  b', 10)).toBe('a b');
    expect(oneLine('abcdefghij', 5)).toBe('abcd…');
  });

  test('an emoji of several characters is one, in a cut text and in a table', () => {
    const family = '👨‍👩‍👧';
    expect(oneLine(family.repeat(3), 3)).toBe(family.repeat(3));
    expect(oneLine(`ab${family}cd`, 4)).toBe(`ab${family}…`);
    expect(
      table(
        ['title', 'next'],
        [
          [family, 1],
          ['ab', 2],
        ],
        plain,
      ).split('\n'),
    ).toEqual(['title  next', `${family}     1`, 'ab     2']);
  });
});

describe('times', () => {
  const now = new Date('2026-03-01T12:00:00Z');

  test.each([
    ['2026-03-01T11:57:00Z', '3 minutes ago'],
    ['2026-03-01T11:59:59Z', '1 second ago'],
    ['2026-03-01T12:00:00.400Z', 'just now'],
    ['2026-03-01T14:00:00+00:00', 'in 2 hours'],
    ['2026-02-27T12:00:00Z', '2 days ago'],
    [null, 'never'],
  ])('%s is %s', (iso, said) => expect(relativeTime(iso, now)).toBe(said));

  test.each([
    [0.42, '0.4 ms'],
    [12.3, '12 ms'],
    [1_400, '1.4 s'],
    [2_000, '2 s'],
    [123_000, '2 min 3 s'],
    [3_900_000, '1 h 5 min'],
    [undefined, '-'],
  ])('%s ms is %s', (ms, said) => expect(span(ms)).toBe(said));

  test('between two times', () => {
    expect(between('2026-03-01T12:00:00Z', '2026-03-01T12:00:00.250Z')).toBe(250);
    expect(between(null, '2026-03-01T12:00:00Z')).toBeUndefined();
  });
});

describe('the drawn trace', () => {
  const node = (
    kind: TraceNode['kind'],
    label: string,
    at: string | null,
    children: TraceNode[] = [],
  ): TraceNode => ({
    kind,
    id: label,
    label,
    status: kind === 'decision' ? null : 'succeeded',
    at,
    detail: null,
    children,
  });

  test('is a tree with times since its root', () => {
    const steps = [
      node('step', 'first', '2026-03-01T12:00:00.020Z', [node('attempt', 'one', '2026-03-01T12:00:00.030Z')]),
      node('step', 'second', null),
    ];
    const root = node('event', 'issues:opened', '2026-03-01T12:00:00Z', [
      node('mission', 'triage', '2026-03-01T12:00:00.010Z', steps),
      node('decision', 'no match', '2026-03-01T12:00:01.500Z'),
    ]);
    expect(drawTrace(root, plain).split('\n')).toEqual([
      'event  issues:opened  succeeded  +0 ms',
      '├─ mission  triage  succeeded  +10 ms',
      '│  ├─ step  first  succeeded  +20 ms',
      '│  │  └─ attempt  one  succeeded  +30 ms',
      '│  └─ step  second  succeeded',
      '└─ decision  no match  +1.5 s',
    ]);
  });
});
