/**
 * `npm run test:wreckit -- --wreckit <path>`: the executor with the real wreckit, in temporary repositories, with
 * stand-ins for the coding agent and for GitHub. The path leads to a checkout that has its dependencies, run by the
 * `bun` on PATH, or to an executable. The suite itself runs a stand-in for wreckit.
 */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { makePrograms, standIns } from './support/wreckit/repository.js';
import { scenarios } from './support/wreckit/scenarios.js';

const { values, positionals } = parseArgs({
  options: { wreckit: { type: 'string' } },
  allowPositionals: true,
});
if (values.wreckit === undefined)
  throw new Error('say where it is: npm run test:wreckit -- --wreckit <path>');

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const program = resolve(values.wreckit);
const entry = join(program, 'src', 'index.ts');
const command = existsSync(entry) ? `bun run '${entry}'` : `'${program}'`;
const home = await realpath(await mkdtemp(join(tmpdir(), 'wreckit-real-')));
const bin = await makePrograms(join(home, 'bin'), { wreckit: command, gh: standIns.gh });
process.env.PATH = `${bin}:${process.env.PATH}`;

const chosen = scenarios.filter(({ name }) => positionals.every((word) => name.includes(word)));
let failed = 0;
try {
  say(`wreckit ${execFileSync('wreckit', ['--version'], { encoding: 'utf8' }).trim()}: ${command}`);
  for (const { name, run } of chosen) {
    const startedAt = performance.now();
    const problem = await run(join(home, 'work', name.replaceAll(/\W+/g, '-'))).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (problem !== undefined) failed++;
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1).padStart(6);
    say(
      problem === undefined
        ? `ok     ${seconds} s  ${name}`
        : `FAILED ${seconds} s  ${name}\n${String(problem)}`,
    );
  }
} finally {
  await rm(home, { recursive: true, force: true });
}
say(`wreckit: ${chosen.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
