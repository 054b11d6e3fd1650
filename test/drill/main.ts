/**
 * `npm run drill -- [--minutes n] [--seed s] [--faults a,b] [--json]`: load and faults on a durable PostgreSQL with real worker
 * processes, then everything is compared with what clients know. `--hosts` runs the drill over several hosts instead.
 * Exits with 1 on any violation.
 */
import { parseArgs } from 'node:util';
import { runDrill } from './drill.js';
import type { Fault } from './fault.js';
import { chooseFaults } from './faults.js';
import { renderSums, renderTable, summarise } from './report.js';

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '3' },
    seed: { type: 'string' },
    faults: { type: 'string' },
    json: { type: 'boolean', default: false },
    hosts: { type: 'boolean', default: false },
  },
});

const seed = options.seed === undefined ? Math.floor(Math.random() * 1e6) : Number(options.seed);
const minutes = Number(options.minutes);
if (!Number.isInteger(seed) || !(minutes > 0))
  refuse('--seed takes a whole number, --minutes a number above 0');
const started = performance.now();

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

if (options.hosts) {
  const { runHostsDrill } = await import('./hosts.js');
  process.exitCode = await runHostsDrill({ seed, minutes, json: options.json });
} else {
  const faults = chosenFaults();
  const result = await runDrill({ seed, durationMs: minutes * 60_000, faults, onProgress: say });
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  const lines = summarise(result);
  const { calls: _, ...rest } = result;
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ seed, minutes, table: lines, ...rest }, null, 2)}\n`
      : `${renderTable(lines)}\n${renderSums(result)}\nseed ${seed}, ${minutes} minutes\n`,
  );
  process.exitCode = result.violations.length === 0 ? 0 : 1;
}
