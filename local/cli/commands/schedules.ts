import { nextSlots } from '../../../supabase/client/schedules.js';
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
        const schedules = (await port.listSchedules()).map((schedule) => ({
          ...schedule,
          coming: schedule.enabled
            ? nextSlots(schedule.cron, schedule.time_zone, out.now(), next).map((slot) => slot.toISOString())
            : [],
        }));
        out.show(schedules, () => {
          if (schedules.length === 0)
            return 'no schedule is set; docs/policies.md says how: ops-loop policy set schedules …';
          const rows = schedules.map((s) => [
            s.id,
            s.cron,
            s.time_zone,
            s.enabled ? s.coming.map((slot) => relativeTime(slot, out.now())).join(', ') : 'off',
            relativeTime(s.last_fired_at, out.now()),
            s.missed_today,
            s.event_type,
          ]);
          return table(columns, rows, out.paint);
        });
      }),
    );
};
