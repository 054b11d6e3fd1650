import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const functions = readdirSync(join(root, 'vercel/api/ops'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => join('vercel/api/ops', file));

/** Every file that `entry` loads, and every package and built-in beside them. Types are erased and do not count. */
function walk(entry: string): { files: Set<string>; outside: Set<string> } {
  const files = new Set<string>();
  const outside = new Set<string>();
  const visit = (file: string): void => {
    if (files.has(file)) return;
    files.add(file);
    for (const name of imports(readFileSync(join(root, file), 'utf8')))
      if (name.startsWith('.'))
        visit(relative(root, join(root, dirname(file), name)).replace(/\.js$/, '.ts'));
      else outside.add(name);
  };
  visit(entry);
  return { files, outside };
}

const imports = (code: string): string[] =>
  [
    ...code.matchAll(
      /^(?:import|export)\s(?!type\s)[^;]*?from\s+'([^']+)'|import\('([^']+)'\)|^import\s+'([^']+)'/gm,
    ),
  ].map(([, from, dynamic, bare]) => from ?? dynamic ?? bare ?? '');

/** `@sentry/node-core/light` is asked for by the first report; `croner` is there because beats plan schedules; `@supabase/supabase-js` is asked for by the first call through the API. */
const ofHeartbeat = [
  '@sentry/node-core/light',
  '@supabase/supabase-js',
  'croner',
  'hono',
  'hono/cookie',
  'hono/secure-headers',
  'node:crypto',
  'node:net',
  'node:timers/promises',
  'pg',
  'pino',
  'zod',
];
/** Those that are late are asked for by the first request that needs them, not at start. */
const ofOthers = ['@octokit/webhooks-methods', 'hono/html', 'node:fs/promises', 'standardwebhooks'];
const late = ['@hono/zod-openapi', 'prom-client', 'stripe'];

it.each(functions)('%s loads no executor code and starts no process', (file) => {
  const { files, outside } = walk(file);
  expect(files.size).toBeGreaterThan(15);
  expect([...files].filter((path) => !/^(vercel|supabase\/client)\//.test(path))).toEqual([]);
  const rest = file.endsWith('/heartbeat.ts') ? [] : [...ofOthers, ...late];
  expect([...outside].sort()).toEqual([...ofHeartbeat, ...rest].sort());
});

it('what is heavy is loaded late', () => {
  const code = readdirSync(join(root, 'vercel/app'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && file !== 'openapi-document.ts')
    .map((file) => readFileSync(join(root, 'vercel/app', file), 'utf8'))
    .join('\n');
  for (const name of [...late, './openapi-document.js']) {
    expect(code).not.toMatch(new RegExp(`from '${name}'`));
    expect(code).toContain(`import('${name.replace('@hono/zod-openapi', './openapi-document.js')}')`);
  }
});

it('vercel.json names functions and routes that exist', () => {
  const config = JSON.parse(readFileSync(join(root, 'vercel/vercel.json'), 'utf8'));
  const named = Object.keys(config.functions).filter((pattern: string) => !pattern.includes('*'));
  for (const file of named) expect(functions).toContain(join('vercel', file));
  for (const { destination } of config.rewrites) {
    const path = join('vercel', destination);
    expect([`${path}.ts`, `${path}/index.ts`].some((file) => existsSync(join(root, file)))).toBe(true);
  }
  expect(config.crons).toEqual([{ path: '/api/ops/heartbeat', schedule: '*/5 * * * *' }]);
  expect(existsSync(join(root, 'vercel', config.outputDirectory))).toBe(true);
});
