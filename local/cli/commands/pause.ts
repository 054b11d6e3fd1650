import { Option } from 'commander';
import type { SwitchMode } from '../../../supabase/client/terms.js';
import type { AddCommand } from '../command.js';

type Options = { mode: SwitchMode; reason?: string };

export const scopeHelp =
  'all, heartbeat, reactions, auto_approve, dispatch, pattern:<id>, executor:<name>, role:<name> or mission:<id>';

export const addPause: AddCommand = (program, bind) => {
  program
    .command('pause')
    .description('switch a part of the loop off')
    .argument('<scope>', scopeHelp)
    .addOption(
      new Option('--mode <mode>', 'drain lets running steps finish, halt ends them')
        .choices(['drain', 'halt'])
        .default('drain'),
    )
    .option('--reason <text>', 'why; kept in the policy history')
    .action(
      bind(async ({ out, connect }, scope: string, { mode, reason }: Options) => {
        const { port } = await connect();
        out.show(
          await port.pause({ scope, mode, reason }),
          () => `${scope} is paused (${mode}); ops-loop resume ${scope} ends it`,
        );
      }),
    );
};
