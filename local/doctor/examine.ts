/** Every look of the doctor, one after the other. */
import { join } from 'node:path';
import type { OpsPort } from '../../supabase/client/port.js';
import type { ChosenDatabase } from '../database.js';
import { type Environment, variableOf } from '../env.js';
import type { DoctorContext, Executor } from '../executors/contract.js';
import type { Registry } from '../executors/registry.js';
import { listMigrations, verifyMigrations } from '../migrations.js';
import { type Check, type Level, worst } from './finding.js';
import * as judge from './judge.js';
import { readVitals } from './vitals.js';

/** The invariants read whole tables: seconds at a million rows. */
const invariantsDeadlineMs = 120_000;
/** More of one kind say nothing new. */
const shown = 10;

export type Patient = { port: OpsPort; chosen: ChosenDatabase; registry: Registry; env: Environment };

/** Throws `OPS_001` when the database cannot be asked. */
export async function examine({ port, chosen, registry, env }: Patient): Promise<Check[]> {
  const executors = registry.names.flatMap((name) => registry.get(name) ?? []);
  return [
    ...(await vitalChecks(port, chosen)),
    verdict('migrations', await driftOf(port, chosen)),
    await policyCheck(port),
    await scheduleCheck(port),
    verdict('invariants', await violations(port)),
    aged(await port.keyProblems(), env),
    verdict('executors', await ailments(port, executors, variableOf(env))),
  ];
}

const verdict = (check: string, findings: string[]): Check => ({
  check,
  level: findings.length === 0 ? 'ok' : 'bad',
  findings,
});

/** What the server and the engine say about themselves. Through the API only the engine can be asked. */
async function vitalChecks(port: OpsPort, chosen: ChosenDatabase): Promise<Check[]> {
  const vitals = chosen.kind === 'supabase' ? undefined : await readVitals(chosen.config);
  const health = await port.health();
  const now = Date.now() + (vitals?.clockAheadMs ?? 0);
  return [
    judge.judgeVersions(process.version, health.schema_version, vitals),
    verdict('health', health.problems),
    judge.judgeBeat(health, now),
    judge.judgeQueue(health),
    judge.judgeConnection(chosen, vitals),
    ...(vitals === undefined
      ? []
      : [judge.judgeTransactions(vitals), judge.judgeBloat(vitals), judge.judgeClock(vitals)]),
  ];
}

/** Policies as they are now: what a new release or a removed executor made wrong was valid when it was written. */
async function policyCheck(port: OpsPort): Promise<Check> {
  const found = await Promise.all(
    (await port.listPolicies()).map(async ({ key, value }) =>
      (await port.validatePolicy({ key, value })).map((problem) => ({ key, ...problem })),
    ),
  );
  const problems = found.flat();
  return {
    check: 'policies',
    level: worst(problems.map(({ severity }) => (severity === 'error' ? 'bad' : 'warn'))),
    findings: problems.map(({ key, path, message, fix }) =>
      [`${key} ${path} ${message}`, fix].filter(Boolean).join('; '),
    ),
  };
}

async function scheduleCheck(port: OpsPort): Promise<Check> {
  const [schedules, toPlan] = await Promise.all([port.listSchedules(), port.schedulesToPlan()]);
  return judge.judgeSchedules({ schedules, toPlan }, Date.now());
}

/** A key that is soon too old is said; one that is too old, or easily guessed, is bad. */
function aged(problems: Awaited<ReturnType<OpsPort['keyProblems']>>, env: Environment): Check {
  const { OPS_API_KEY, OPS_API_KEY_PREVIOUS, CRON_SECRET, GITHUB_WEBHOOK_SECRET } = env;
  const weak = judge.judgeSecrets({ OPS_API_KEY, OPS_API_KEY_PREVIOUS, CRON_SECRET, GITHUB_WEBHOOK_SECRET });
  const levels = problems.map(({ severe }): Level => (severe ? 'bad' : 'warn'));
  return {
    check: 'keys',
    level: worst([...levels, ...weak.map((): Level => 'bad')]),
    findings: [...problems.map(({ problem }) => problem), ...weak],
  };
}

/** Through the API there are no migrations to look at, but the version that they led to. */
async function driftOf(port: OpsPort, chosen: ChosenDatabase): Promise<string[]> {
  if (chosen.kind !== 'supabase')
    return (await verifyMigrations(chosen.config))
      .filter(({ status }) => status !== 'applied')
      .map(({ version, name, status }) => `${version} ${name} is ${status}; run ops-loop migrate`);
  const [latest, present] = [(await listMigrations()).at(-1)?.version, await port.schemaVersion()];
  return present === latest
    ? []
    : [`the schema is ${present}, the files go to ${latest}; run ops-loop migrate with DATABASE_URL set`];
}

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
