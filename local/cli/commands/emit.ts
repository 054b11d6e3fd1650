import { readDocument } from '../arguments.js';
import type { AddCommand } from '../command.js';

type Options = { data?: string; source?: string; dedupeKey?: string };

export const addEmit: AddCommand = (program, bind) => {
  program
    .command('emit')
    .description('record an event; the next heartbeat decides it')
    .argument('<type>', 'words joined by colons, such as deploy:finished')
    .option('--data <json>', 'a JSON object, @file, or - for stdin')
    .option('--source <name>', 'who says so')
    .option('--dedupe-key <key>', 'a second event with the same key is the first one')
    .action(
      bind(async ({ out, connect }, type: string, { data, source, dedupeKey }: Options) => {
        const document = data === undefined ? undefined : await readDocument(data, '--data');
        const { port } = await connect();
        const event = await port.emitEvent({ type, data: document, source, dedupeKey });
        out.show(event, () =>
          event.created
            ? `event ${event.id} recorded`
            : `event ${event.id} was there already (same dedupe key)`,
        );
      }),
    );
};
