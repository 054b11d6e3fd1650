import { id } from '../arguments.js';
import type { AddCommand } from '../command.js';
import { drawTrace } from '../trace-tree.js';

export const addTrace: AddCommand = (program, bind) => {
  program
    .command('trace')
    .description('everything an event led to, from delivery to the last attempt, as a tree')
    .argument('<id>', 'the full id of an event, proposal, mission or step', id)
    .action(
      bind(async ({ out, connect }, given: string) => {
        const { port } = await connect();
        const root = await port.trace({ id: given });
        out.show(root, () => drawTrace(root, out.paint));
      }),
    );
};
