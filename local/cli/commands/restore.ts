import { stat } from 'node:fs/promises';
import { schemaVersion } from '../../../supabase/client/terms.js';
import { requireSql } from '../../database.js';
import type { AddCommand } from '../command.js';
import { usageError } from '../context.js';
import { exitCodes } from '../exit-codes.js';
import { pathOf } from '../files.js';
import { startProgress } from '../progress.js';
import { bringUpToDate } from './migrate.js';

type Options = { intoEmpty?: boolean };

/** The invariants read whole tables: seconds at a million rows. */
const invariantsDeadlineMs = 120_000;

export const addRestore: AddCommand = (program, bind) => {
  program
    .command('restore')
    .description('put a backup into a database that has the schema and no work yet')
    .argument('<file>', 'what ops-loop backup wrote')
    .option('--into-empty', 'create the schema first, in a database that has nothing of ours')
    .action(
      bind(async (context, name: string, { intoEmpty = false }: Options) => {
        const { out, connect } = context;
        const file = pathOf(name);
        const { size } = await stat(file).catch(() => {
          throw usageError(`there is no file ${name}`, 'The path is relative to the directory you are in.');
        });
        const { port, ...connected } = await connect();
        const chosen = requireSql(connected.chosen);
        out.note(`restoring into ${chosen.label}`);
        const { requireRestorable, restoreBackup } = await import('../../backup/restore.js');
        // Before the schema is touched: a database that has work in it is not brought up to date in passing.
        const making = intoEmpty ? { making: schemaVersion } : {};
        await requireRestorable({ config: chosen.config, file, ...making });
        if (intoEmpty) await bringUpToDate(context, chosen, { seed: false });
        const progress = startProgress(out, 'bytes');
        const onBytes = (done: number): void => progress.to(done, size);
        const restored = await restoreBackup({ config: chosen.config, file, onBytes }).finally(progress.end);
        const broken = await port.checkInvariants({}, { deadlineMs: invariantsDeadlineMs });
        const violations = broken.map(({ invariant, entity, id }) => `${invariant}: ${entity} ${id}`);
        const ok = violations.length === 0;
        out.show({ ok, ...restored, violations }, () =>
          [
            `${restored.rows} rows of ${Object.keys(restored.tables).length} tables, as they were at ${restored.taken_at}`,
            ...(ok ? ['every invariant holds'] : violations.slice(0, 10)),
          ].join('\n'),
        );
        return ok ? exitCodes.ok : exitCodes.failed;
      }),
    );
};
