import type { AddCommand } from '../command.js';
import { scopeHelp } from './pause.js';

export const addResume: AddCommand = (program, bind) => {
  program
    .command('resume')
    .description('switch a part of the loop on again')
    .argument('<scope>', scopeHelp)
    .option('--reason <text>', 'why; kept in the policy history')
    .action(
      bind(async ({ out, connect }, scope: string, { reason }: { reason?: string }) => {
        const { port } = await connect();
        out.show(await port.resume({ scope, reason }), () => `${scope} runs again`);
      }),
    );
};
