import { type Command, Option } from 'commander';
import { radarSorts, radarViews } from '../../../supabase/client/terms.js';
import { id, numberBetween, wholeNumber } from '../arguments.js';
import type { AddCommand, Bind } from '../command.js';
import { usageError } from '../context.js';
import { renderSignal, renderSignals } from '../radar-view.js';
import { addAdd, addMerge, addMove, addWeigh } from './radar-changes.js';

export const addRadar: AddCommand = (program, bind) => {
  const radar = program
    .command('radar')
    .description('the demand radar: what people ask for, and how far it has come');
  addList(radar, bind);
  addTop(radar, bind);
  addShow(radar, bind);
  addAdd(radar, bind);
  addMove(radar, bind);
  addWeigh(radar, bind);
  addMerge(radar, bind);
};

type Filters = {
  stage?: string;
  tag?: string;
  text?: string;
  minScore?: number;
  sort: string;
  limit: number;
  cursor?: string;
};

function addList(radar: Command, bind: Bind): void {
  radar
    .command('list', { isDefault: true })
    .description('signals, most wanted first')
    .argument('[nothing]')
    .addOption(new Option('--stage <stage>', 'only this stage, or those that are open').choices(radarViews))
    .option('--tag <tag>', 'only with this tag')
    .option('--text <text>', 'only with this text in title or description')
    .option('--min-score <score>', 'only from this score on', numberBetween(0, 1e9))
    .addOption(new Option('--sort <order>', 'by what').choices(radarSorts).default('score'))
    .option('--limit <count>', 'how many at most', wholeNumber, 50)
    .option('--cursor <cursor>', 'begin after the row with this cursor')
    .action(
      bind(async ({ out, connect }, verb: string | undefined, filters: Filters) => {
        if (verb !== undefined)
          throw usageError(
            `unknown command 'radar ${verb}'`,
            'Use radar list, top, show <id>, add <title>, move <id> <stage>, weigh <id> <weight> or merge <id> --into <id>.',
          );
        const { port } = await connect();
        const signals = await port.radarList(filters);
        const last = signals.at(-1);
        out.show(signals, () => renderSignals(signals, out));
        if (!out.json && last !== undefined && signals.length === filters.limit)
          out.note(`there may be more: --cursor '${last.cursor}'`);
      }),
    );
}

function addTop(radar: Command, bind: Bind): void {
  radar
    .command('top')
    .description('what is wanted most, of all that is neither shipped nor dropped')
    .argument('[count]', 'how many', wholeNumber, 10)
    .action(
      bind(async ({ out, connect }, count: number) => {
        const { port } = await connect();
        const signals = await port.radarTop({ count });
        out.show(signals, () => renderSignals(signals, out));
      }),
    );
}

function addShow(radar: Command, bind: Bind): void {
  radar
    .command('show')
    .description('one signal with all that is known of it')
    .argument('<id>', 'the full id of the signal', id)
    .action(
      bind(async ({ out, connect }, given: string) => {
        const { port } = await connect();
        const signal = await port.radarGet({ id: given });
        out.show(signal, () => renderSignal(signal, out));
      }),
    );
}
