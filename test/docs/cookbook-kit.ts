/**
 * A room to cook in: a seeded database with one recipe applied as `policy apply` does it, the grants that its README
 * asks for, and a loop that runs with stand-ins (cookbook-stand-ins.ts) until nothing moves.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { z } from 'zod';
import { applied, keysOf, type Policies, readLive, readSource } from '../../local/cli/policy-sources.js';
import { projectRoot } from '../../local/env.js';
import { noop } from '../../local/executors/noop.js';
import { radar } from '../../local/executors/radar.js';
import { createRegistry } from '../../local/executors/registry.js';
import { listenOver } from '../../local/worker/listener.js';
import { startWorker } from '../../local/worker/worker.js';
import { runBeat } from '../../supabase/client/beat.js';
import { openDatabase } from '../../supabase/client/pg.js';
import { setPoliciesOrAlarm } from '../../supabase/client/policy.js';
import type { OpsPort } from '../../supabase/client/port.js';
import { EventInput } from '../../supabase/client/schemas/inputs.js';
import { setClock } from '../support/clock.js';
import { createDatabase } from '../support/database.js';
import { until } from '../support/until.js';
import { recordingLog } from '../unit/worker-kit.js';
import { type Answers, standIns, type Told } from './cookbook-stand-ins.js';

const folder = join(projectRoot, 'docs/cookbook');
export const recipes = readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);
export const placeOf = (recipe: string): string => join(folder, recipe);
export const readmeOf = (recipe: string): string => readFileSync(join(placeOf(recipe), 'README.md'), 'utf8');

export const samplesOf = (recipe: string) =>
  z
    .array(z.record(z.string(), z.json()))
    .parse(JSON.parse(readFileSync(join(placeOf(recipe), 'events.json'), 'utf8')));

/** Whatever variables the recipes name. */
const variables = ['SLACK_URL', 'ON_CALL_URL', 'GITHUB_TOKEN', 'CMS_TOKEN', 'CRM_TOKEN', 'DEPLOY_TOKEN'];
const secrets = (name: string) => (variables.includes(name) ? `https://example.com/${name}` : undefined);

/** Merges the recipe into the live policies, as the command does; answers what they are then. */
export async function applyRecipe(port: OpsPort, recipe: string): Promise<Policies> {
  const source = await readSource(placeOf(recipe));
  const live = await readLive(port, keysOf(source));
  const values = applied(source, live);
  await setPoliciesOrAlarm(port, {
    values,
    versions: Object.fromEntries(live.map(({ key, version }) => [key, version])),
    reason: `recipe: ${source.title}`,
  });
  return values;
}

export type Room = Awaited<ReturnType<typeof openRoom>>;

/** `at`: the clock stands there from before the recipe is applied. `answers` may be changed later. Closed with the test. */
export async function openRoom(
  recipe: string,
  { answers = {}, at }: { answers?: Answers; at?: string } = {},
) {
  const db = await createDatabase();
  const { port, close } = openDatabase({ connectionString: db.url, max: 5 });
  if (at !== undefined) await setClock(db.sql, { at });
  await applyRecipe(port, recipe);
  for (const [, grant = ''] of readmeOf(recipe).matchAll(/^```sql\n(.*?)^```$/gms)) await db.sql(grant);
  const told: Told[] = [];
  const worker = await startWorker({
    ...{ port, secrets, name: 'cook', concurrency: 1, print: () => {} },
    log: recordingLog('error').log,
    registry: createRegistry([noop, radar, ...standIns(told, answers)]),
    listen: listenOver({ connectionString: db.adminUrl }),
  });
  onTestFinished(async () => {
    await worker.stop();
    const violations = await port.checkInvariants();
    await close();
    await db.dispose();
    expect(violations).toEqual([]);
  });
  const ask = async (question: string) => (await db.one<{ yes: boolean }>(`select ${question} as yes`)).yes;
  const stepsEnded = async () => {
    const { running, unwritten } = worker.stats();
    return running + unwritten === 0 && !(await ask(openSteps));
  };
  /** Beats and lets steps run until a beat leaves nothing to do twice: what it raises may only then be due. */
  const rest = async (): Promise<void> => {
    for (let quiet = 0; quiet < 2; ) {
      expect(await runBeat(port, { source: 'reactive' })).toMatchObject({ ok: true });
      await until(stepsEnded, { what: `the steps of ${recipe} end` });
      quiet = (await ask(openWork)) ? 0 : quiet + 1;
    }
  };
  const waiting = async (): Promise<string[]> =>
    (await port.listProposals({ status: 'pending' })).map(({ title }) => title ?? '').sort();

  return {
    ...{ db, port, told, answers, rest, waiting },
    /** Moves the clock, and lets happen what is due by then. */
    clock: async (to: string) => {
      await setClock(db.sql, { at: to });
      await rest();
    },
    emit: async (type: string, data: Record<string, z.core.util.JSONType>) => {
      await port.emitEvent({ type, data });
      await rest();
    },
    /** Emits the recipe's samples of these types, all of them unless told. */
    samples: async (...types: string[]) => {
      const events = samplesOf(recipe).filter(
        ({ type }) => types.length === 0 || types.includes(String(type)),
      );
      await port.emitEvents({ events: z.array(EventInput).parse(events) });
      await rest();
    },
    /** A person approves everything that waits, and it runs; answers what that was. */
    approve: async (): Promise<string[]> => {
      const found = await waiting();
      for (const { id } of await port.listProposals({ status: 'pending' }))
        await port.approveProposal({ id, actor: 'anna', reason: 'looked at' });
      await rest();
      return found;
    },
    /** `<mission's status>: <key> <status>, …` in the order of the template, of the only mission with this title. */
    story: async (title: string): Promise<string> => {
      const { id, status } = await db.one<{ id: string; status: string }>(
        'select id, status from ops_missions where title = $1',
        [title],
      );
      const steps = await db.sql<{ key: string; status: string }>(
        'select key, status from ops_mission_steps where mission_id = $1 order by position, item_index nulls first',
        [id],
      );
      return `${status}: ${steps.map((step) => `${step.key} ${step.status}`).join(', ')}`;
    },
    /** What the stand-ins of steps with this key were asked. */
    asked: (key: string) => told.filter((one) => one.key === key).map(({ params }) => params),
    /** Every message by its channel: `<channel>: <title>`. */
    messages: () =>
      told
        .filter(({ executor }) => executor === 'notify')
        .map(({ params }) => `${params.channel}: ${params.title}`),
    signals: () => port.radarList({ limit: 50 }),
  };
}

const openSteps =
  "exists (select from ops_mission_steps where status in ('blocked', 'scheduled', 'queued', 'running'))";
const openWork = `${openSteps} or exists (select from ops_agent_events where processed_at is null)
  or exists (select from ops_agent_reactions where status in ('queued', 'processing'))`;
