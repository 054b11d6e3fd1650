import { requireSql, type SqlDatabase } from '../../database.js';
import type { AddCommand } from '../command.js';
import type { Context } from '../context.js';

type Options = { force?: boolean; seed: boolean; embedded?: boolean };

export const addMigrate: AddCommand = (program, bind) => {
  program
    .command('migrate')
    .description('bring the schema up to date, re-assert its grants and seed what is missing')
    .option('--force', 'run every file again, also those that are present')
    .option('--no-seed', 'leave the policies alone')
    .option('--embedded', 'start the embedded database for this if no database is chosen')
    .action(
      bind(async (context, { force = false, seed, embedded = false }: Options) => {
        const chosen = requireSql((await context.connect({ startEmbedded: embedded })).chosen);
        context.out.note(`migrating ${chosen.label}`);
        const result = await bringUpToDate(context, chosen, { force, seed });
        context.out.show(result, () =>
          result.applied.length === 0
            ? `up to date: all ${result.present.length} migrations are present`
            : `applied ${result.applied.length}, present before ${result.present.length}`,
        );
      }),
    );
};

/** Migrates and seeds; a second call changes nothing. */
export async function bringUpToDate(
  { out }: Context,
  { config }: SqlDatabase,
  { force = false, seed = true }: { force?: boolean; seed?: boolean } = {},
): Promise<{ applied: string[]; present: string[]; seeded: boolean }> {
  const migrations = await import('../../migrations.js');
  const onFile = (file: string): void => out.note(`  ${file}`);
  const { applied, present } = await migrations.migrate(config, { force, onFile });
  if (seed) await migrations.seed(config);
  return { applied, present, seeded: seed };
}
