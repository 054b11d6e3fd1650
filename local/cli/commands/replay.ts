import type { OpsPort } from '../../../supabase/client/port.js';
import { ago } from '../arguments.js';
import type { AddCommand } from '../command.js';
import { type Progress, startProgress } from '../progress.js';

export const addReplay: AddCommand = (program, bind) => {
  program
    .command('replay')
    .description('decide past events again under today’s matrix; what has fired stays fired')
    .requiredOption('--since <time>', 'from then on: 7d, 12h, 30m, or a time', ago)
    .option('--pattern <id>', 'only events that this pattern could match and has not fired for')
    .action(
      bind(async ({ out, connect }, { since, pattern }: { since: Date; pattern?: string }) => {
        const { port } = await connect();
        const progress = startProgress(out, 'events');
        const reopened = await replay(port, since, pattern, progress).finally(() => progress.end());
        out.show({ reopened }, () =>
          reopened === 0
            ? 'no event to decide again'
            : `${reopened} events are decided again by the next heartbeat; ops-loop policy simulate shows beforehand what they lead to`,
        );
      }),
    );
};

async function replay(
  port: OpsPort,
  since: Date,
  pattern: string | undefined,
  progress: Progress,
): Promise<number> {
  const asked = { since: since.toISOString(), pattern };
  let page = await port.replayEvents(asked);
  let reopened = page.reopened;
  while (page.more && page.cursor !== null) {
    progress.to(reopened, reopened);
    page = await port.replayEvents({ ...asked, cursor: page.cursor });
    reopened += page.reopened;
  }
  return reopened;
}
