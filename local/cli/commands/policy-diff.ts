import type { Command } from 'commander';
import type { ExactJson } from '../../../supabase/client/json-text.js';
import { differences } from '../../../supabase/client/policy-files.js';
import type { OpsPort } from '../../../supabase/client/port.js';
import type { PolicyKey } from '../../../supabase/client/terms.js';
import type { Bind } from '../command.js';
import { usageError } from '../context.js';
import { readPolicyFile } from '../policy-json.js';
import { readLive } from '../policy-sources.js';
import { policyKey } from './policy.js';
import { differenceLines } from './policy-files.js';

const sideHelp = 'a version, "live", or a file';

export function addDiff(policy: Command, bind: Bind): void {
  policy
    .command('diff')
    .description('say where two versions of a policy differ')
    .addArgument(policyKey())
    .argument('<from>', sideHelp)
    .argument('[to]', sideHelp, 'live')
    .action(
      bind(async ({ out, connect }, key: PolicyKey, from: string, to: string) => {
        const { port } = await connect();
        const [before, after] = await Promise.all([from, to].map((side) => valueAt(port, key, side)));
        const found = differences(before, after);
        out.show({ key, from, to, differences: found }, () =>
          found.length === 0 ? 'nothing differs' : differenceLines(found, out),
        );
      }),
    );
}

async function valueAt(port: OpsPort, key: PolicyKey, side: string): Promise<ExactJson | undefined> {
  if (side === 'live') return (await readLive(port, [key]))[0]?.value;
  if (!/^\d+$/.test(side)) return readPolicyFile(side);
  const version = Number(side);
  const [row] = await port.listPolicyVersions({ key, limit: 1, before: version + 1 });
  if (row?.version === version) return row.value ?? undefined;
  throw usageError(`${key} never had version ${version}`, `ops-loop policy history ${key} lists them.`);
}
