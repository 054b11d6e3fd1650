import { describe, expect, test } from 'vitest';
import { createCleaner, formsOf } from '../../local/process/clean.js';
import { keepEnds } from '../../local/process/keep.js';
import { lastJson } from '../../local/process/last-json.js';
import { cpuMsOf } from '../support/cpu.js';
import { node, run } from './process-kit.js';

const kept = (limit: number, chunks: string[]) => {
  const keeper = keepEnds(limit);
  for (const chunk of chunks) keeper.write(Buffer.from(chunk));
  const { head, tail, bytes } = keeper.kept();
  return [head.toString(), tail.toString(), bytes];
};

describe('the ends of an output', () => {
  test.each([
    ['nothing', 8, [], ['', '', 0]],
    ['all that fits', 8, ['abcd', 'efgh'], ['abcdefgh', '', 8]],
    ['both ends of what does not', 8, ['abcdefghi'], ['abcd', 'fghi', 9]],
    ['in pieces', 8, ['ab', 'cde', 'f', 'ghij', 'k'], ['abcd', 'hijk', 11]],
    ['one piece larger than both', 4, ['a', 'bcdefghij', 'kl'], ['ab', 'kl', 12]],
  ])('keeps %s', (_, limit, chunks, expected) => {
    expect(kept(limit, chunks)).toEqual(expected);
  });

  test('400 megabytes in one line, followed line by line, takes no more memory than a little, and says what was left out', async () => {
    const bytes = 400_000_000;
    const before = process.memoryUsage().rss;
    let peak = 0;
    const watch = setInterval(() => {
      peak = Math.max(peak, process.memoryUsage().rss);
    }, 10);
    const { stdout } = await run({
      program: 'head',
      args: ['-c', String(bytes), '/dev/zero'],
      onLine: () => {},
    });
    clearInterval(watch);
    expect(stdout).toMatchObject({ bytes, truncated: true });
    expect(stdout.text.length).toBeLessThan(300_000);
    expect((peak - before) / 2 ** 20).toBeLessThan(100);
  });

  test('an answer without end is ended by its time, and both ends are there', async () => {
    const { ending, stdout } = await run({ program: 'yes', args: ['again'], timeoutMs: 500, keepBytes: 120 });
    expect(ending).toBe('timed_out');
    expect(stdout.text).toMatch(/^(again\n){10}\n\[… \d+ bytes left out …\]\n/);
    expect(stdout.truncated).toBe(true);
  });
});

const cleaned = (text: string, secrets: string[] = [], limit = 1_000) => {
  const keeper = keepEnds(limit);
  keeper.write(Buffer.from(text));
  return createCleaner(secrets).output(keeper.kept());
};

describe('text of an output', () => {
  test('has no terminal control and nothing that PostgreSQL cannot store', () => {
    expect(
      cleaned('\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07 a\0b\x08\x7f\x9b\ttab\r\n'),
    ).toBe('red link ab\ttab\r\n');
  });

  test('has no half characters where it was cut', () => {
    expect(cleaned('ääää', [], 6)).toBe('ä\n[… 2 bytes left out …]\nä');
    expect(cleaned('€'.repeat(9), [], 10)).toBe('€\n[… 17 bytes left out …]\n€');
  });

  const secret = 'Sup3r/secret+value?&"ü';
  test.each([
    ['as it is', secret],
    ['coloured within', `${secret.slice(0, 6)}\x1b[1m${secret.slice(6)}`],
    ['in an address', encodeURIComponent(secret)],
    ['in JSON', JSON.stringify(secret)],
    ['in hex', Buffer.from(secret).toString('hex')],
    ...['', 'a', 'ab', 'abc'].map((before) => [
      `in base64 behind ${before.length} bytes`,
      Buffer.from(`${before}${secret}xyz`).toString('base64'),
    ]),
    ['in base64url', Buffer.from(`user:${secret}`).toString('base64url')],
  ])('has no secret %s', (_, shown) => {
    const text = cleaned(`before ${shown} after`, [secret]);
    expect(text).toContain('[redacted]');
    for (const form of formsOf(secret)) expect(text).not.toContain(form.slice(2, -2));
  });

  test('has no part of a secret where it was cut', () => {
    for (let before = 0; before < 60; before++) {
      const text = cleaned(
        `${'.'.repeat(before)}SECRET-0123456789-SECRET${'.'.repeat(60)}`,
        ['SECRET-0123456789-SECRET'],
        60,
      );
      expect(text).not.toMatch(/SECR|CRET|\d{4}-S/);
    }
  });

  test('has no secret that came in two pieces', async () => {
    const script = "process.stdout.write('half-of-'); setTimeout(() => process.stdout.write('a-secret'), 50)";
    const lines: string[] = [];
    const secrets = new Set(['half-of-a-secret']);
    const { stdout } = await node(script, { secrets, onLine: (line) => lines.push(line) });
    expect([stdout.text, ...lines]).toEqual(['[redacted]', '[redacted]']);
  });
});

describe('the last JSON in a text', () => {
  const isEnvelope = (value: unknown) => typeof value === 'object' && value !== null && 'ok' in value;

  test.each<[string, string, unknown]>([
    ['alone', '{"ok":true}', { ok: true }],
    [
      'over lines, with brackets and quotes in texts',
      'log\n{\n "a": "}] \\" {",\n "b": [1]\n}\nbye',
      { a: '}] " {', b: [1] },
    ],
    ['the last of two', '{"a":1} and [2]', [2]],
    ['whole, not its last part', '{"a":{"b":1},"c":[2]}', { a: { b: 1 }, c: [2] }],
    ['behind noise with brackets', '[info] {not json} it\'s "odd" {"a":1} [done', { a: 1 }],
    ['behind brackets that never close', '[[[{{ "open {"a":[]}', { a: [] }],
    ['none in plain text', 'nothing 1 "two" true', undefined],
    ['none in half of one', '{"a": [1, 2', undefined],
    ['none in brackets that do not fit', '{"a": [1}]', undefined],
    ['with names like those of prototypes', '{"__proto__":{"x":1}}', JSON.parse('{"__proto__":{"x":1}}')],
  ])('%s', (_, text, expected) => {
    expect(lastJson(text)).toEqual(expected);
  });

  test('is the last that is accepted, and no part of a larger one', () => {
    expect(lastJson('{"ok":1} {"level":"warn"} ', isEnvelope)).toEqual({ ok: 1 });
    expect(lastJson('{"wrapped":{"ok":1}}', isEnvelope)).toBeUndefined();
  });

  test.each([
    ['brackets', '['.repeat(300_000)],
    ['brackets and braces', '[{'.repeat(150_000)],
    ['nests of nonsense', `${'['.repeat(80)}x${']'.repeat(80)}`.repeat(2_000)],
    ['open lists', '[1,"a",'.repeat(40_000)],
    ['quotes', '{"'.repeat(150_000)],
    ['escapes', `["${'\\'.repeat(300_000)}`],
  ])('is looked for in bounded time among %s', (_, text) => {
    expect(cpuMsOf(() => expect(lastJson(`${text}\n`)).toBeUndefined())).toBeLessThan(2_000);
  });
});
