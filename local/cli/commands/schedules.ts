import { comingOf } from '../../../supabase/client/schedules.js';
import { wholeNumber } from '../arguments.js';
import type { AddCommand } from '../command.js';
import { table } from '../output.js';
import { relativeTime } from '../times.js';

const columns = [
  'schedule',
  'cron',
  'time zone',
  'next',
  'last',
  { name: 'missed today', align: 'right' as const },
  'event',
];

export const addSchedules: AddCommand = (program, bind) => {
  program
    .command('schedules')
    .description('events by the clock: what comes next, what came last')
    .option('--next <count>', 'how many coming slots to compute', wholeNumber, 3)
    .action(
      bind(async ({ out, connect }, { next }: { next: number }) => {
        const { port } = await connect();
        const schedules = (await port.listSchedules()).map((schedule) => {
          const { slots, problem } = comingOf(schedule, out.now(), schedule.enabled ? next : 0);
          return { ...schedule, coming: slots, problem: schedule.problem ?? problem };
        });
        out.show(schedules, () => {
          if (schedules.length === 0)
            return 'no schedule is set; docs/policies.md says how: ops-loop policy set schedules …';
          const rows = schedules.map((s) => [
            s.id,
            s.cron,
            s.time_zone,
            s.enabled ? comingText(s, out.now()) : 'off',
            relativeTime(s.last_fired_at, out.now()),
            s.missed_today,
            s.event_type,
          ]);
          return table(columns, rows, out.paint);
        });
      }),
    );
};

function comingText({ coming, problem }: { coming: string[]; problem: string | null }, now: Date): string {
  return problem ?? (coming.map((slot) => relativeTime(slot, now)).join(', ') || 'never');
}
