import type { OpsPort } from '../../../supabase/client/port.js';
import type { Archived } from '../../../supabase/client/schemas/rows.js';
import { wholeNumber } from '../arguments.js';
import type { AddCommand } from '../command.js';
import { type Output, table } from '../output.js';
import { startProgress } from '../progress.js';

type Options = { dryRun?: boolean; limit: number };
export type ArchiveSummary = Pick<Archived, 'dry_run' | 'rows' | 'tables' | 'before'>;

export const addArchive: AddCommand = (program, bind) => {
  program
    .command('archive')
    .description('delete finished rows whose retention has passed (policy retention, 90 days by default)')
    .option('--dry-run', 'count them and delete nothing')
    .option('--limit <rows>', 'rows per transaction, about', wholeNumber, 5_000)
    .action(
      bind(async ({ out, connect }, { dryRun = false, limit }: Options) => {
        const { port, chosen } = await connect();
        out.note(`${dryRun ? 'counting what may go from' : 'archiving'} ${chosen.label}`);
        const summary = await archiveAll(port, { dryRun, limit }, out);
        out.show(summary, () => summaryLines(summary, out));
      }),
    );
};

/** One call after the other, each a transaction of its own: what is interrupted goes on with the next run. */
async function archiveAll(
  port: OpsPort,
  args: { dryRun: boolean; limit: number },
  out: Output,
): Promise<ArchiveSummary> {
  const progress = startProgress(out, 'pages');
  let sum: ArchiveSummary = { dry_run: args.dryRun, rows: 0, tables: {}, before: {} };
  try {
    for (let cursor: number | null = 0; cursor !== null; ) {
      const answer: Archived = await port.archive({ ...args, cursor });
      sum = add(sum, answer);
      progress.to(answer.pages.walked, answer.pages.all);
      cursor = answer.cursor;
    }
    return sum;
  } finally {
    progress.end();
  }
}

function add(sum: ArchiveSummary, { rows, tables, before }: Archived): ArchiveSummary {
  const all = Object.entries(tables).map(([name, n]) => [name, n + (sum.tables[name] ?? 0)] as const);
  const dry_run = sum.dry_run;
  return { dry_run, rows: sum.rows + rows, tables: { ...sum.tables, ...Object.fromEntries(all) }, before };
}

function summaryLines({ dry_run, rows, tables }: ArchiveSummary, out: Output): string {
  const verb = dry_run ? 'may go' : 'deleted';
  if (rows === 0) return 'nothing is past its retention';
  const lines = Object.entries(tables).map(([name, n]) => [name, n]);
  return `${table(['table', { name: verb, align: 'right' }], lines, out.paint)}\n${rows} rows ${verb}`;
}
