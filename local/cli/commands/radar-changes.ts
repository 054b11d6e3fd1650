/** What changes the demand radar from the command line: a mention, a move, a weight, a merge. */
import { userInfo } from 'node:os';
import type { Command } from 'commander';
import { z } from 'zod';
import { radarStages } from '../../../supabase/client/terms.js';
import { id, nameList, numberBetween, readJson } from '../arguments.js';
import type { Bind } from '../command.js';

const signalId = 'the full id of the signal';

type Mention = {
  description?: string;
  source?: string;
  by?: string;
  link?: string;
  tags?: string[];
  evidence?: string;
  weight?: number;
  dedupeKey?: string;
  mentionKey?: string;
};

export function addAdd(radar: Command, bind: Bind): void {
  radar
    .command('add')
    .description('a mention: of a new signal, or of one that is known by its dedupe key')
    .argument('<title>', 'what is asked for')
    .option('--description <text>', 'more about it')
    .option('--source <name>', 'where it was heard')
    .option('--by <name>', 'who asked')
    .option('--link <url>', 'where it can be read')
    .option('--tags <names>', 'labels, separated by commas', nameList)
    .option('--evidence <json>', 'what was said: JSON, @file, or - for stdin')
    .option('--weight <number>', 'what multiplies the score of a new signal, 0 to 100', numberBetween(0, 100))
    .option('--dedupe-key <key>', 'same key, same signal (default: the title)')
    .option('--mention-key <key>', 'same key, same mention: counted once')
    .action(
      bind(async ({ out, connect }, title: string, { evidence, dedupeKey, mentionKey, ...rest }: Mention) => {
        const said =
          evidence === undefined ? undefined : z.json().parse(await readJson(evidence, '--evidence'));
        const { port } = await connect();
        const [receipt] = await port.radarAdd({
          signals: [{ title, ...rest, evidence: said, dedupe_key: dedupeKey, mention_key: mentionKey }],
        });
        out.show(receipt, () => receiptLine(receipt));
      }),
    );
}

type Receipt = {
  id: string;
  created: boolean;
  counted: boolean;
  stage: string;
  mentions: number;
  score: number;
};

function receiptLine(receipt: Receipt | undefined): string {
  if (receipt === undefined) return 'nothing was added';
  const { id: given, created, counted, stage, mentions, score } = receipt;
  const what = created ? 'is new' : counted ? 'was mentioned again' : 'had counted this mention';
  return `signal ${given} ${what}: ${stage}, ${mentions} mention${mentions === 1 ? '' : 's'}, score ${score}`;
}

type Signed = { reason?: string; actor?: string };
const signed = ({ reason, actor }: Signed) => ({ reason, actor: actor ?? userInfo().username });

export function addMove(radar: Command, bind: Bind): void {
  radar
    .command('move')
    .description('move a signal one stage on, drop it, or watch a dropped one again')
    .argument('<id>', signalId, id)
    .argument('<stage>', radarStages.join(', '))
    .option('--reason <text>', 'why; kept with the signal and its event')
    .option('--actor <name>', 'who moves it (default: your login name)')
    .action(
      bind(async ({ out, connect }, given: string, stage: string, options: Signed) => {
        const { port } = await connect();
        const move = await port.radarMove({ id: given, stage, ...signed(options) });
        out.show(move, () =>
          move.changed
            ? `signal ${move.id} went from ${move.from} to ${move.stage}`
            : `signal ${move.id} is ${move.stage} already`,
        );
      }),
    );
}

export function addWeigh(radar: Command, bind: Bind): void {
  radar
    .command('weigh')
    .description('set what multiplies the score of a signal; 0 mutes it')
    .argument('<id>', signalId, id)
    .argument('<weight>', '0 to 100', numberBetween(0, 100))
    .action(
      bind(async ({ out, connect }, given: string, weight: number) => {
        const { port } = await connect();
        const weighed = await port.radarWeigh({ id: given, weight });
        out.show(weighed, () => `signal ${weighed.id} has weight ${weighed.weight}, score ${weighed.score}`);
      }),
    );
}

export function addMerge(radar: Command, bind: Bind): void {
  radar
    .command('merge')
    .description('one signal turned out to be another: its mentions count there')
    .argument('<id>', 'the full id of the signal that goes', id)
    .requiredOption('--into <id>', 'the full id of the one that stays', id)
    .option('--reason <text>', 'why')
    .option('--actor <name>', 'who merges them (default: your login name)')
    .action(
      bind(async ({ out, connect }, from: string, { into, ...options }: Signed & { into: string }) => {
        const { port } = await connect();
        const merge = await port.radarMerge({ from, into, ...signed(options) });
        const { mentions } = merge;
        out.show(merge, () => `signal ${from} counts in ${into} now: ${mentions} mentions`);
      }),
    );
}
