/** The worker against the real engine. */
import { randomUUID } from 'node:crypto';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import type { OpenDatabase } from '../../local/database.js';
import { type GateName, gates } from '../../local/worker/gates.js';
import { listenOver } from '../../local/worker/listener.js';
import type { WorkerOptions } from '../../local/worker/options.js';
import { startWorker, type Worker } from '../../local/worker/worker.js';
import { openDatabase } from '../../supabase/client/pg.js';
import { openAdapter } from '../support/adapter.js';
import { advanceClock, setClock } from '../support/clock.js';
import { useDatabase } from '../support/database.js';
import { until } from '../support/until.js';
import { deferred, recordingLog } from './worker-kit.js';

const db = useDatabase();
let engine: OpenDatabase;
let printed: string[] = [];
let logged = recordingLog();

beforeAll(async () => {
  engine = await openAdapter(db);
});
afterAll(() => engine.close());
beforeEach(async () => {
  printed = [];
  logged = recordingLog();
  await db.sql(`truncate ops_mission_steps, ops_missions, ops_action_runs, ops_step_dead_letters, ops_agent_events,
    ops_mission_proposals, ops_workers cascade`);
  await engine.port.setPolicy({
    key: 'worker_policy',
    value: { max_retries: 3, backoff: { base_seconds: 0.01, cap_seconds: 0.02 } },
  });
});
afterEach(() => {
  gates.hold = undefined;
});

async function start(options: Partial<WorkerOptions> = {}): Promise<Worker> {
  const worker = await startWorker({
    port: engine.port,
    log: logged.log,
    name: 'tested',
    print: (line) => printed.push(line),
    shutdownGraceSeconds: 0.1,
    ...options,
  });
  onTestFinished(async () => void (await worker.stop()));
  return worker;
}
const drain = async () => (await start({ once: true })).done;

type Step = { params?: object } & Record<string, unknown>;
/** A mission of independent noop steps; answers its id. */
async function mission(steps: Step[]): Promise<string> {
  const template = {
    title: 'drill',
    risk_level: 'low',
    steps: steps.map((step, i) => ({ key: `s${i}`, kind: 'noop', depends_on: [], ...step })),
  };
  const proposal = await engine.port.createProposal({ template: template as never });
  const approved = await engine.port.approveProposal({ id: proposal.id });
  return approved.mission_id ?? '';
}
/** Holds the worker at a gate until `open`. */
function holdAt(gate: GateName) {
  const [reached, opened] = [deferred(), deferred()];
  gates.hold = (name) => {
    if (name !== gate) return;
    reached.resolve();
    return opened.promise;
  };
  return { reached: reached.promise, open: () => opened.resolve() };
}
const steps = () => db.sql('select * from ops_mission_steps order by position');
const step = () => db.one('select * from ops_mission_steps');
const attempts = () => db.sql('select * from ops_action_runs order by started_at, run_id');
const stepIs = (status: string) =>
  until(async () => (await step()).status === status, { what: `the step is ${status}` });

describe('once', () => {
  test('drains 500 steps and exits, with every attempt and mission recorded', async () => {
    for (let i = 0; i < 10; i++)
      await mission(Array.from({ length: 50 }, (_, n) => ({ params: { echo: n } })));
    const worker = await start({ once: true });
    expect(await worker.done).toBe('drained');
    expect(worker.stats()).toMatchObject({
      state: 'stopped',
      claimed: 500,
      succeeded: 500,
      failed: 0,
      lost: 0,
      unwritten: 0,
    });
    expect(await db.sql('select status, count(*)::int from ops_mission_steps group by 1')).toEqual([
      { status: 'succeeded', count: 500 },
    ]);
    expect(await db.sql('select status, count(*)::int from ops_action_runs group by 1')).toEqual([
      { status: 'succeeded', count: 500 },
    ]);
    expect(await db.sql('select status, count(*)::int from ops_missions group by 1')).toEqual([
      { status: 'succeeded', count: 10 },
    ]);
    expect(await db.sql('select * from ops_workers')).toEqual([]);
    expect(printed).toEqual([]);
  });

  test('runs steps that become ready only by the ones before', async () => {
    await mission([{}, { depends_on: ['s0'] }, { depends_on: ['s1'] }]);
    expect(await drain()).toBe('drained');
    expect((await steps()).map(({ status }) => status)).toEqual(['succeeded', 'succeeded', 'succeeded']);
  });

  test('prints "No queued steps" when there is nothing', async () => {
    expect(await drain()).toBe('drained');
    expect(printed).toEqual(['No queued steps']);
  });

  test('takes over what a dead worker left', async () => {
    await mission([{}]);
    await engine.port.claimSteps({ worker: 'dead', executors: ['noop'], leaseSeconds: 60 });
    await advanceClock(db.sql, '2 minutes');
    onTestFinished(() => setClock(db.sql, 'real'));
    await drain();
    expect(await step()).toMatchObject({ status: 'succeeded', crash_count: 1 });
  });
});

describe('outcomes', () => {
  test('a step that fails twice is tried again with backoff and succeeds', async () => {
    await mission([{ params: { fail_times: 2 } }]);
    await start();
    await stepIs('succeeded');
    expect(await step()).toMatchObject({ failure_count: 2, result: { attempt: 3 } });
    expect((await attempts()).map(({ status }) => status)).toEqual(['failed', 'failed', 'succeeded']);
  });

  test('a permanent failure goes to the dead letters at once', async () => {
    await mission([{ params: { fail: 'permanent' } }]);
    await drain();
    expect(await step()).toMatchObject({ status: 'failed', last_error: 'failed on purpose (permanent)' });
    expect(await engine.port.listDeadLetters()).toMatchObject([
      { cause: 'permanent', attempts: 1, error_class: 'Drill' },
    ]);
    expect(logged.lines).toContainEqual(
      expect.objectContaining({ event: 'step.dead_lettered', executor: 'noop' }),
    );
  });

  test('a step that runs too long is aborted and recorded as timed out', async () => {
    await mission([{ params: { hang: true }, timeout_seconds: 0.2, max_retries: 1 }]);
    await start();
    await stepIs('failed');
    expect(await attempts()).toMatchObject([{ status: 'timed_out' }]);
    expect(await engine.port.listDeadLetters()).toMatchObject([
      { cause: 'exhausted', error_class: 'TimedOut' },
    ]);
  });

  test('a cancelled mission reaches the running step with the next renewal', async () => {
    const id = await mission([{ params: { hang: true } }]);
    const worker = await start();
    await stepIs('running');
    await engine.port.cancelMission({ id });
    await worker.ticks.renew();
    await stepIs('cancelled');
    expect(await attempts()).toMatchObject([{ status: 'cancelled' }]);
  });

  test('a halted switch stops the running step, which is given back with no attempt counted', async () => {
    await mission([{ params: { hang: true } }]);
    const worker = await start();
    await stepIs('running');
    await engine.port.pause({ scope: 'executor:noop', mode: 'halt' });
    onTestFinished(async () => void (await engine.port.resume({ scope: 'executor:noop' })));
    await worker.ticks.renew();
    await stepIs('scheduled');
    expect(await step()).toMatchObject({ failure_count: 0, wait_reason: 'switch:executor:noop' });
    expect(await attempts()).toMatchObject([{ status: 'released' }]);
  });
});

describe('a lost lease', () => {
  test('aborts the attempt, which writes nothing over the one that took the step', async () => {
    await mission([{ params: { hang: true } }]);
    const worker = await start({ concurrency: 1 });
    await stepIs('running');
    await advanceClock(db.sql, '2 minutes');
    onTestFinished(() => setClock(db.sql, 'real'));
    await engine.port.recoverExpiredLeases();
    const [stolen] = await engine.port.claimSteps({ worker: 'thief', executors: ['noop'] });
    if (stolen === undefined) throw new Error('the thief got nothing');
    await worker.ticks.renew();
    await until(() => worker.stats().running === 0, { what: 'the attempt is aborted' });
    const { id: step_id, lease_epoch } = stolen;
    const results = [{ step_id, lease_epoch, result: 'by the thief' }];
    expect(await engine.port.completeSteps({ worker: 'thief', results })).toMatchObject([{ held: true }]);
    expect(await step()).toMatchObject({ status: 'succeeded', worker_id: 'thief', result: 'by the thief' });
    expect(worker.stats()).toMatchObject({ lost: 1, succeeded: 0, failed: 0, unwritten: 0 });
    expect(logged.lines).toContainEqual(
      expect.objectContaining({ event: 'lease.lost', code: 'OPS_006', step_id }),
    );
  });

  test('a result that comes after the lease was taken is refused and logged', async () => {
    await mission([{ params: { echo: 'too late' } }]);
    const gate = holdAt('ran');
    const worker = await start({ concurrency: 1 });
    await gate.reached;
    await advanceClock(db.sql, '2 minutes');
    onTestFinished(() => setClock(db.sql, 'real'));
    await engine.port.recoverExpiredLeases();
    await engine.port.claimSteps({ worker: 'thief', executors: ['noop'] });
    gate.open();
    await until(() => worker.stats().lost === 1, { what: 'the worker learns that it lost' });
    expect(await step()).toMatchObject({ status: 'running', worker_id: 'thief', result: null });
  });
});

describe('stopping', () => {
  test('gives back what it claimed and had not started, with no attempt counted', async () => {
    await mission([{}, {}, {}]);
    const gate = holdAt('claimed');
    const worker = await start();
    await gate.reached;
    const stopped = worker.stop();
    gate.open();
    expect(await stopped).toBe('stopped');
    expect(await steps()).toMatchObject(
      Array(3).fill({ status: 'queued', failure_count: 0, crash_count: 0, lease_expires_at: null }),
    );
    expect((await attempts()).map(({ status }) => status)).toEqual(['released', 'released', 'released']);
  });

  test('lets a running step finish within the grace', async () => {
    await mission([{}]);
    const gate = holdAt('running');
    const worker = await start({ shutdownGraceSeconds: 10 });
    await gate.reached;
    const stopped = worker.stop();
    expect(worker.stats().state).toBe('draining');
    gate.open();
    expect(await stopped).toBe('stopped');
    expect(await step()).toMatchObject({ status: 'succeeded' });
  });

  test('aborts what outlasts the grace and gives it back', async () => {
    await mission([{ params: { hang: true } }]);
    const worker = await start();
    await stepIs('running');
    expect(await worker.stop()).toBe('stopped');
    expect(await step()).toMatchObject({ status: 'queued', failure_count: 0 });
    expect(await attempts()).toMatchObject([{ status: 'released' }]);
  });

  test('is the same by an aborted signal, and frees the name', async () => {
    const stop = new AbortController();
    const worker = await start({ signal: stop.signal });
    stop.abort();
    expect(await worker.done).toBe('stopped');
    expect(await db.sql('select * from ops_workers')).toEqual([]);
  });
});

describe('names', () => {
  test('a second start says that the worker is running already', async () => {
    const first = await start();
    const second = await start();
    expect(await second.done).toBe('already_running');
    expect(printed).toContain('worker already running');
    expect(first.stats().state).toBe('running');
  });

  test('another name runs beside it', async () => {
    await start();
    expect((await start({ name: 'another' })).stats().state).toBe('running');
  });

  test('the name of a dead process on this host is taken over, one on another host is not', async () => {
    const register = (name: string, host: string) =>
      engine.port.registerWorker({ name, instance: randomUUID(), host, pid: 2 ** 22 + 1, executors: [] });
    await register('tested', hostname());
    await register('elsewhere', 'another-host');
    expect((await start()).stats().state).toBe('running');
    expect(await (await start({ name: 'elsewhere' })).done).toBe('already_running');
  });
});

describe('an idle worker', () => {
  test('says so once, and a notification wakes it long before the poll', async () => {
    const listen = listenOver({ connectionString: db.url });
    // Polls are ten seconds apart then: of three steps in a row they find one at most in time.
    const worker = await start({ listen, random: () => 0 });
    await until(() => printed.length > 0, { what: 'the worker is idle' });
    await until(() => logged.events().includes('listen.ready'), { what: 'it listens' });
    for (let i = 1; i <= 3; i++) {
      await mission([{}]);
      await until(() => worker.stats().succeeded === i, { what: `step ${i} is done`, deadlineMs: 7_000 });
    }
    expect(printed).toEqual(['No queued steps']);
  });

  test('finds work by polling when it cannot listen', async () => {
    const worker = await start();
    await until(() => printed.length > 0, { what: 'the worker is idle' });
    await mission([{}]);
    await until(() => worker.stats().succeeded === 1, { what: 'the step is done' });
  });
});

describe('reactive mode', () => {
  test('turns an event into a finished mission without any heartbeat', async () => {
    const worker = await start({ reactive: {} });
    const { id } = await engine.port.emitEvent({ type: 'demo:hello', data: { name: 'Ada' } });
    await until(() => worker.stats().succeeded === 2, { what: 'both steps are done' });
    expect((await steps()).map(({ result }) => result)).toMatchObject([
      { echo: { text: 'Hello, Ada' } },
      { echo: { heard: 'Hello, Ada' } },
    ]);
    expect(await db.one('select outcome from ops_agent_events where id = $1', [id])).toEqual({
      outcome: 'fired',
    });
  });
});

describe('a lost database is a pause', () => {
  test('terminated backends cost nothing', async () => {
    const own = openDatabase({ connectionString: db.url, application_name: 'doomed' });
    onTestFinished(() => own.close());
    const listen = listenOver({ connectionString: db.url, application_name: 'doomed' });
    const worker = await start({ port: own.port, listen });
    for (let round = 1; round <= 5; round++) {
      await mission(Array.from({ length: 20 }, () => ({ params: { sleep_ms: 5 } })));
      await db.sql(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'doomed'`,
      );
      await until(async () => (await steps()).every(({ status }) => status === 'succeeded'), {
        what: `round ${round} is done`,
      });
    }
    expect(worker.stats().state).toBe('running');
    // The last answer may have been lost with its backend: then the outcome is on its way for the second time.
    await until(() => worker.stats().unwritten === 0, { what: 'the worker knows it too' });
  });

  test('a server that is gone for a while is waited for, and outcomes are kept', async () => {
    const proxy = await startProxy(db.url);
    onTestFinished(() => proxy.close());
    const own = openDatabase({ connectionString: proxy.url });
    onTestFinished(() => own.close());
    await mission([{ params: { echo: 'kept' } }]);
    const gate = holdAt('ran');
    const worker = await start({ port: own.port });
    await gate.reached;
    proxy.cut();
    gate.open();
    await until(() => logged.events().includes('database.away'), { what: 'the worker notices' });
    expect(worker.stats()).toMatchObject({ state: 'running', unwritten: 1 });
    proxy.mend();
    await stepIs('succeeded');
    expect(await attempts()).toMatchObject([{ status: 'succeeded' }]);
    expect(logged.events()).toContain('database.back');
  });

  test('also at the start', async () => {
    const proxy = await startProxy(db.url);
    onTestFinished(() => proxy.close());
    const own = openDatabase({ connectionString: proxy.url });
    onTestFinished(() => own.close());
    proxy.cut();
    const starting = start({ port: own.port });
    await until(() => logged.events().includes('database.away'), { what: 'the worker notices' });
    proxy.mend();
    expect((await starting).stats().state).toBe('running');
  });

  test('and between a name and the settings; one that is stopped then gives its name back', async () => {
    const proxy = await startProxy(db.url);
    onTestFinished(() => proxy.close());
    const own = openDatabase({ connectionString: proxy.url });
    onTestFinished(() => own.close());
    const registerWorker: typeof own.port.registerWorker = async (args) => {
      const answer = await own.port.registerWorker(args);
      if (!logged.events().includes('database.away')) proxy.cut();
      return answer;
    };
    const port = { ...own.port, registerWorker };
    const starting = start({ port });
    await until(() => logged.events().includes('database.away'), { what: 'the worker notices' });
    proxy.mend();
    const worker = await starting;
    expect(worker.stats().state).toBe('running');
    await worker.stop();
    logged = recordingLog();
    const stop = new AbortController();
    const second = start({ port, signal: stop.signal });
    await until(() => logged.events().includes('database.away'), { what: 'the worker notices again' });
    proxy.mend();
    stop.abort();
    expect(await (await second).done).toBe('stopped');
    expect(await db.sql('select from ops_workers')).toEqual([]);
  });
});

type Proxy = { url: string; cut(): void; mend(): void; close(): Promise<void> };

/** A way to the database that can be cut: open connections break, new ones are turned away. */
async function startProxy(url: string): Promise<Proxy> {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  let isCut = false;
  const server: Server = createServer((client) => {
    if (isCut) return void client.destroy();
    const upstream = connect(Number(target.port), target.hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        (socket === client ? upstream : client).destroy();
      });
    }
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const through = new URL(url);
  through.port = String(typeof address === 'object' ? address?.port : '');
  const breakAll = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: through.href,
    cut: () => {
      isCut = true;
      breakAll();
    },
    mend: () => {
      isCut = false;
    },
    close: () => {
      breakAll();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
