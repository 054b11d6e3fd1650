import type { Command } from 'commander';
import { Option } from 'commander';
import type { DeadLetter } from '../../../supabase/client/schemas/rows.js';
import { deadLetterCauses, deadLetterStates } from '../../../supabase/client/terms.js';
import { id, wholeNumber } from '../arguments.js';
import type { AddCommand, Bind } from '../command.js';
import { usageError } from '../context.js';
import { type Output, oneLine, table } from '../output.js';
import { relativeTime } from '../times.js';

export const addDlq: AddCommand = (program, bind) => {
  const dlq = program.command('dlq').description('dead letters: steps that are out of attempts');
  addList(dlq, bind);
  addRequeue(dlq, bind);
  addRequeueAll(dlq, bind);
  addDiscard(dlq, bind);
};

type List = { state: DeadLetter['state'] | 'all'; limit: number };

function addList(dlq: Command, bind: Bind): void {
  dlq
    .command('list', { isDefault: true })
    .description('the latest dead letters')
    .argument('[nothing]')
    .addOption(
      new Option('--state <state>', 'which ones').choices([...deadLetterStates, 'all']).default('open'),
    )
    .option('--limit <count>', 'how many at most', wholeNumber, 50)
    .action(
      bind(async ({ out, connect }, verb: string | undefined, { state, limit }: List) => {
        if (verb !== undefined)
          throw usageError(
            `unknown command 'dlq ${verb}'`,
            'Use dlq list, dlq requeue <id>, dlq requeue-all or dlq discard <id>.',
          );
        const { port } = await connect();
        const letters = await port.listDeadLetters({ ...(state === 'all' ? {} : { state }), limit });
        const none = `no ${state === 'all' ? '' : `${state} `}dead letters`;
        out.show(letters, () => (letters.length === 0 ? none : renderLetters(letters, out)));
      }),
    );
}

const columns = [
  ...['id', 'executor', 'cause'],
  { name: 'attempts', align: 'right' as const },
  ...['when', 'state', 'last error'],
];

function renderLetters(letters: DeadLetter[], { paint, now }: Output): string {
  const rows = letters.map((l) => [
    l.id,
    l.executor,
    l.cause,
    l.attempts,
    relativeTime(l.created_at, now()),
    l.state,
    oneLine(l.last_error ?? '', 60),
  ]);
  return table(columns, rows, paint);
}

function addRequeue(dlq: Command, bind: Bind): void {
  dlq
    .command('requeue')
    .description('run the step again, as a fresh series of attempts')
    .argument('<id>', 'the full id of the dead letter', id)
    .option('--reason <text>', 'why; kept in the history')
    .action(
      bind(async ({ out, connect }, letterId: string, { reason }: { reason?: string }) => {
        const { port } = await connect();
        const change = await port.requeueDeadLetter({ id: letterId, reason });
        out.show(change, () => `dead letter ${change.id} requeued, step ${change.step_id} runs again`);
      }),
    );
}

type RequeueAll = {
  executor?: string;
  kind?: string;
  cause?: (typeof deadLetterCauses)[number];
  errorClass?: string;
  limit: number;
  perMinute?: number;
  reason?: string;
};

function addRequeueAll(dlq: Command, bind: Bind): void {
  dlq
    .command('requeue-all')
    .description('run many steps again: the open dead letters that match, oldest first')
    .option('--executor <name>', 'only those of this executor')
    .option('--kind <kind>', 'only steps of this kind')
    .addOption(new Option('--cause <cause>', 'only those with this cause').choices([...deadLetterCauses]))
    .option('--error-class <class>', 'only those with this class of error')
    .option('--limit <count>', 'how many at most', wholeNumber, 100)
    .option('--per-minute <count>', 'spread them over time', wholeNumber)
    .option('--reason <text>', 'why; kept in the history')
    .action(
      bind(async ({ out, connect }, { errorClass, limit, perMinute, reason, ...filter }: RequeueAll) => {
        const { port } = await connect();
        const answer = await port.requeueDeadLetters({
          filter: { ...filter, ...(errorClass === undefined ? {} : { error_class: errorClass }) },
          limit,
          ...(perMinute === undefined ? {} : { perMinute }),
          ...(reason === undefined ? {} : { reason }),
        });
        out.show(
          answer,
          () => `${answer.requeued} requeued${answer.more ? '; more are open, call again' : ''}`,
        );
      }),
    );
}

function addDiscard(dlq: Command, bind: Bind): void {
  dlq
    .command('discard')
    .description('close a dead letter without running its step again')
    .argument('<id>', 'the full id of the dead letter', id)
    .requiredOption('--reason <text>', 'why; kept with the dead letter')
    .action(
      bind(async ({ out, connect }, letterId: string, { reason }: { reason: string }) => {
        const { port } = await connect();
        const change = await port.discardDeadLetter({ id: letterId, reason });
        out.show(change, () => `dead letter ${change.id} discarded`);
      }),
    );
}
