/** The baseline, and the part of docs/benchmarks.md that is written from it. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OpsError } from '../../supabase/client/errors.js';
import { projectRoot } from '../env.js';
import type { Report } from './figure.js';
import { markdownOf } from './report.js';

export const baselineFile = join(projectRoot, 'docs', 'benchmarks.json');
export const pageFile = join(projectRoot, 'docs', 'benchmarks.md');

const [start, end] = ['<!-- baseline: npm run benchmark -- --baseline -->', '<!-- end of baseline -->'];

/** The page with this report between its marks. Throws `OPS_018` for a page without them. */
export function pageWith(page: string, report: Report): string {
  const [from, to] = [page.indexOf(start), page.indexOf(end)];
  if (from < 0 || to < from)
    throw new OpsError('OPS_018', 'docs/benchmarks.md has lost the marks of its table');
  return `${page.slice(0, from + start.length)}\n${markdownOf(report)}\n${page.slice(to)}`;
}

/** Throws `OPS_012` when there is none yet. */
export async function readBaseline(): Promise<Report> {
  const text = await readFile(baselineFile, 'utf8').catch((cause: unknown) => {
    throw new OpsError('OPS_012', 'there is no baseline yet', {
      hint: 'Write one on a quiet machine: npm run benchmark -- --rounds 3 --baseline',
      cause,
    });
  });
  return JSON.parse(text) as Report;
}

/** Writes the baseline and its page. */
export async function writeBaseline(report: Report): Promise<void> {
  const page = pageWith(await readFile(pageFile, 'utf8'), report);
  await writeFile(baselineFile, `${JSON.stringify(report, null, 2)}\n`);
  await writeFile(pageFile, page);
}
