/** One wreckit per repository, between processes that race for it and processes that are killed with it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { hasProc, readEntry } from '../../local/process/table.js';
import { until } from '../support/until.js';
import {
  makePrograms,
  makeRepository,
  standIns,
  type TestRepository,
} from '../support/wreckit/repository.js';

const child = fileURLToPath(new URL('../support/wreckit/one-step.ts', import.meta.url));
const started: ChildProcess[] = [];
let home: string;
let PATH: string;
beforeAll(async () => {
  home = await realpath(await mkdtemp(join(tmpdir(), 'wreckit-race-')));
  PATH = `${await makePrograms(join(home, 'bin'), { wreckit: standIns.wreckit })}:${process.env.PATH}`;
});
afterAll(async () => {
  for (const one of started) one.kill('SIGKILL');
  await rm(home, { recursive: true, force: true });
});

async function holding(name: string): Promise<TestRepository> {
  const repository = await makeRepository(join(home, name));
  await repository.item('001-lamp');
  await repository.script({ holds: true });
  return repository;
}

function startStep({ directory }: TestRepository) {
  const one = spawn(process.execPath, ['--import', 'tsx', child, directory], {
    env: { ...process.env, PATH },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  started.push(one);
  const said = text(one.stdout).then((line): { state?: string; errorClass?: string } =>
    JSON.parse(line || '{}'),
  );
  return { process: one, said };
}

/** A zombie that nobody has reaped yet does nothing any more. */
const isRunning = (pid: number) => readEntry(pid)?.ended === false;
const isHeld = (repository: TestRepository) => existsSync(repository.sign('started'));

test('of two processes that want one repository at once, one works and the other comes again', async () => {
  const repository = await holding('raced');
  const both = [startStep(repository), startStep(repository)];
  const loser = await Promise.race(both.map(({ said }) => said));
  expect(loser).toEqual({ errorClass: 'RepositoryBusy' });
  await until(() => isHeld(repository), { what: 'the winner works' });
  await writeFile(repository.sign('go-on'), '');
  const ends = await Promise.all(both.map(({ said }) => said));
  expect(ends).toContainEqual({ state: 'awaiting_merge' });
  expect((await repository.calls()).filter(({ argv: [command] }) => command === 'run')).toHaveLength(1);
  // What the lock is for: wreckit itself lets a second one take the first one's batch over.
  expect(existsSync(repository.sign('taken-over'))).toBe(false);
});

test.runIf(hasProc)(
  'a worker that is killed leaves neither its lock nor its wreckit in the way',
  async () => {
    const repository = await holding('killed');
    const first = startStep(repository);
    await until(() => isHeld(repository), { what: 'the first one works' });
    const orphan = Number(await readFile(repository.sign('started'), 'utf8'));
    first.process.kill('SIGKILL');
    await first.said;
    await repository.script({});
    expect(await startStep(repository).said).toEqual({ state: 'awaiting_merge' });
    expect(isRunning(orphan)).toBe(false);
  },
);
