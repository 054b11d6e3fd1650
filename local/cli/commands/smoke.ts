import type { Check } from '../../smoke/smoke.js';
import { positiveNumber } from '../arguments.js';
import type { AddCommand } from '../command.js';
import { usageError } from '../context.js';
import { exitCodes } from '../exit-codes.js';
import { type Output, table } from '../output.js';

const defaultWaitSeconds = 30;

export const addSmoke: AddCommand = (program, bind) => {
  program
    .command('smoke')
    .description('ask a deployment from outside whether it works: doors, one event, one dry-run mission')
    .argument('<url>', 'address of a control plane, such as https://ops.example.com')
    .option(
      '--wait <seconds>',
      'how long decision and mission may take, each',
      positiveNumber,
      defaultWaitSeconds,
    )
    .action(
      bind(async ({ out, env }, url: string, { wait }: { wait: number }) => {
        const address = addressOf(url);
        const { OPS_API_KEY: key } = env();
        if (key === undefined)
          throw usageError(
            'smoke needs OPS_API_KEY',
            'Set it to the key of that deployment; the one of `npm start` stands in secrets.json under OPS_DATA_DIR.',
          );
        const { askAt } = await import('../../smoke/ask.js');
        const { smoke } = await import('../../smoke/smoke.js');
        const checks = await smoke({ ask: askAt(address), key, waitMs: wait * 1_000 });
        const ok = checks.every(({ result }) => result === 'ok');
        out.show({ ok, url: address.origin, checks }, () => renderChecks(checks, out));
        return ok ? exitCodes.ok : exitCodes.failed;
      }),
    );
};

const colours = { ok: 'green', failed: 'red', skipped: 'dim' } as const;

function renderChecks(checks: Check[], { paint }: Output): string {
  const rows = checks.map(({ check, result, took_ms, detail }) => [
    check,
    paint(colours[result], result),
    took_ms,
    detail,
  ]);
  return table(['check', 'result', { name: 'ms', align: 'right' }, 'detail'], rows, paint);
}

function addressOf(given: string): URL {
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw usageError(`${given} is not an address`, 'Try: ops-loop smoke http://127.0.0.1:8787');
}
