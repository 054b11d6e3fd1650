import { readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Environment, projectRoot } from '../../local/env.js';
import { ControlEnvironment } from '../../vercel/app/env.js';

/** Set by the platform or the shell, so not ours to list. */
const foreign = ['VERCEL_ENV', 'NODE_ENV'];
/** Set by us, for the programs that executors start. */
const handed = ['OPS_IDEMPOTENCY_KEY', 'OPS_LOOP_RUN'];

const example = readFileSync(join(projectRoot, '.env.example'), 'utf8');
const lines = example.split('\n').flatMap((line) => {
  const [, name, value] = /^#?([A-Z][A-Z0-9_]*)=(.*)$/.exec(line) ?? [];
  return name === undefined || value === undefined ? [] : [{ name, value }];
});
const listed = lines.map(({ name }) => name);

describe('.env.example', () => {
  test('lists each variable of CLI, worker and server once, and no other', () => {
    expect([...listed].sort()).toEqual(Object.keys(Environment.shape).sort());
  });

  test('shows the defaults that the schema has', () => {
    const defaults: Record<string, unknown> = Environment.parse({});
    const expected = listed.map((name) => ({ name, value: String(defaults[name] ?? '') }));
    expect(lines).toEqual(expected);
  });

  test('has a comment above each variable or its neighbour, and no blank secret', () => {
    for (const paragraph of example.split('\n\n')) {
      if (!/^#?[A-Z][A-Z0-9_]*=/m.test(paragraph)) continue;
      expect(paragraph, 'a paragraph of variables starts with a comment').toMatch(/^# /);
    }
  });

  test('knows every variable of the control plane, with the same default', () => {
    const here: Record<string, unknown> = Environment.parse({});
    const there: Record<string, unknown> = ControlEnvironment.parse({});
    const shared = Object.keys(ControlEnvironment.shape).filter((name) => !foreign.includes(name));
    expect(listed).toEqual(expect.arrayContaining(shared));
    for (const name of shared) expect(there[name], name).toEqual(here[name]);
  });

  test('knows every OPS_ variable that the code mentions', async () => {
    const mentioned = new Set<string>();
    for (const folder of ['supabase/client', 'vercel', 'local'])
      for (const file of await readdir(join(projectRoot, folder), { recursive: true })) {
        if (!/\.(ts|js)$/.test(file)) continue;
        const text = readFileSync(join(projectRoot, folder, file), 'utf8');
        for (const [name] of text.matchAll(/\bOPS_[A-Z][A-Z_]*[A-Z]\b/g)) mentioned.add(name);
      }
    expect([...mentioned].filter((name) => ![...listed, ...handed].includes(name))).toEqual([]);
  });

  test('has no variable that no code reads', async () => {
    const sources: string[] = [];
    for (const folder of ['vercel', 'local'])
      for (const file of await readdir(join(projectRoot, folder), { recursive: true }))
        if (/\.(ts|js)$/.test(file) && join(folder, file) !== 'local/env.ts')
          sources.push(readFileSync(join(projectRoot, folder, file), 'utf8'));
    const text = sources.join('\n');
    expect(listed.filter((name) => !new RegExp(`\\b${name}\\b`).test(text))).toEqual([]);
  });
});
