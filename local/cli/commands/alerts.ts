import type { Alert } from '../../../supabase/client/schemas/rows.js';
import type { AlertLevel } from '../../../supabase/client/terms.js';
import type { AddCommand } from '../command.js';
import { exitCodes } from '../exit-codes.js';
import { type Output, table } from '../output.js';
import { relativeTime } from '../times.js';

export const addAlerts: AddCommand = (program, bind) => {
  program
    .command('alerts')
    .description(
      'every alert as it is now, the worst first, with what to look at; exit code 1 when one is critical',
    )
    .action(
      bind(async ({ out, connect }) => {
        const { port } = await connect();
        const alerts = await port.alerts();
        const level = alerts[0]?.level ?? 'ok';
        out.show({ level, alerts }, () => render(alerts, out));
        return level === 'critical' ? exitCodes.failed : exitCodes.ok;
      }),
    );
};

const columns = [
  'level',
  'alert',
  ...['value', 'warning', 'critical'].map((name) => ({ name, align: 'right' as const })),
  'unit',
  'raised',
];
const styles = { ok: 'green', warning: 'yellow', critical: 'red' } as const satisfies Record<
  AlertLevel,
  string
>;

function render(alerts: Alert[], out: Output): string {
  const rows = alerts.map((alert) => [
    out.paint(styles[alert.level], alert.level),
    alert.name,
    ...[alert.value, alert.warning, alert.critical].map(short),
    alert.unit,
    raised(alert, out),
  ]);
  const looks = alerts
    .filter(({ level }) => level !== 'ok')
    .map(({ sentence, hint }) => `${sentence}\n${out.paint('yellow', '→')} ${hint}`);
  return [table(columns, rows, out.paint), ...looks].join('\n\n');
}

const short = (value: number | null): string | null =>
  value === null ? null : String(Math.round(value * 10) / 10);

/** What the heartbeat has said; its own silence it cannot tell of. */
function raised({ raised_level, since }: Alert, { now }: Output): string | null {
  if (raised_level === null || raised_level === 'ok' || since === null) return null;
  return `${raised_level}, ${relativeTime(since, now())}`;
}
