/**
 * A backup is a gzip file of lines. The first says what it is. Then each table has a line that names its columns, its rows
 * as PostgreSQL's COPY writes them in text format (no row ever is `\.` alone), that mark, and a line with their number and
 * SHA-256. The last line counts everything, so that a file that was cut off is known. One stream, whatever its size; any
 * PostgreSQL from 15 on reads what any of them wrote.
 */
import { z } from 'zod';
import { OpsError } from '../../supabase/client/errors.js';

export const formatName = 'ops-loop backup 1';

export const Header = z.object({
  format: z.string(),
  /** The latest migration of the database it was taken from. */
  schema: z.string(),
  server: z.string(),
  taken_at: z.string(),
  tables: z.int(),
});
export const TableHead = z.object({
  table: z.string(),
  columns: z.array(z.object({ name: z.string(), type: z.string() })),
});
export const TableEnd = z.object({ rows: z.int(), sha256: z.string() });
export const End = z.object({ end: z.literal(true), tables: z.int(), rows: z.int() });
export type Header = z.output<typeof Header>;
export type TableHead = z.output<typeof TableHead>;

/** The end of a table's rows, on a line of its own. */
export const endOfRows = '\\.\n';
const newline = Buffer.from('\n');
const mark = Buffer.from(`\n${endOfRows}`);
const newlineCode = 10;

export type BackupReader = {
  /** The next line as JSON of this shape. Throws `OPS_011` for anything else. */
  json<T>(schema: z.ZodType<T>): Promise<T>;
  /** The rows that follow, in pieces of any size, up to the mark. Throws `OPS_011` when the file ends before it. */
  rows(): AsyncGenerator<Buffer>;
};

/** Reads the uncompressed stream from its beginning, holding little more than a piece of it. */
export function readBackup(source: AsyncIterable<Buffer>): BackupReader {
  const pieces = source[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  const fill = async (): Promise<void> => {
    const { value, done } = await pieces.next().catch(brokenOff);
    if (done === true) throw cutOff();
    rest = Buffer.concat([rest, value]);
  };
  const json: BackupReader['json'] = async (schema) => {
    while (rest.indexOf(newlineCode) < 0) await fill();
    const end = rest.indexOf(newlineCode);
    const text = rest.toString('utf8', 0, end);
    rest = rest.subarray(end + 1);
    return parseLine(text, schema);
  };
  async function* rows(): AsyncGenerator<Buffer> {
    // The mark begins with the end of a line, also where there is no row.
    rest = Buffer.concat([newline, rest]);
    for (let skip = 1; ; ) {
      const end = rest.indexOf(mark);
      const ready = end >= 0 ? end + 1 : Math.max(rest.length - mark.length, 0);
      if (ready > skip) yield rest.subarray(skip, ready);
      skip = Math.max(skip - ready, 0);
      rest = rest.subarray(end >= 0 ? end + mark.length : ready);
      if (end >= 0) return;
      await fill();
    }
  }
  return { json, rows };
}

function parseLine<T>(text: string, schema: z.ZodType<T>): T {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw unreadable('it is not a backup of Ops-Loop, or it was changed', cause);
  }
}

const cutOff = (): OpsError => unreadable('it ends in the middle');
function brokenOff(cause: unknown): never {
  throw unreadable('it is damaged, or no gzip file', cause);
}

/** Says what is wrong with the file that is read. */
export const unreadable = (why: string, cause?: unknown): OpsError =>
  new OpsError('OPS_011', `the backup cannot be read: ${why}`, {
    hint: 'Nothing was changed. Take another copy of the file, or an older backup.',
    cause,
  });
