import { setTimeout as pause } from 'node:timers/promises';
import type { OpsPort } from '../../../supabase/client/port.js';
import { positiveNumber } from '../arguments.js';
import type { AddCommand } from '../command.js';
import type { Output } from '../output.js';
import { renderStatus } from '../status-view.js';

type Options = { watch?: boolean; interval: number };

export const addStatus: AddCommand = (program, bind) => {
  program
    .command('status')
    .description('how the loop is doing: counts, workers, what waits for what')
    .option('-w, --watch', 'go on until interrupted')
    .option('--interval <seconds>', 'how often with --watch', positiveNumber, 2)
    .action(
      bind(async ({ out, connect }, { watch = false, interval }: Options) => {
        const { port, chosen } = await connect();
        if (!watch) {
          await showStatus(port, out);
          return;
        }
        out.note(`watching ${chosen.label}`);
        await watchStatus(port, out, interval * 1_000);
      }),
    );
};

/** Proposals that are listed one by one, those that expire first; how many more there are is said below them. */
const listed = 20;

async function showStatus(port: OpsPort, out: Output): Promise<void> {
  const [status, health, waiting] = await Promise.all([
    port.status(),
    port.health(),
    port.listWaiting({ limit: listed }),
  ]);
  const waiting_proposals = waiting.map(({ template: _, ...proposal }) => proposal);
  out.show({ health, ...status, waiting_proposals }, () => renderStatus({ status, health, waiting }, out));
}

/** At a terminal each look replaces the last. */
const clearScreen = '\u001b[2J\u001b[H';

async function watchStatus(port: OpsPort, out: Output, intervalMs: number): Promise<void> {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  while (!stop.signal.aborted) {
    if (out.interactive) process.stdout.write(clearScreen);
    await showStatus(port, out);
    await pause(intervalMs, undefined, { signal: stop.signal }).catch(() => {});
  }
}
