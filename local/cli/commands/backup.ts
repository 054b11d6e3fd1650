import { access } from 'node:fs/promises';
import { basename } from 'node:path';
import { requireSql } from '../../database.js';
import type { AddCommand } from '../command.js';
import { usageError } from '../context.js';
import { isDirectory, pathOf } from '../files.js';
import { startProgress } from '../progress.js';

type Options = { force?: boolean };

export const addBackup: AddCommand = (program, bind) => {
  program
    .command('backup')
    .description('write everything the loop knows to one file, from one moment, while it works')
    .argument('<file>', 'such as loop-2026-11-20.backup.gz')
    .option('--force', 'write over a file that is there')
    .action(
      bind(async ({ out, connect }, name: string, { force = false }: Options) => {
        const file = pathOf(name);
        if (await isDirectory(file))
          throw usageError(`${name} is a directory`, 'Name a file in it, such as loop-2026-11-20.backup.gz.');
        if (!force && (await isThere(file)))
          throw usageError(`${name} is there already`, 'Name another file, or add --force.');
        const { port, ...connected } = await connect();
        const chosen = requireSql(connected.chosen);
        out.note(`backing up ${chosen.label}`);
        const { takeBackup } = await import('../../backup/write.js');
        const progress = startProgress(out, 'rows');
        const backup = await takeBackup({
          config: chosen.config,
          file,
          onRows: progress.to,
          onLeft: (left) => out.note(`removed ${left}, which a backup that was killed had left`),
        }).finally(progress.end);
        const { bytes, rows, schema } = backup;
        await port.recordBackup({ backup: { file: basename(file), bytes, rows, schema } });
        out.show(
          backup,
          () => `${rows} rows of ${Object.keys(backup.tables).length} tables in ${name}, ${bytes} bytes`,
        );
      }),
    );
};

const isThere = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );
