import { id } from '../arguments.js';
import type { AddCommand } from '../command.js';

export const addWhy: AddCommand = (program, bind) => {
  program
    .command('why')
    .description('why an event did or did not fire, a proposal waits, a step is not claimed')
    .argument('<id>', 'the full id of an event, proposal, mission or step', id)
    .action(
      bind(async ({ out, connect }, given: string) => {
        const { port } = await connect();
        const explanation = await port.why({ id: given });
        out.show(explanation, () =>
          [
            out.paint('bold', `${explanation.kind} ${explanation.id}`),
            ...explanation.sentences.map((s) => `  ${s}`),
          ].join('\n'),
        );
      }),
    );
};
