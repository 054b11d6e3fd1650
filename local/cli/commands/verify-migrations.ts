import { OpsError } from '../../../supabase/client/errors.js';
import { requireSql } from '../../database.js';
import type { MigrationStatus } from '../../migrations.js';
import type { AddCommand } from '../command.js';
import { exitCodes } from '../exit-codes.js';
import { table } from '../output.js';

export const addVerifyMigrations: AddCommand = (program, bind) => {
  program
    .command('verify-migrations')
    .description('hold the migration files against what the database has')
    .action(
      bind(async ({ out, connect }) => {
        const { verifyMigrations } = await import('../../migrations.js');
        const chosen = requireSql((await connect()).chosen);
        const migrations = await verifyMigrations(chosen.config);
        const ok = migrations.every(({ status }) => status === 'applied');
        out.show({ ok, migrations }, () =>
          table(
            ['version', 'name', 'status'],
            migrations.map((m) => [m.version, m.name, statusWords(m)]),
            out.paint,
          ),
        );
        if (ok) return exitCodes.ok;
        if (!out.json)
          out.fail(
            new OpsError('OPS_013', 'files and database differ', {
              hint: 'Run `ops-loop migrate`; a changed file needs a new migration.',
            }),
          );
        return exitCodes.failed;
      }),
    );
};

const statusWords = ({ status, checked }: MigrationStatus): string =>
  status === 'applied' && !checked ? 'applied (by another tool, not compared)' : status;
