import { Option } from 'commander';
import { radarStages } from '../../../supabase/client/terms.js';
import { wholeNumber } from '../arguments.js';
import type { AddCommand } from '../command.js';
import { oneLine, table } from '../output.js';
import { relativeTime } from '../times.js';

export const addRadar: AddCommand = (program, bind) => {
  program
    .command('radar')
    .description('the demand radar: what people ask for, most wanted first')
    .addOption(new Option('--stage <stage>', 'only this stage').choices(radarStages))
    .option('--limit <count>', 'how many at most', wholeNumber, 50)
    .action(
      bind(async ({ out, connect }, { stage, limit }: { stage?: string; limit: number }) => {
        const { port } = await connect();
        const signals = await port.radarList({ stage, limit });
        out.show(signals, () => {
          if (signals.length === 0) return 'nothing on the radar';
          const rows = signals.map((s) => [
            s.score,
            s.mentions,
            s.stage,
            relativeTime(s.last_seen_at, out.now()),
            s.source,
            oneLine(s.title, 70),
          ]);
          return table(
            [
              { name: 'score', align: 'right' },
              { name: 'mentions', align: 'right' },
              'stage',
              'last seen',
              'source',
              'title',
            ],
            rows,
            out.paint,
          );
        });
      }),
    );
};
