/** The two answers a person can give to a proposal. */
import { userInfo } from 'node:os';
import { id } from './arguments.js';
import { paintStatus } from './colours.js';
import type { AddCommand } from './command.js';

type Verdict = { name: string; description: string; call: 'approveProposal' | 'rejectProposal' };
type Options = { reason?: string; actor?: string };

export const addVerdict =
  ({ name, description, call }: Verdict): AddCommand =>
  (program, bind) => {
    program
      .command(name)
      .description(description)
      .argument('<id>', 'the full id of the proposal', id)
      .option('--reason <text>', 'why; kept with the decision')
      .option('--actor <name>', 'who decides (default: your login name)')
      .action(
        bind(async ({ out, connect }, proposalId: string, { reason, actor }: Options) => {
          const { port } = await connect();
          const proposal = await port[call]({ id: proposalId, actor: actor ?? userInfo().username, reason });
          out.show(proposal, () => {
            const mission = proposal.mission_id === null ? '' : `, mission ${proposal.mission_id}`;
            return `proposal ${proposal.id} ${paintStatus(out.paint, proposal.status)}${mission}`;
          });
        }),
      );
  };
