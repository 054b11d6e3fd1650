/** What an operator does to a step or to its whole mission, by the full id of either. */
import type { OpsPort } from '../../supabase/client/port.js';
import { id } from './arguments.js';
import { paintStatus } from './colours.js';
import type { AddCommand } from './command.js';
import { usageError } from './context.js';

type StepCall = 'retryStep' | 'cancelStep';
type MissionCall = 'retryMission' | 'cancelMission';
type Verb = {
  name: string;
  description: string;
  calls: { step: StepCall; mission: MissionCall };
  /** As in "only steps and missions can be …". */
  done: string;
  /** What a status means after this verb, where it does not speak for itself. */
  says?: Record<string, string>;
};

export const addWorkVerb =
  ({ name, description, calls, done, says = {} }: Verb): AddCommand =>
  (program, bind) => {
    program
      .command(name)
      .description(description)
      .argument('<id>', 'the full id of a step or mission', id)
      .option('--reason <text>', 'why; kept in the history')
      .action(
        bind(async ({ out, connect }, given: string, { reason }: { reason?: string }) => {
          const { port } = await connect();
          const kind = await kindOf(port, given, done);
          const change = { kind, ...(await port[calls[kind]]({ id: given, reason })) };
          const meaning = says[change.status] === undefined ? '' : `: ${says[change.status]}`;
          out.show(change, () => `${kind} ${change.id} ${paintStatus(out.paint, change.status)}${meaning}`);
        }),
      );
  };

async function kindOf(port: OpsPort, given: string, done: string): Promise<'step' | 'mission'> {
  const { kind } = await port.why({ id: given });
  if (kind === 'step' || kind === 'mission') return kind;
  throw usageError(
    `${given} is ${kind === 'event' ? 'an' : 'a'} ${kind}`,
    `Only steps and missions can be ${done}; \`ops-loop trace\` shows theirs.`,
  );
}
