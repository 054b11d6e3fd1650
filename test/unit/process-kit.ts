/** Runs of real programs, with what tests leave out filled in. */
import { randomInt } from 'node:crypto';
import { tmpdir } from 'node:os';
import { listedEnvironment } from '../../local/process/environment.js';
import { type Command, type Finished, runProcess } from '../../local/process/run.js';
import { processesNaming } from '../support/processes.js';
import { until } from '../support/until.js';

type Given = Partial<Command> & Pick<Command, 'program'>;

export const run = (given: Given): Promise<Finished> =>
  runProcess({
    args: [],
    cwd: tmpdir(),
    env: listedEnvironment(),
    signal: new AbortController().signal,
    ...given,
  });

export const shell = (script: string, given: Partial<Command> = {}): Promise<Finished> =>
  run({ program: 'sh', args: ['-c', script], ...given });

export const node = (script: string, given: Partial<Command> = {}): Promise<Finished> =>
  run({ program: process.execPath, ...given, args: ['-e', script, ...(given.args ?? [])] });

/** So many seconds to sleep that nobody else sleeps as long: it finds the sleeper among all processes. */
export const longSleep = (): string => `6${randomInt(1e9)}.${randomInt(1e9)}`;

export const sleepers = (sleep: string): Promise<string[]> => processesNaming(sleep);

export const asleep = (sleep: string, count = 1): Promise<unknown> =>
  until(async () => (await sleepers(sleep)).length >= count, { what: `${count} processes name ${sleep}` });
