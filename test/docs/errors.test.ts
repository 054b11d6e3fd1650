import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { projectRoot } from '../../local/env.js';
import { errorTable } from '../../supabase/client/errors.js';

const read = (path: string): string => readFileSync(join(projectRoot, path), 'utf8');
const page = read('docs/errors.md');
const rows = [...page.matchAll(/^\| `(OPS_\d{3})` \| (\d{3}) \| (.+?) \| (.+?) \| (.+?) \|$/gm)].map(
  ([, code, status, meaning, from, remedy]) => ({ code, status: Number(status), meaning, from, remedy }),
);

/** Codes that a source mentions outside of comments. */
function codesIn(folder: string, suffix: RegExp): Set<string> {
  const files = readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' });
  const texts = files.filter((file) => suffix.test(file)).map((file) => read(join(folder, file)));
  const code = texts.join('\n').replaceAll(/^\s*(--|\*|\/\/|\/\*\*).*$/gm, '');
  return new Set([...code.matchAll(/\bOPS_\d{3}\b/g)].map(([found]) => found));
}

describe('docs/errors.md', () => {
  test('lists the codes of the table, with their meaning and status, and no other', () => {
    const expected = Object.entries(errorTable).map(([code, { meaning, status }]) => ({
      code,
      meaning,
      status,
    }));
    expect(rows.map(({ code, meaning, status }) => ({ code, meaning, status }))).toEqual(expected);
  });

  test('names the codes that may be tried again unchanged', () => {
    const retryable = Object.entries(errorTable).flatMap(([code, { retryable }]) =>
      retryable ? [`\`${code}\``] : [],
    );
    expect(page).toContain(`Only ${retryable.join(' and ')} are worth the same call again`);
  });
});

describe('the table of codes', () => {
  test('has every code that SQL raises', () => {
    const raised = codesIn('supabase/migrations', /\.sql$/);
    expect(raised.size).toBeGreaterThan(8);
    expect([...raised].filter((code) => !(code in errorTable))).toEqual([]);
  });

  test('has no code that nothing raises', () => {
    const raised = new Set([
      ...codesIn('supabase/migrations', /\.sql$/),
      ...['supabase/client/pg.ts', 'supabase/client/port.ts'].flatMap(
        (file) => read(file).match(/OPS_\d{3}/g) ?? [],
      ),
      ...codesIn('vercel/app', /\.ts$/),
      ...codesIn('local', /^(?!.*exit-codes).*\.ts$/),
    ]);
    expect(Object.keys(errorTable).filter((code) => !raised.has(code))).toEqual([]);
  });
});
