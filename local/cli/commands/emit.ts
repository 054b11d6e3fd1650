import { readExactDocument } from '../arguments.js';
import type { AddCommand } from '../command.js';

type Options = { data?: string; source: string; dedupeKey?: string };

export const addEmit: AddCommand = (program, bind) => {
  program
    .command('emit')
    .description('record an event; the next heartbeat decides it')
    .argument('<type>', 'words joined by colons, such as deploy:finished')
    .option('--data <json>', 'a JSON object, @file, or - for stdin')
    .option('--source <name>', 'who says so', 'manual')
    .option('--dedupe-key <key>', 'a second event with the same key is the first one')
    .action(
      bind(async ({ out, connect }, type: string, { data, source, dedupeKey }: Options) => {
        const given = data === undefined ? {} : { data: await readExactDocument(data, '--data') };
        const { port } = await connect();
        const key = dedupeKey === undefined ? {} : { dedupe_key: dedupeKey };
        const [receipt] = await port.emitEvents({ events: [{ type, source, ...given, ...key }] });
        const event = { id: receipt?.id, created: receipt?.created === true };
        out.show(event, () =>
          event.created
            ? `event ${event.id} recorded`
            : `event ${event.id} was there already (same dedupe key)`,
        );
      }),
    );
};
