/**
 * Runs the measures in rounds. Every other round goes through them in reversed order, so that what comes late in a
 * round, on a warmer machine, comes early in the next; the figures are medians over the rounds.
 */
import { cpus, totalmem } from 'node:os';
import { type Figure, type Machine, type Report, summarize } from './figure.js';
import { measures } from './measures.js';
import type { House } from './room.js';
import { keepWorkers } from './worker.js';

export type BenchmarkOptions = {
  house: House;
  rounds: number;
  /** Only measures whose name has this in it, and the bare limit, which gives the ratios. */
  only: string;
  quick: boolean;
  onMeasure?: (done: number, total: number, name: string) => void;
};

export async function runBenchmark(options: BenchmarkOptions): Promise<Report> {
  const { house, rounds, quick } = options;
  const leave = quick ? keepWorkers() : () => {};
  const taken = await inRounds(options).finally(leave);
  const measured_at = new Date().toISOString();
  return { measured_at, machine: machineOf(house), rounds, quick, results: summarize(taken) };
}

/** The figures of each round, in the order of the first. */
async function inRounds({ house, rounds, only, onMeasure }: BenchmarkOptions): Promise<Figure[][]> {
  const chosen = measures.filter(({ name }, i) => i === 0 || name.includes(only));
  const taken: Figure[][] = [];
  const total = chosen.length * rounds;
  for (let round = 0; round < rounds; round++) {
    const figures: Figure[][] = [];
    const order = round % 2 === 0 ? chosen : [...chosen].reverse();
    for (const measure of order) {
      onMeasure?.(taken.length * chosen.length + figures.length, total, measure.name);
      const room = await house.room();
      figures.push(await measure.run(room).finally(room.close));
    }
    taken.push((round % 2 === 0 ? figures : figures.reverse()).flat());
  }
  onMeasure?.(total, total, 'done');
  return taken;
}

function machineOf({ version }: House): Machine {
  const [first] = cpus();
  return {
    cores: cpus().length,
    cpu: first?.model.trim() ?? 'unknown',
    memory_gb: Math.round(totalmem() / 2 ** 30),
    node: process.versions.node,
    postgres: version,
  };
}
