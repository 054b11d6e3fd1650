/** Alerts: each is raised once when its level is entered and resolved once when it ends, however many beats there are. */
import { beforeEach, describe, expect, test } from 'vitest';
import type { Alert } from '../../supabase/client/schemas/rows.js';
import { alertDefaults } from '../../supabase/client/schemas/thresholds.js';
import { alertNames } from '../../supabase/client/terms.js';
import { advanceClock } from '../support/clock.js';
import { hold, type Json, noop, only, race, ref, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

beforeEach(() =>
  db.sql(`delete from ops_alert_states; delete from ops_backups; delete from ops_rates;
    delete from ops_llm_breakers; delete from ops_api_keys; delete from ops_seen_secrets`),
);

const forward = (by: string) => advanceClock(db.sql, by);
const sqlOf = (text: string) => () => db.sql(text);
type Rules = Record<string, { [key: string]: Json }>;

/** Only these alerts are judged. */
const judge = (rules: Rules, more: { [key: string]: Json } = {}) => {
  const others = alertNames.filter((name) => !(name in rules)).map((name) => [name, { enabled: false }]);
  return engine.setPolicy('alerts', {
    min_samples: 1,
    ...more,
    rules: { ...Object.fromEntries(others), ...rules },
  });
};
const alert = async (name: string): Promise<Alert> =>
  only((await engine.port.alerts()).filter((row) => row.name === name));

/** Types of the events about alerts, in the order they came. */
const said = async (): Promise<string[]> =>
  (
    await db.sql<{ type: string }>(
      "select type from ops_agent_events where type like 'alert:%' order by created_at",
    )
  ).map(({ type }) => type);
const tenBeats = async (): Promise<void> => {
  const rounds = await race(10, () => engine.port.heartbeat({ source: 'reactive' }));
  expect(rounds.flatMap(({ failures }) => failures)).toEqual([]);
};

const finish = async (meta: { [key: string]: Json } = {}): Promise<void> => {
  const results = (await engine.claim(100, ['noop'], 86_400)).map((lease) => ({
    ...ref(lease),
    result: {},
    meta,
  }));
  await engine.port.completeSteps({ worker: 'w', results });
};
const work = async (meta: { [key: string]: Json } = {}): Promise<void> => {
  await engine.mission([noop('one')]);
  await finish(meta);
};
const failure = async (): Promise<void> => {
  await engine.mission([noop('one')]);
  await engine.fail(await engine.claim(), 'permanent');
};
const worker = '00000000-0000-4000-8000-000000000001';
const reportLatency = async (latency_p95_ms: number): Promise<void> => {
  await engine.port.registerWorker({
    name: 'w',
    instance: worker,
    host: 'h',
    pid: 1,
    executors: [],
    takeover: true,
  });
  await db.sql('select ops_report_llm($1, $2)', [
    'w',
    JSON.stringify([
      {
        provider: 'openai',
        state: 'closed',
        failures: 0,
        calls: 30,
        failed_calls: 0,
        latency_p95_ms,
        last_success_ms_ago: 0,
        reset_done: 0,
      },
    ]),
  ]);
};
const windowPasses = () => forward('61 minutes');

type Story = { rule: { [key: string]: Json }; raise: () => Promise<unknown>; end: () => Promise<unknown> };
/** What brings each alert about, and what ends it. */
const stories: Record<Exclude<(typeof alertNames)[number], 'heartbeat_age'>, Story> = {
  heartbeat_failures: {
    rule: {},
    raise: async () => {
      for (const error of ['one', 'two', 'three'])
        await engine.port.recordBeatFailure({ source: 'cron', error });
    },
    end: () => engine.port.heartbeat({ source: 'cron' }),
  },
  idle_worker: {
    rule: {},
    raise: async () => {
      await engine.mission([noop('one')]);
      await forward('11 minutes');
    },
    end: () => finish(),
  },
  event_to_proposal: {
    rule: {},
    raise: async () => {
      await engine.patterns({
        id: 'p',
        event_type: 'a:b',
        template: { title: 'late', steps: [noop('one')] },
      });
      await engine.emit('a:b');
      await forward('6 minutes');
      // By a beat that does no more than this: who judges the alerts must see it.
      await db.sql('select ops_decide_events(), ops_process_reactions()');
    },
    end: windowPasses,
  },
  mission_success: {
    // The one that succeeds leaves half of them, which is under the warning only.
    rule: { critical: 40 },
    raise: async () => {
      await failure();
      await work();
    },
    end: windowPasses,
  },
  dead_letters_per_hour: { rule: { warning: 1 }, raise: failure, end: windowPasses },
  dead_letters_per_day: { rule: { warning: 1 }, raise: failure, end: () => forward('25 hours') },
  open_events: {
    rule: { warning: 1 },
    raise: async () => {
      await engine.port.pause({ scope: 'heartbeat' });
      await engine.emit('a:b');
      await forward('6 minutes');
    },
    end: () => engine.port.resume({ scope: 'heartbeat' }),
  },
  queued_steps: { rule: { warning: 1 }, raise: () => engine.mission([noop('one')]), end: () => finish() },
  oldest_proposal: {
    rule: {},
    raise: async () => {
      await engine.setPolicy('auto_approve', { enabled: false });
      await engine.port.createProposal({ template: { title: 'ask', steps: [noop('one')] } });
      await forward('25 hours');
    },
    end: sqlOf("update ops_mission_proposals set status = 'rejected'"),
  },
  proposals_per_hour: { rule: { warning: 1 }, raise: () => work(), end: windowPasses },
  step_duration: {
    rule: {},
    raise: async () => {
      await engine.mission([noop('one')]);
      const leases = await engine.claim(1, ['noop'], 3_600);
      await forward('11 minutes');
      await engine.complete(leases);
    },
    end: windowPasses,
  },
  llm_latency: { rule: {}, raise: () => reportLatency(6_000), end: () => reportLatency(100) },
  llm_errors: {
    rule: {},
    raise: () => work({ calls: 100, failed_calls: 3, provider: 'openai' }),
    end: windowPasses,
  },
  llm_cost: { rule: {}, raise: () => work({ usd: 12 }), end: windowPasses },
  database_connections: {
    rule: { warning: 1e6, critical: 1e9 },
    raise: () => judge({ database_connections: { warning: 0.01, critical: 1e9 } }),
    end: () => judge({ database_connections: { warning: 1e6, critical: 1e9 } }),
  },
  webhook_failures: {
    rule: { warning: 2 },
    raise: () =>
      race(2, () => engine.port.takeRate({ bucket: 'webhook:github', limit: 1_000, windowSeconds: 3_600 })),
    end: windowPasses,
  },
  key_age: {
    rule: {},
    raise: async () => {
      const key = { prefix: 'ops_viewer_0a1b2c3d', hash: '0'.repeat(64) };
      await engine.port.createKey({ label: 'old', scope: 'viewer', ...key });
      await forward('84 days');
    },
    end: () => engine.port.revokeKey({ key: 'old' }),
  },
  backup_age: {
    rule: {},
    raise: async () => {
      await engine.port.recordBackup({ backup: { file: 'loop.dump' } });
      await forward('49 hours');
    },
    end: () => engine.port.recordBackup(),
  },
};

describe.each(Object.entries(stories))('%s', (name, { rule, raise, end }) => {
  test('is raised once and resolved once, by ten beats at once', async () => {
    await judge({ [name]: rule });
    if (name !== 'backup_age') await engine.beat();
    expect(await said()).toEqual([]);
    await forward('2 minutes');
    await raise();
    await tenBeats();
    expect(await said()).toEqual([`alert:${name}:warning`]);
    expect(await alert(name)).toMatchObject({
      level: 'warning',
      raised_level: 'warning',
      since: expect.any(String),
    });
    await end();
    await forward('2 minutes');
    await engine.beat();
    expect(await said()).toEqual([`alert:${name}:warning`]);
    await forward('4 minutes');
    await tenBeats();
    await forward('4 minutes');
    await engine.beat();
    expect(await said()).toEqual([`alert:${name}:warning`, `alert:${name}:resolved`]);
    expect(await alert(name)).toMatchObject({ level: 'ok', raised_level: 'ok' });
  });
});

describe('an alert', () => {
  let mission: string | undefined;
  const steps = async (count: number) => {
    if (mission !== undefined) await engine.port.cancelMission({ id: mission });
    const template = Array.from({ length: count }, (_, n) => noop(`n${n}`, { depends_on: [] }));
    mission = count > 0 ? await engine.mission(template) : undefined;
    await forward('4 minutes');
    await engine.beat();
  };

  test('says each level it enters, and what it came from', async () => {
    await judge({ queued_steps: { warning: 2, critical: 4 } });
    for (const count of [2, 3, 4, 5, 2, 2, 0, 0]) await steps(count);
    const events = await db.sql<{ data: { [key: string]: Json }; type: string }>(
      "select type, data from ops_agent_events where type like 'alert:%' order by created_at",
    );
    expect(events.map(({ type, data }) => [type, data.from, data.level])).toEqual([
      ['alert:queued_steps:warning', 'ok', 'warning'],
      ['alert:queued_steps:critical', 'warning', 'critical'],
      ['alert:queued_steps:warning', 'critical', 'warning'],
      ['alert:queued_steps:resolved', 'warning', 'ok'],
    ]);
    expect(events[1]?.data).toMatchObject({
      alert: 'queued_steps',
      value: 4,
      sentence: 'Steps in the queue: 4, critical from 4.',
      hint: 'ops-loop status',
    });
  });

  test('that comes back within three minutes was never gone', async () => {
    await judge({ queued_steps: { warning: 1 } });
    const id = await engine.mission([noop('one'), noop('two')]);
    await engine.beat();
    for (const _ of [1, 2, 3]) {
      const leases = await engine.claim(1, ['noop'], 3_600);
      await forward('2 minutes');
      await engine.beat();
      await engine.release(leases);
      await forward('2 minutes');
      await engine.beat();
    }
    expect(await said()).toEqual(['alert:queued_steps:warning']);
    await engine.port.cancelMission({ id });
  });

  test('of a rate needs its samples', async () => {
    await judge({ mission_success: {} }, { min_samples: 3 });
    await failure();
    await failure();
    expect(await alert('mission_success')).toMatchObject({
      level: 'ok',
      value: null,
      samples: 2,
      sentence: 'Missions that succeed: too few to judge by (2).',
    });
    await failure();
    expect(await alert('mission_success')).toMatchObject({
      level: 'critical',
      value: 0,
      samples: 3,
      sentence: 'Missions that succeed: 0 %, critical below 80 %.',
    });
  });

  test('is judged by its worst subject with enough samples', async () => {
    await judge({ llm_errors: {} }, { min_samples: 20 });
    await work({ calls: 19, failed_calls: 19, provider: 'few' });
    await work({ calls: 100, failed_calls: 4, provider: 'many' });
    await work({ calls: 100, failed_calls: 0, provider: 'well' });
    await work({ calls: 'many', failed_calls: null, usd: '12' });
    expect(await alert('llm_errors')).toMatchObject({ level: 'warning', value: 4, subject: 'provider many' });
  });

  test('is judged at most once a minute, unless forced', async () => {
    await judge({ queued_steps: { warning: 1 } });
    await engine.beat();
    await engine.mission([noop('one')]);
    await forward('50 seconds');
    await engine.beat();
    expect(await said()).toEqual([]);
    const { answer } = await db.one('select ops_raise_alerts(true) as answer');
    expect(answer).toEqual({ raised: 1, resolved: 0, more: true });
  });

  test('has another round follow when it is raised, so that a pattern reacts at once', async () => {
    const template = { title: '{{event.data.sentence}}', steps: [noop('look')] };
    await engine.patterns({ id: 'tell', event_type: 'alert:*:warning', template });
    await judge({ queued_steps: { warning: 1 } });
    await engine.mission([noop('one')]);
    expect(await engine.beat()).toHaveLength(2);
    expect(await db.sql("select title from ops_missions where pattern_id = 'tell'")).toEqual([
      { title: 'Steps in the queue: 1, warning from 1.' },
    ]);
  });

  test('is not waited for while another beat judges', async () => {
    await judge({ queued_steps: { warning: 1 } });
    await engine.mission([noop('one')]);
    const letGo = await hold(db, "select pg_advisory_xact_lock(hashtext('public.ops_raise_alerts'))");
    await engine.beat();
    expect(await said()).toEqual([]);
    await letGo();
    await engine.beat();
    expect(await said()).toEqual(['alert:queued_steps:warning']);
  });

  test('is resolved when all are switched off, and not raised again', async () => {
    await judge({ queued_steps: { warning: 1 } });
    await engine.mission([noop('one')]);
    await engine.beat();
    await engine.setPolicy('alerts', { enabled: false });
    for (const _ of [1, 2, 3, 4]) {
      await forward('4 minutes');
      await engine.beat();
    }
    expect(await said()).toEqual(['alert:queued_steps:warning', 'alert:queued_steps:resolved']);
    expect((await alert('queued_steps')).sentence).toBe(
      'Steps in the queue: switched off by the policy alerts.',
    );
  });
});

describe('the silence of the heartbeat', () => {
  test('is told by whoever asks, and never raised by a beat', async () => {
    await judge({ heartbeat_age: {} });
    await engine.port.heartbeat({ source: 'cron' });
    expect(await alert('heartbeat_age')).toMatchObject({ level: 'ok' });
    await forward('16 minutes');
    expect(await alert('heartbeat_age')).toMatchObject({ level: 'warning', raised_level: null });
    await forward('1 hour');
    expect(await alert('heartbeat_age')).toMatchObject({ level: 'critical' });
    await engine.port.heartbeat({ source: 'cron' });
    expect(await said()).toEqual([]);
    expect(await alert('heartbeat_age')).toMatchObject({ level: 'ok' });
  });

  test('goes by the policy, and before the first beat by what waits', async () => {
    await judge({ heartbeat_age: {} }, { heartbeat_minutes: 1 });
    expect(await alert('heartbeat_age')).toMatchObject({ level: 'ok', value: null });
    await engine.emit('a:b');
    await forward('4 minutes');
    expect(await alert('heartbeat_age')).toMatchObject({ level: 'warning' });
    await engine.beat();
  });
});

describe('backups', () => {
  test('that nobody takes are critical once the policy names them', async () => {
    await engine.setPolicy('alerts', {});
    expect(await alert('backup_age')).toMatchObject({ level: 'ok' });
    await judge({ backup_age: {} });
    expect(await alert('backup_age')).toMatchObject({
      level: 'critical',
      value: null,
      sentence: 'Age of the latest backup: none has been recorded.',
    });
    await judge({ backup_age: { enabled: false } });
    expect(await alert('backup_age')).toMatchObject({ level: 'ok' });
  });

  test('are kept, the latest hundred of them', async () => {
    for (let n = 0; n < 102; n++) await engine.port.recordBackup({ backup: { n } });
    const { n, oldest } = await db.one(
      "select count(*)::int as n, min((detail ->> 'n')::int) as oldest from ops_backups",
    );
    expect({ n, oldest }).toEqual({ n: 100, oldest: 2 });
  });

  test('are refused with more than there is room for', async () => {
    const backup = { text: 'x'.repeat(8_192) };
    await expect(engine.port.recordBackup({ backup })).rejects.toMatchObject({ code: 'OPS_011' });
  });
});

describe('the table of alerts', () => {
  test('has the names that the policy may use, and no other', async () => {
    const rules = await db.sql('select name from ops_alert_rules()');
    expect(rules.map(({ name }) => name)).toEqual([...alertNames]);
  });

  test('has the thresholds that policies are read by before they are written', async () => {
    const rules = await db.sql('select name, below, warning, critical from ops_alert_rules()');
    const known = Object.entries(alertDefaults).map(([name, thresholds]) => ({
      name,
      below: false,
      ...thresholds,
    }));
    expect(rules).toEqual(known);
  });

  test.each<[string, Rules, string, RegExp]>([
    [
      'both',
      { queued_steps: { warning: 500, critical: 50 } },
      '$.rules.queued_steps.critical',
      /higher is worse/,
    ],
    [
      'a critical under the default warning',
      { queued_steps: { critical: 40 } },
      '$.rules.queued_steps.critical',
      /50/,
    ],
    [
      'a warning over the default critical',
      { queued_steps: { warning: 600 } },
      '$.rules.queued_steps.warning',
      /500/,
    ],
    [
      'where lower is worse',
      { mission_success: { warning: 80, critical: 95 } },
      '$.rules.mission_success.critical',
      /lower is worse/,
    ],
  ])('thresholds the wrong way round are refused with the place: %s', async (_, rules, path, message) => {
    await expect(engine.setPolicy('alerts', { rules })).rejects.toMatchObject({
      code: 'OP008',
      message: expect.stringContaining(path),
      detail: expect.stringMatching(message),
      hint: expect.stringMatching(/^Write both thresholds/),
    });
  });

  test('equal thresholds, and one beside no other, are in order', async () => {
    await engine.setPolicy('alerts', {
      rules: {
        queued_steps: { warning: 60, critical: 60 },
        mission_success: { warning: 70, critical: 60 },
        dead_letters_per_day: { warning: 1_000 },
        proposals_per_hour: { critical: 500 },
      },
    });
  });

  test('a name that it does not have is refused with those it has', async () => {
    const write = engine.setPolicy('alerts', { rules: { queued_step: { warning: 1 } } });
    await expect(write).rejects.toMatchObject({
      code: 'OP008',
      message: expect.stringContaining('queued_step'),
    });
  });

  test('is judged whole on an empty database, and all is well', async () => {
    await engine.setPolicy('alerts', {});
    const alerts = await engine.port.alerts();
    expect(alerts.map(({ name }) => name).toSorted()).toEqual([...alertNames].toSorted());
    expect(alerts.filter(({ level }) => level !== 'ok')).toEqual([]);
  });
});
