/** Upkeep: what is archived and backed up, and whether schema and rows are as they must be. */
import { z } from 'zod';
import { arg, call, rows, value } from '../call.js';
import { count, document, json, timestamp } from '../schemas/values.js';

/** What one call of `ops_archive` deleted, or would have (`dry_run`). */
export const Archived = z.object({
  rows: count,
  /** Rows by table. */
  tables: z.record(z.string(), count),
  /** What finished before these times may go, by member of the retention policy. */
  before: z.record(z.string(), timestamp),
  /** The walk has not come to its end: call again with `cursor`. */
  more: z.boolean(),
  cursor: count.nullable(),
  /** How far the walk has come. */
  pages: z.object({ walked: count, all: count }),
  dry_run: z.boolean(),
});
export type Archived = z.infer<typeof Archived>;

export const RecordedBackup = z.object({ id: z.uuid(), taken_at: timestamp });

export const InvariantViolation = z.object({
  invariant: z.string(),
  entity: z.string(),
  id: z.string(),
  detail: json,
});

export const upkeepCalls = {
  archive: call(
    'ops_archive',
    { limit: arg.int.orDefault, dryRun: arg.boolean.orDefault, cursor: arg.bigint.orDefault },
    value(Archived),
  ),
  recordBackup: call('ops_record_backup', { backup: arg.jsonb(document).orDefault }, value(RecordedBackup)),
  checkInvariants: call('ops_check_invariants', { cheap: arg.boolean.orDefault }, rows(InvariantViolation)),
  schemaVersion: call('ops_schema_version', {}, value(z.string())),
};
