import { join } from 'node:path';
import type { OpsPort } from '../../../supabase/client/port.js';
import { variableOf } from '../../env.js';
import type { DoctorContext, Executor } from '../../executors/contract.js';
import type { AddCommand } from '../command.js';
import { exitCodes } from '../exit-codes.js';
import { table } from '../output.js';

type Check = { check: string; ok: boolean; findings: string[] };

/** The invariants read whole tables: seconds at a million rows. */
const invariantsDeadlineMs = 120_000;
/** More of one kind say nothing new. */
const shown = 10;

export const addDoctor: AddCommand = (program, bind) => {
  program
    .command('doctor')
    .description('look for what is wrong: schema, health, every invariant of the data, keys, executors')
    .action(
      bind(async ({ out, env, connect }) => {
        const { verifyMigrations } = await import('../../migrations.js');
        const { loadRegistry } = await import('../../executors/registry.js');
        const registry = await loadRegistry(env().OPS_EXECUTORS);
        const { port, chosen } = await connect();
        out.note(`examining ${chosen.label}`);
        const migrations = (await verifyMigrations(chosen.config)).filter((m) => m.status !== 'applied');
        const checks = [
          verdict(
            'migrations',
            migrations.map((m) => `${m.version} ${m.name} is ${m.status}; run ops-loop migrate`),
          ),
          verdict('health', (await port.health()).problems),
          verdict('invariants', await violations(port)),
          aged(await port.keyProblems()),
          verdict(
            'executors',
            await ailments(
              port,
              registry.names.flatMap((name) => registry.get(name) ?? []),
              variableOf(env()),
            ),
          ),
        ];
        const ok = checks.every((check) => check.ok);
        out.show({ ok, checks }, () =>
          table(
            ['check', 'result'],
            checks.map(({ check, ok, findings }) => [
              check,
              findings.length === 0 && ok ? 'ok' : findings.join('\n'),
            ]),
            out.paint,
          ),
        );
        return ok ? exitCodes.ok : exitCodes.failed;
      }),
    );
};

const verdict = (check: string, findings: string[]): Check => ({
  check,
  ok: findings.length === 0,
  findings,
});

/** A key that is soon too old is said; one that is too old fails. */
const aged = (problems: Awaited<ReturnType<OpsPort['keyProblems']>>): Check => ({
  check: 'keys',
  ok: !problems.some(({ severe }) => severe),
  findings: problems.map(({ problem }) => problem),
});

async function violations(port: OpsPort): Promise<string[]> {
  const found = await port.checkInvariants({}, { deadlineMs: invariantsDeadlineMs });
  const lines = found
    .slice(0, shown)
    .map(({ invariant, entity, id }) => `${invariant.replaceAll('_', ' ')}: ${entity} ${id}`);
  return found.length > shown ? [...lines, `and ${found.length - shown} more`] : lines;
}

/** What executors find missing on this machine: programs, variables. */
async function ailments(
  port: OpsPort,
  executors: Executor[],
  variable: (name: string) => string | undefined,
): Promise<string[]> {
  const { worker_policy, agent_roles } = await port.workerConfig();
  const context: DoctorContext = {
    secret: variable,
    setting: variable,
    workspace: join(process.cwd(), '.ops-loop', 'workspace'),
    config: { worker_policy, agent_roles },
  };
  const examined = executors.map(async (executor) => (await executor.doctor?.(context)) ?? []);
  return (await Promise.all(examined))
    .flat()
    .filter(({ ok }) => !ok)
    .map(({ name, message, hint }) => [`${name}: ${message}`, hint].filter(Boolean).join('; '));
}
