/**
 * `npm run drill -- [--minutes n] [--seed s] [--faults a,b] [--json]`: load and faults on a durable PostgreSQL with real worker
 * processes, then everything is compared with what clients know. The fault `disk-full` has a drill of its own, on a disk
 * that can be filled. `--hosts` runs the drill over several hosts instead. Exits with 1 on any violation.
 */
import { parseArgs } from 'node:util';
import { runDiskDrill, whyNoSmallDisk } from './disk.js';
import { runDrill } from './drill.js';
import type { Fault } from './fault.js';
import { diskFull } from './faults/disk.js';
import { chooseFaults } from './faults.js';
import { renderSums, renderTable, summarise } from './report.js';

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '3' },
    seed: { type: 'string' },
    faults: { type: 'string' },
    json: { type: 'boolean', default: false },
    hosts: { type: 'boolean', default: false },
    // Set by the drill itself, in a mount namespace of its own.
    'small-disk': { type: 'boolean', default: false },
  },
});

const seed = options.seed === undefined ? Math.floor(Math.random() * 1e6) : Number(options.seed);
const minutes = Number(options.minutes);
if (!Number.isInteger(seed) || !(minutes > 0))
  refuse('--seed takes a whole number, --minutes a number above 0');
const started = performance.now();

/** Share of the time for the disk that is filled, when other faults are asked for as well. */
const diskShare = 0.2;

/** One line that is written over on a terminal, a line each elsewhere. */
function say(line: string): void {
  const clock = `${Math.round((performance.now() - started) / 1_000)} s`.padStart(6);
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${clock}  ${line}` : `${clock}  ${line}\n`);
}

function refuse(message: string): never {
  process.stderr.write(`drill: ${message}\n`);
  process.exit(2);
}

function chosenFaults(): readonly Fault[] {
  try {
    return chooseFaults(options.faults?.split(','));
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}

type Part = { code: number; answer: Record<string, unknown> };

/** Prints its table unless JSON is asked for. */
async function drillWith(faults: readonly Fault[]): Promise<Part> {
  const smallDisk = options['small-disk'];
  const result = await runDrill({ seed, durationMs: minutes * 60_000, faults, smallDisk, onProgress: say });
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  const table = summarise(result);
  const { calls: _, ...answer } = result;
  if (!options.json)
    process.stdout.write(
      `${renderTable(table)}\n${renderSums(result)}\nseed ${seed}, ${minutes} minutes${smallDisk ? ', on a small disk' : ''}\n`,
    );
  return { code: result.violations.length === 0 ? 0 : 1, answer: { seed, minutes, table, ...answer } };
}

async function drillOnSmallDisk(share: number): Promise<Part> {
  const skipped = whyNoSmallDisk();
  if (skipped !== undefined) {
    if (!options.json) process.stdout.write(`disk-full: skipped, ${skipped}\n`);
    return { code: 0, answer: { skipped } };
  }
  say('a drill of its own, on a disk that can be filled');
  const { code, answer } = await runDiskDrill({ seed, minutes: minutes * share, json: options.json });
  return { code, answer: answer === '' ? {} : JSON.parse(answer) };
}

async function drillAll(faults: readonly Fault[]): Promise<number> {
  const others = faults.filter((fault) => fault !== diskFull);
  const first = others.length > 0 ? await drillWith(others) : undefined;
  const disk = faults.includes(diskFull)
    ? await drillOnSmallDisk(first === undefined ? 1 : diskShare)
    : undefined;
  if (options.json)
    process.stdout.write(
      `${JSON.stringify({ ...first?.answer, ...(disk && { disk: disk.answer }) }, null, 2)}\n`,
    );
  return Math.max(first?.code ?? 0, disk?.code ?? 0);
}

if (options.hosts) {
  const { runHostsDrill } = await import('./hosts.js');
  process.exitCode = await runHostsDrill({ seed, minutes, json: options.json });
} else if (options['small-disk']) {
  const { code, answer } = await drillWith(chosenFaults());
  if (options.json) process.stdout.write(`${JSON.stringify(answer)}\n`);
  process.exitCode = code;
} else {
  process.exitCode = await drillAll(chosenFaults());
}
