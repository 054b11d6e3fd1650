import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Which folder may import from which; a file may always import from its own. */
const allowed: Record<string, string[]> = {
  'supabase/client': [],
  vercel: ['supabase/client'],
  local: ['supabase/client'],
};
/** `local/` mounts the app that the control plane exports, and nothing else of it. */
const edges: [from: RegExp, to: RegExp][] = [[/^local\//, /^vercel\/app\/app\.ts$/]];

const sources = Object.keys(allowed).flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => ({ folder, file: join(folder, file) })),
);

function ownImports(file: string): string[] {
  const code = readFileSync(join(root, file), 'utf8');
  return [...code.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(([, name]) =>
    relative(root, join(root, dirname(file), name ?? '')).replace(/\.js$/, '.ts'),
  );
}

it('finds the sources it is about', () => {
  expect(sources.length).toBeGreaterThan(50);
  expect(ownImports('supabase/client/pg.ts')).toContain('supabase/client/port.ts');
});

it('keeps the direction: supabase/client ← vercel, supabase/client ← local, and one edge', () => {
  const strays = sources.flatMap(({ folder, file }) =>
    ownImports(file)
      .filter((target) => ![folder, ...(allowed[folder] ?? [])].some((f) => target.startsWith(`${f}/`)))
      .filter((target) => !edges.some(([from, to]) => from.test(file) && to.test(target)))
      .map((target) => `${file} → ${target}`),
  );
  expect(strays).toEqual([]);
});

it('writes the suffix of every relative import', () => {
  const bare = sources.flatMap(({ file }) =>
    [...readFileSync(join(root, file), 'utf8').matchAll(/from '(\.[^']+)'/g)]
      .map(([, name]) => name ?? '')
      .filter((name) => !/\.(js|json)$/.test(name))
      .map((name) => `${file} → ${name}`),
  );
  expect(bare).toEqual([]);
});
