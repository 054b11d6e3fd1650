/**
 * `npm run benchmark [-- --json] [--rounds n] [--only text]`: measures the engine on the embedded PostgreSQL, durable
 * as in production. Figures are medians over the rounds; ratios to the bare limit are of the same run.
 */
import { cpus, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { type Figure, measures } from './measures.js';
import { openHouse } from './room.js';

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
  },
});
const say = (line: string) =>
  void (options.json || process.stdout.isTTY ? process.stderr : process.stdout).write(line);

const house = await openHouse();
const taken: Figure[] = [];
try {
  const chosen = measures.filter((m) => m.name.includes(options.only));
  for (let round = 1; round <= Number(options.rounds); round++)
    for (const measure of chosen) {
      say(`round ${round}: ${measure.name}\n`);
      const room = await house.room();
      taken.push(...(await measure.run(room)));
      await room.close();
    }
} finally {
  await house.stop();
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
const names = [...new Set(taken.map((f) => f.name))];
const results = names.map((name) => {
  const all = taken.filter((f) => f.name === name);
  return { ...(all[0] as Figure), value: median(all.map((f) => f.value)), samples: all.length };
});
const bare = results.find((r) => r.unit === 'rows/s')?.value;
const machine = {
  cores: cpus().length,
  cpu: cpus()[0]?.model,
  memory_gb: Math.round(totalmem() / 2 ** 30),
  node: process.version,
  postgres: house.version,
};

if (options.json) process.stdout.write(`${JSON.stringify({ machine, results }, null, 2)}\n`);
else {
  const table = new Table({
    head: ['measure', 'value', 'unit', 'of bare', 'bound'],
    style: { head: [], border: [] },
  });
  for (const { name, value, unit, floor, ceiling } of results)
    table.push([
      name,
      { content: value.toLocaleString('en'), hAlign: 'right' },
      unit,
      { content: bare && /steps|rows/.test(unit) ? (value / bare).toFixed(2) : '', hAlign: 'right' },
      {
        content: boundOf(value, floor, ceiling),
        hAlign: 'right',
      },
    ]);
  process.stdout.write(`${table}\n`);
  process.stdout.write(
    `${machine.cores} cores (${machine.cpu}), ${machine.memory_gb} GB, Node ${machine.node}, PostgreSQL ${machine.postgres}; median of ${options.rounds}\n`,
  );
}

/** At least the floor, at most the ceiling; no figure has both. */
function boundOf(value: number, floor: number | undefined, ceiling: number | undefined): string {
  const bound = floor ?? ceiling;
  if (bound === undefined) return '';
  const isMet = floor === undefined ? value <= bound : value >= bound;
  return `${floor === undefined ? '≤ ' : ''}${bound.toLocaleString('en')} ${isMet ? 'met' : 'MISSED'}`;
}
