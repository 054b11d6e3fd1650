import type { AddCommand } from '../command.js';
import type { StartFlags } from '../run-start.js';

export const addStart: AddCommand = (program, bind) => {
  program
    .command('start')
    .description('the whole loop on this machine: database, page, heartbeat, worker')
    .option('--samples', 'feed it a few real GitHub events right away')
    .action(
      bind(async (context, flags: StartFlags) => {
        const { start } = await import('../run-start.js');
        return start(context, flags);
      }),
    );
};
