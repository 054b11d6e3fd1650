import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Holder, StillHeld, takeLock } from '../../local/lock.js';

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'lock-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

test('is had by one, who leaves a note, and by the next when it is given back', async () => {
  const file = join(home, 'noted');
  const release = await takeLock(file, { waitMs: 0, note: 'since noon' });
  const refused: unknown = await takeLock(file, { waitMs: 0 }).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(StillHeld);
  expect(refused).toMatchObject({ holder: { pid: process.pid, note: 'since noon' } });
  const next = takeLock(file, { waitMs: 10_000 });
  await release();
  await (await next)();
  expect(await readdir(home)).toEqual([]);
});

test('asks whether another holder may be broken, and keeps its own word for it', async () => {
  const file = join(home, 'judged');
  await writeFile(file, '1 token of another kind');
  const seen: Holder[] = [];
  const isStale = (answer: boolean) => (holder: Holder) => {
    seen.push(holder);
    return answer;
  };
  await expect(takeLock(file, { waitMs: 0, isStale: isStale(false) })).rejects.toBeInstanceOf(StillHeld);
  const release = await takeLock(file, { waitMs: 0, isStale: isStale(true) });
  expect(seen).toMatchObject([
    { pid: 1, note: 'of another kind' },
    { pid: 1, note: 'of another kind' },
  ]);
  await release();
});

test('that was broken is not taken away from the one who has it now', async () => {
  const file = join(home, 'broken');
  const first = await takeLock(file, { waitMs: 0 });
  const second = await takeLock(file, { waitMs: 0, isStale: () => true });
  const mark = await readFile(file, 'utf8');
  await first();
  expect(await readFile(file, 'utf8')).toBe(mark);
  await second();
  expect(existsSync(file)).toBe(false);
});

test('cannot be had where nothing can be written', async () => {
  await expect(takeLock(join(home, 'none', 'x'), { waitMs: 0 })).rejects.toMatchObject({ code: 'ENOENT' });
});
