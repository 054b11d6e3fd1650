/** The lines of the log against docs/events.md: every name that the code writes, with its levels, and no other. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from '../../local/env.js';
import { logEvents } from '../../local/worker/log.js';

const page = readFileSync(join(projectRoot, 'docs/events.md'), 'utf8');
const documented = new Map(
  [...page.matchAll(/^\| `(\w+\.\w+)` \| ([a-z, ]+) \| .+ \|$/gm)].map(([, name = '', levels = '']) => [
    name,
    levels.split(', '),
  ]),
);

const sources = ['local', 'vercel/app', 'supabase/client'].flatMap((folder) =>
  readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.startsWith('demo'))
    .map((file) => readFileSync(join(projectRoot, folder, file), 'utf8')),
);

/** `write(log, 'warn', { event: 'a.b'` and `log.warn({ event: 'a.b'`; a level that is chosen is written out as a condition. */
const written = [
  /write\([^;{}]*?,\s*([^;{}]*?),\s*\{\s*event: ('\w+\.\w+')/g,
  /\.(info|warn|error)\(\{\s*event: ('\w+\.\w+')/g,
  /log\[(.*?)\]\(\{ event: ('\w+\.\w+')/g,
].flatMap((form) => sources.flatMap((text) => [...text.matchAll(form)]));

const wordsIn = (text: string): string[] => text.match(/\b(debug|info|warn|error)\b/g) ?? [];

test('lists every line that the code writes, and no other', () => {
  const names = sources.flatMap((text) =>
    [...text.matchAll(/event(?:: | = [^;]*?)'(\w+\.\w+)'(?: : '(\w+\.\w+)')?/g)].flatMap(([, ...found]) =>
      found.filter((name) => name !== undefined),
    ),
  );
  expect([...documented.keys()].sort()).toEqual([...new Set(names)].sort());
  expect(logEvents.filter((name) => !documented.has(name) && name !== 'attempt.started')).toEqual([]);
});

test('with the levels that it is written at', () => {
  const levels = new Map<string, Set<string>>();
  for (const [, level = '', name = ''] of written) {
    const known = levels.get(name) ?? new Set();
    levels.set(name, new Set([...known, ...wordsIn(level)]));
  }
  expect(levels.size).toBeGreaterThan(30);
  for (const [quoted, found] of levels) {
    const name = quoted.slice(1, -1);
    expect([name, documented.get(name)]).toEqual([name, [...found].sort()]);
  }
});
