/** What a worker that is killed, or just ends, leaves behind; and what of its environment its programs can see. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { brandFor, giverOf } from '../../local/process/brand.js';
import { familyOf } from '../../local/process/family.js';
import { markerName, markerText, newMarker, parseMarkers } from '../../local/process/marker.js';
import { straysOf, sweepStrays } from '../../local/process/strays.js';
import {
  type Entry,
  hasProc,
  parsePsLine,
  parseStat,
  readTable,
  tableFromPs,
} from '../../local/process/table.js';
import { collectOutput } from '../support/cli.js';
import { asleep, longSleep, shell, sleepers } from './process-kit.js';

const file = fileURLToPath(new URL('./process-worker.ts', import.meta.url));

function startWorker(script: string, env: Record<string, string> = {}): ChildProcess {
  const worker = spawn(process.execPath, ['--import', 'tsx', file, script], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    env: { ...process.env, ...env },
  });
  onTestFinished(() => void worker.kill('SIGKILL'));
  return worker;
}

/** One that stays where it is, one in a session of its own, one without environment and files. */
const family = (sleep: string) =>
  `sleep ${sleep} & setsid sleep ${sleep} & (env -i setsid sleep ${sleep} </dev/null >/dev/null 2>&1 &)`;

describe.runIf(hasProc)('programs of a worker', () => {
  test('that is killed are ended by the sweep of another one; those of a living one are not', async () => {
    const [lost, kept] = [longSleep(), longSleep()];
    const killed = startWorker(`${family(lost)}; wait`);
    const alive = startWorker(`${family(kept)}; wait`);
    await Promise.all([asleep(lost, 3), asleep(kept, 3)]);
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    // A worker that another test starts right now may be the one that sweeps them away; gone they are either way.
    await sweepStrays();
    expect(await sleepers(lost)).toEqual([]);
    expect((await sleepers(kept)).length).toBeGreaterThanOrEqual(3);
    alive.kill('SIGKILL');
    await once(alive, 'exit');
    await sweepStrays();
    expect(await sleepers(kept)).toEqual([]);
  });

  test('end with it when it leaves without waiting for them', async () => {
    const sleep = longSleep();
    const worker = startWorker(`${family(sleep)}; sleep 0.2; echo leave; wait`);
    expect(await once(worker, 'exit')).toEqual([0, null]);
    expect(await sleepers(sleep)).toEqual([]);
  });

  test('are found by the mark in their environment alone', async () => {
    const sleep = longSleep();
    const controller = new AbortController();
    const onLine = (OPS_LOOP_RUN: string) => {
      // Not its descendant, not in its session, without the other mark.
      const stranger = spawn('sleep', [sleep], {
        env: { PATH: process.env.PATH, OPS_LOOP_RUN },
        detached: true,
      });
      onTestFinished(() => void stranger.kill('SIGKILL'));
    };
    const running = shell('echo $OPS_LOOP_RUN; exec sleep 60', { signal: controller.signal, onLine });
    await asleep(sleep);
    controller.abort();
    await running;
    expect(await sleepers(sleep)).toEqual([]);
  });

  test('find none of its environment, in their own or in its', async () => {
    const canary = 'canary-4f1d0c9a';
    const script = 'cat /proc/self/environ /proc/$PPID/environ /proc/$PPID/cmdline; echo; env; echo read';
    const read = collectOutput(
      startWorker(script, { CANARY_TOKEN: canary, DATABASE_URL: `postgres://x:${canary}@y/z` }),
    );
    await expect.poll(() => read().stdout, { timeout: 10_000 }).toContain('read\n');
    expect(read().stdout).toContain('PATH=');
    expect(read().stdout).not.toContain(canary);
    expect(read().stdout).not.toContain('DATABASE_URL');
  });
});

const entry = (pid: number, parent: number, over: Partial<Entry> = {}): Entry => ({
  pid,
  parent,
  group: pid,
  session: pid,
  start: pid,
  ended: false,
  ...over,
});
const pids = (entries: Entry[]) => entries.map(({ pid }) => pid).sort();

describe('who belongs to a run', () => {
  const root = { pid: 10, start: 10 };
  const find = (table: Entry[], known: [number, number][] = [[10, 10]], marked: number[] = []) =>
    pids(familyOf(table, root, new Map(known), (pid) => marked.includes(pid)));

  test('its group, its session, what is marked, what was seen, and all that descends from them', () => {
    const table = [
      entry(1, 0),
      entry(10, 5),
      entry(11, 1, { group: 10 }),
      entry(12, 1, { session: 10 }),
      entry(13, 1),
      entry(14, 1),
      entry(15, 14),
      entry(16, 15),
      entry(99, 1),
    ];
    expect(
      find(
        table,
        [
          [10, 10],
          [14, 14],
        ],
        [13],
      ),
    ).toEqual([10, 11, 12, 13, 14, 15, 16]);
  });

  test('never who has the id of one that was seen, but started at another time', () => {
    expect(find([entry(14, 1, { start: 50 })], [[14, 14]])).toEqual([]);
  });

  test('nor the group of a stranger who was given the id of the root', () => {
    expect(find([entry(10, 1, { start: 70 }), entry(71, 10, { group: 10 })])).toEqual([]);
  });

  test('nor who started before it, or has ended', () => {
    const table = [entry(8, 1, { group: 10 }), entry(9, 1), entry(12, 10, { ended: true })];
    expect(find(table, [], [9, 12])).toEqual([]);
  });
});

test('a sweep never ends itself, nor what it descends from', () => {
  const table = [
    entry(1, 0),
    entry(20, 1),
    entry(21, 20),
    entry(22, 21),
    entry(23, 1),
    entry(24, 23),
    entry(25, 21),
  ];
  expect(pids(straysOf(table, ({ pid }) => [1, 20, 22, 23].includes(pid), 21))).toEqual([22, 23, 24]);
});

describe('marks', () => {
  test('are read back, those of an outer run as well', () => {
    const [outer, inner] = [newMarker(), newMarker()];
    const value = markerText(inner, { [markerName]: markerText(outer, {}) });
    expect(parseMarkers(`A=1\0${markerName}=${value}\0B=2`)).toEqual([outer, inner]);
  });

  test('are not seen in what only looks like one', () => {
    const text = markerText(newMarker(), {});
    expect(parseMarkers(`NOT_${markerName}=${text}\0OTHER=${markerName}=${text}`)).toEqual([]);
    expect(markerText(newMarker(), { [markerName]: 'junk\nvalue' })).not.toContain('junk');
  });

  test('a brand names who gave it, and is another one for each run', () => {
    const worker = { pid: 4_194_304 - 1, start: 2 ** 33 + 7 };
    const brand = brandFor(worker, 3);
    expect(giverOf(brand).pid).toBe(worker.pid);
    expect(giverOf(brand).startedAt(worker.start)).toBe(true);
    expect(giverOf(brand).startedAt(worker.start + 1)).toBe(false);
    expect(brandFor(worker, 4)).not.toBe(brand);
    expect(brand < 2n ** 63n).toBe(true);
  });
});

describe('the table of processes', () => {
  test('has this one, with its parent', () => {
    const own = readTable().find(({ pid }) => pid === process.pid);
    expect(own).toMatchObject({ parent: process.ppid, ended: false });
  });

  test('is the same from ps, where that knows start times', () => {
    const own = tableFromPs().find(({ pid }) => pid === process.pid);
    expect(own).toMatchObject({ parent: process.ppid, ended: false });
    expect(Math.abs((own?.start ?? 0) - (Date.now() / 1_000 - process.uptime()))).toBeLessThan(5);
  });

  test('is not misled by the names of programs', () => {
    const stat = `7 (a) S 1 (b\n) Z 3 4 5 ${'0 '.repeat(15)}99 0`;
    expect(parseStat(stat)).toEqual({ pid: 7, parent: 3, group: 4, session: 5, start: 99, ended: true });
    expect(parsePsLine(' 7  3  4 Z+ Fri Nov 20 13:19:03 2026')).toMatchObject({
      pid: 7,
      parent: 3,
      group: 4,
      ended: true,
    });
  });
});
