import type { OpsPort } from '../../../supabase/client/port.js';
import { id } from '../arguments.js';
import { paintStatus } from '../colours.js';
import type { AddCommand } from '../command.js';
import { usageError } from '../context.js';

export const addRetry: AddCommand = (program, bind) => {
  program
    .command('retry')
    .description('run a failed step again, or a mission from its last good step')
    .argument('<id>', 'the full id of a step or mission', id)
    .option('--reason <text>', 'why; kept in the history')
    .action(
      bind(async ({ out, connect }, given: string, { reason }: { reason?: string }) => {
        const { port } = await connect();
        const change = await retry(port, given, reason);
        out.show(change, () => `${change.kind} ${change.id} ${paintStatus(out.paint, change.status)}`);
      }),
    );
};

async function retry(port: OpsPort, given: string, reason: string | undefined) {
  const { kind } = await port.why({ id: given });
  if (kind === 'step') return { kind, ...(await port.retryStep({ id: given, reason })) };
  if (kind === 'mission') return { kind, ...(await port.retryMission({ id: given, reason })) };
  throw usageError(
    `${given} is an ${kind}`.replace('an proposal', 'a proposal'),
    'Only steps and missions can be run again; `ops-loop trace` shows theirs.',
  );
}
