/**
 * `PEERS=<folder> npm run benchmark:peers [-- options of its run.mjs]`: runs this engine in that harness beside the
 * libraries that are installed there. The link to our adapter is taken out again afterwards.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { rm, symlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const adapter = fileURLToPath(new URL('ops-loop.mjs', import.meta.url));
/** Adapters of the harness, and the package without which each is left out. */
const others = {
  'graphile-worker': 'graphile-worker',
  'pg-boss': 'pg-boss',
  absurd: 'absurd-sdk',
  dbos: '@dbos-inc/dbos-sdk',
  bare: 'pg',
};

const folder = resolve(process.env.INIT_CWD ?? '.', process.env.PEERS ?? '');
if (process.env.PEERS === undefined || !existsSync(join(folder, 'run.mjs'))) {
  process.stderr.write('Set PEERS to the folder of the harness: the one with run.mjs and peers/.\n');
  process.exit(2);
}

const given = process.argv.slice(2);
const installed = Object.entries(others).flatMap(([name, what]) =>
  existsSync(join(folder, 'node_modules', what)) ? [name] : [],
);
const peers = given.includes('--peers') ? [] : ['--peers', ['ops-loop', ...installed].join(',')];
const link = join(folder, 'peers', 'ops-loop.mjs');
await rm(link, { force: true });
await symlink(adapter, link);
try {
  const child = spawn(process.execPath, ['run.mjs', ...peers, ...given], { cwd: folder, stdio: 'inherit' });
  const [code] = await once(child, 'exit');
  process.exitCode = Number(code ?? 1);
} finally {
  await rm(link, { force: true });
}
