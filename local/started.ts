/**
 * Where a local start listens, for commands beside it: `started.json` of the data directory, as long as it runs. A port
 * of 0, or one that was set for that start alone, is known nowhere else.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { isAlive } from './embedded/server-file.js';

const Started = z.object({ pid: z.int().positive(), url: z.url({ protocol: /^http$/ }) });

const fileIn = (directory: string): string => join(directory, 'started.json');

/** Says where this process listens. Answers what takes that back. Where nothing can be written, nobody is told. */
export async function sayStarted(directory: string, url: string): Promise<() => Promise<void>> {
  const file = fileIn(directory);
  const draft = `${file}.${process.pid}`;
  // In one step, so that nobody reads half of it.
  await writeFile(draft, `${JSON.stringify({ pid: process.pid, url })}\n`)
    .then(() => rename(draft, file))
    .catch(() => {});
  return async () => {
    // A later start has written its own.
    if ((await readStarted(directory))?.pid === process.pid) await rm(file, { force: true });
  };
}

/** The address of the latest start in this directory; undefined when it does not run any more. */
export async function startedAt(directory: string): Promise<string | undefined> {
  const started = await readStarted(directory);
  return started !== undefined && isAlive(started.pid) ? started.url : undefined;
}

async function readStarted(directory: string): Promise<z.infer<typeof Started> | undefined> {
  const text = await readFile(fileIn(directory), 'utf8').catch(() => '');
  try {
    return Started.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
