import type { Command } from 'commander';
import type { OpsPort } from '../../../supabase/client/port.js';
import { wholeNumber } from '../arguments.js';
import type { Bind } from '../command.js';
import { type Output, oneLine, table } from '../output.js';
import { relativeTime } from '../times.js';
import { policyKey } from './policy.js';

type Version = Awaited<ReturnType<OpsPort['listPolicyVersions']>>[number];

export function addHistory(policy: Command, bind: Bind): void {
  policy
    .command('history')
    .description('its versions, newest first: when, who and why')
    .addArgument(policyKey())
    .option('--limit <count>', 'how many at most', wholeNumber, 20)
    .action(
      bind(async ({ out, connect }, key: string, { limit }: { limit: number }) => {
        const { port } = await connect();
        const versions = await port.listPolicyVersions({ key, limit });
        out.show(versions, () => renderVersions(key, versions, out));
      }),
    );
}

function renderVersions(key: string, versions: Version[], { paint, now }: Output): string {
  if (versions.length === 0) return `${key} was never set`;
  const rows = versions.map(({ version, operation, updated_at, application, role, reason }) => [
    version,
    operation,
    relativeTime(updated_at, now()),
    application === null || application === '' ? role : `${role}, ${application}`,
    oneLine(reason ?? '', 60),
  ]);
  return table([{ name: 'version', align: 'right' }, 'what', 'when', 'by', 'why'], rows, paint);
}
