import type { Report } from '../../benchmark/figure.js';
import type { Move } from '../../benchmark/report.js';
import { wholeNumber } from '../arguments.js';
import type { AddCommand } from '../command.js';
import { type Context, usageError } from '../context.js';
import { exitCodes } from '../exit-codes.js';
import { requireWritable, writeText } from '../files.js';
import { type Output, table } from '../output.js';
import { startProgress } from '../progress.js';

type Options = {
  rounds: number;
  only: string;
  out?: string;
  compare?: boolean;
  baseline?: boolean;
  url?: string;
  anyway?: boolean;
  quick?: boolean;
};

export const addBenchmark: AddCommand = (program, bind) => {
  program
    .command('benchmark')
    .description('measure the engine on this machine, every figure beside the bare limit of the same run')
    .option('--rounds <n>', 'medians over so many rounds, every other one in reversed order', wholeNumber, 1)
    .option('--only <text>', 'only measures with this in their name', '')
    .option('--out <file>', 'write the report as JSON too')
    .option('--compare', 'say what moved by more than 15 % against the baseline in docs/benchmarks.json')
    .option('--baseline', 'make this run the baseline and write docs/benchmarks.md from it')
    .option('--url <database>', 'measure on this server (default: a throw-away embedded PostgreSQL)')
    .option('--anyway', 'with --url: even if that database is in use')
    .option('--quick', 'toy sizes: shows that every measure works, and nothing else')
    .action(bind(benchmark));
};

async function benchmark(context: Context, options: Options): Promise<undefined | 1> {
  const { out } = context;
  if (options.rounds < 1) throw usageError('--rounds must be at least 1');
  if (options.baseline && (options.quick || options.only !== ''))
    throw usageError('a baseline is a whole run at full size', 'Leave --quick and --only out.');
  // Before the minutes that it takes.
  if (options.out !== undefined) await requireWritable(options.out);
  const { compare } = await import('../../benchmark/report.js');
  const { readBaseline, writeBaseline } = await import('../../benchmark/page.js');
  const before = options.compare ? await readBaseline() : undefined;
  const report = await measured(context, options);
  if (options.out !== undefined) await writeText(options.out, `${JSON.stringify(report, null, 2)}\n`);
  const moves = before === undefined ? undefined : compare(before, report);
  if (options.baseline) await writeBaseline(report);
  const lines = await render(report, moves, out);
  out.show(moves === undefined ? report : { ...report, moves }, () => lines);
  const missed = report.results.some(({ met }) => met === false);
  return missed && !report.quick ? exitCodes.failed : undefined;
}

/** Loaded here: other commands need neither the measures nor what they import. */
async function measured(
  { out, atEnd }: Context,
  { rounds, only, url, anyway = false, quick = false }: Options,
) {
  const { embeddedHouse, givenHouse } = await import('../../benchmark/house.js');
  const { runBenchmark } = await import('../../benchmark/benchmark.js');
  const { fullSizes, quickSizes } = await import('../../benchmark/sizes.js');
  const sizes = quick ? quickSizes : fullSizes;
  const house = url === undefined ? await embeddedHouse(sizes) : await givenHouse(url, sizes, anyway);
  atEnd(house.stop);
  const progress = startProgress(out, 'measures');
  const onMeasure = (done: number, total: number): void => progress.to(done, total);
  return await runBenchmark({ house, rounds, only, quick, onMeasure }).finally(progress.end);
}

async function render(report: Report, moves: Move[] | undefined, { paint }: Output): Promise<string> {
  const { aboutLine, cellsOf, moveLine } = await import('../../benchmark/report.js');
  const right = (name: string) => ({ name, align: 'right' as const });
  const head = ['measure', right('value'), 'unit', right('of bare'), 'bound', ''];
  const colour = (verdict = '') => (verdict === 'MISSED' ? paint('red', verdict) : paint('green', verdict));
  const rows = report.results.map(cellsOf).map((cells) => [...cells.slice(0, -1), colour(cells.at(-1))]);
  const moved =
    moves === undefined
      ? []
      : moves.length === 0
        ? ['', 'Nothing moved by more than 15 % against the baseline.']
        : ['', 'Moved by more than 15 % against the baseline:', ...moves.map(moveLine)];
  return [table(head, rows, paint), aboutLine(report), ...moved].join('\n');
}
