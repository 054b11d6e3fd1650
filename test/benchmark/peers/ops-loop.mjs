/**
 * This engine as a peer of a harness that runs job and workflow libraries side by side. The harness imports this file
 * through a link in its folder `peers` (`npm run benchmark:peers` makes it), so its own code is found beside the
 * program that runs, and ours beside this file.
 *
 * `ops-loop?c=100` runs the worker at another concurrency, `ops-loop?c=default` at its default.
 */
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import pino from 'pino';
import { register } from 'tsx/esm/api';

register();
const { builtins } = await import('../../../local/executors/builtin.ts');
const { defineExecutor } = await import('../../../local/executors/contract.ts');
const { noop } = await import('../../../local/executors/noop.ts');
const { createRegistry } = await import('../../../local/executors/registry.ts');
const { migrate } = await import('../../../local/migrations.ts');
const { listenOver } = await import('../../../local/worker/listener.ts');
const { startWorker } = await import('../../../local/worker/worker.ts');
const { openDatabase } = await import('../../../supabase/client/pg.ts');
const { addCrowd } = await import('../../../local/benchmark/measures/crowd.ts');
const harness = dirname(process.argv[1] ?? '');
const { definePeer } = await import(pathToFileURL(join(harness, 'lib', 'peer.mjs')).href);

const title = 'peers';
const gate = { enabled: true, allowed_step_kinds: ['noop'], max_risk_level: 'medium' };
const database = (ctx) => {
  ctx.database ??= openDatabase({ connectionString: ctx.url, max: 8 });
  return ctx.database;
};
const count = async (ctx, sql, values) => (await database(ctx).pool.query(sql, values)).rows[0].n;

/** What each step says when it begins: a job its id, a ping its number, the last of three its mission. */
const step = (says) => ({ kind: 'noop', params: { echo: says } });
const templates = {
  noop: { title, steps: [step('job')] },
  flow: { title, steps: [step({ part: 1 }), step({ part: 2 }), step('mission')] },
};

function telling(on) {
  const run = (ctx) => {
    const { echo } = ctx.params;
    if (echo === 'job') on.noop(ctx.stepId);
    else if (echo === 'mission') on.flow(ctx.missionId);
    else if (echo?.seq !== undefined) on.ping(echo.seq);
    return noop.run(ctx);
  };
  const told = defineExecutor({ ...noop, run });
  return createRegistry(builtins.map((executor) => (executor.name === 'noop' ? told : executor)));
}

function concurrencyOf(ctx) {
  const wish = ctx.param.get('c') ?? '1000';
  return wish === 'default' ? undefined : Number(wish);
}

export default definePeer({
  meta: {
    name: 'ops-loop',
    package: 'ops-loop',
    finished: 'kept',
    settings:
      'concurrency 1000, LISTEN, pool of 8; bulk: ops_create_proposals, 1,000 a call; every job is a mission with events and attempts',
  },
  // Outcomes are written in batches; so many may be on their way.
  inflight: 5_000,
  async install(ctx) {
    await migrate(ctx.url);
    await database(ctx).port.setPolicy({ key: 'auto_approve', value: gate });
  },
  connect: (ctx) => database(ctx).port.schemaVersion(),
  async insert(ctx, kind, n) {
    for (let i = 0; i < n; i += 1_000) {
      const proposals = Array.from({ length: Math.min(1_000, n - i) }, () => ({ template: templates[kind] }));
      await database(ctx).port.createProposals({ proposals }, { deadlineMs: 60_000 });
    }
  },
  async insertOne(ctx, kind, data) {
    const says = kind === 'ping' ? { seq: data.seq } : 'job';
    await database(ctx).port.createProposal({ template: { title, steps: [step(says)] } });
  },
  async start(ctx, on) {
    const worker = await startWorker({
      port: database(ctx).port,
      log: pino({ level: 'silent' }),
      registry: telling(on),
      listen: listenOver({ connectionString: ctx.url }),
      concurrency: concurrencyOf(ctx),
      name: `peers-${ctx.index}`,
      print: () => {},
    });
    return { stop: () => worker.stop() };
  },
  async settled(ctx, kind, ids) {
    const table = kind === 'flow' ? 'ops_missions' : 'ops_mission_steps';
    const sql = `select count(*)::int as n from public.${table} where id = any ($1::uuid[]) and status = 'succeeded'`;
    return (await count(ctx, sql, [ids])) === ids.length;
  },
  left: (ctx) =>
    count(
      ctx,
      `select count(*)::int as n from public.ops_missions where title = $1 and status in ('approved', 'running')`,
      [title],
    ),
  async fill(ctx, { finished, future }) {
    await database(ctx).port.createProposal({ template: { title: 'old', steps: [step('old')] } });
    await addCrowd(database(ctx).pool, 'old', { finished, scheduled: future });
    await database(ctx).pool.query(
      `update public.ops_mission_steps set status = 'cancelled' where key = 'step_1' and status = 'queued'`,
    );
    await database(ctx).pool.query('vacuum analyze');
  },
  close: (ctx) => ctx.database?.close(),
});
