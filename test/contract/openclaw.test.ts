/** The openclaw executor against its stand-in, which prints every shape that OpenClaw is documented or known to print. */
import { existsSync } from 'node:fs';
import { readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createOpenclaw } from '../../local/executors/openclaw/openclaw.js';
import { type Bench, makeBench, type Script } from '../support/openclaw/kit.js';
import { embeddedTurn, envelope, failedEnvelope, thrownEnvelope, turn } from '../support/openclaw/shapes.js';
import { processesNaming } from '../support/processes.js';
import { until } from '../support/until.js';
import { checkExecutor, runStep, type Surroundings, startStep } from './kit.js';

const key = 'sk-provider-secret-0001';
const message = 'Run the tests --help -rf $(id);id\nand `say` so';
const exec = { mode: 'exec', message };
const agent = { mode: 'agent', message, agent: 'ops' };

const bench: Bench = await makeBench();
const openclaw = createOpenclaw({ graceMs: 100, deadlineGraceMs: 100 });
const policy = {
  allowed_openclaw_subcommands: ['agent exec', 'agent', 'agent --local', 'agent --deliver'],
  allowed_openclaw_agents: ['ops'],
  allowed_openclaw_models: ['standin/m1', 'standin/m2'],
  allowed_openclaw_recipients: ['#reports', '-1001234'],
  allowed_tools: ['read', 'group:fs'],
  openclaw_environment: ['PROVIDER_KEY'],
};
const around = (over: { policy?: object; settings?: Record<string, string> } = {}): Surroundings => ({
  policies: { worker_policy: { ...policy, ...over.policy }, agent_roles: {} },
  secrets: { ...bench.settings, PROVIDER_KEY: key, ...over.settings },
  workspace: bench.workspace,
});

async function runWith(script: Script, params: object, over: Parameters<typeof around>[0] = {}) {
  await bench.script(script);
  const run = startStep(openclaw, params, around(over));
  const outcome = await run.outcome;
  return { outcome, meta: run.scope.meta };
}
const outcomeOf = async (...args: Parameters<typeof runWith>) => (await runWith(...args)).outcome;
const resultOf = async (...args: Parameters<typeof runWith>) => {
  const outcome = await outcomeOf(...args);
  if (outcome.kind !== 'complete') throw new Error(JSON.stringify(outcome));
  return outcome.result as { [name: string]: unknown };
};
const failure = (outcome: string, error_class: string, error: unknown = expect.any(String)) => ({
  kind: 'fail',
  failure: { outcome, error_class, error },
});

beforeAll(async () => {
  vi.stubEnv('OPS_CANARY', 'a-secret-of-the-worker');
  vi.stubEnv('PATH', `${join(bench.folder, 'bin')}:${process.env.PATH}`);
  vi.stubEnv('TMPDIR', bench.temporary);
  await bench.script({ out: envelope() });
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await bench.remove();
});

// Without settings of its own: what it needs is on PATH.
const plain: Surroundings = { ...around(), secrets: { PROVIDER_KEY: key } };
checkExecutor(openclaw, {
  good: [{ params: exec, around: plain }],
  long: { params: { ...exec, message: 'Wait.' }, around: plain },
  bad: [
    {},
    { mode: 'exec' },
    { mode: 'shell', message: 'x' },
    { ...exec, thinking: true },
    { ...exec, model: '--help' },
    { ...exec, model: 'a b' },
    { ...exec, tools: ['-x'] },
    { ...exec, timeout_seconds: 0 },
    { ...exec, session_key: 'x' },
    { ...agent, tools: ['read'] },
    { ...agent, session_key: '\u0000' },
    { ...agent, to: 'x y' },
  ],
});

describe('agent exec', () => {
  test('a clean envelope is the result, with usage and cost', async () => {
    const { outcome, meta } = await runWith({ out: envelope() }, exec);
    expect(outcome).toEqual({
      kind: 'complete',
      events: [],
      result: {
        mode: 'exec',
        text: 'The tests pass.',
        truncated: false,
        media: [],
        model: 'm1',
        provider: 'standin',
        session_id: '019a-session',
        run_id: null,
        usage: { input_tokens: 120, output_tokens: 8, total_tokens: 128 },
        cost_usd: 0.00038,
        tool_calls: null,
        tools: [],
        delivery: null,
        version: '2026.9.6',
      },
    });
    expect(meta).toEqual({
      ...{ usd: 0.00038, tokens: 128, input_tokens: 120, output_tokens: 8 },
      ...{ model: 'm1', provider: 'standin' },
    });
  });

  test('the message comes on stdin, never on the command line', async () => {
    await runWith({ out: envelope() }, { ...exec, input: { title: 'from outside' } });
    const { argv, message: said } = await bench.call();
    expect(said.startsWith(`${message}\n\n`)).toBe(true);
    expect(said).toMatch(/<<<input [0-9a-f]{32}\n\{\n "title": "from outside"\n\}\ninput [0-9a-f]{32}>>>$/);
    expect(argv).toEqual([
      ...['agent', 'exec', '--json', '--message-file=-'],
      expect.stringMatching(/^--config=\/.+\/openclaw\.json$/),
      expect.stringMatching(/^--cwd=\/.+\/work$/),
      ...['--code-mode=direct', '--timeout=0'],
    ]);
  });

  test('models, fallbacks, thinking and a deadline go along when they are granted', async () => {
    const asked = { model: 'standin/m1', fallbacks: ['standin/m2'], thinking: 'high', timeout_seconds: 90 };
    await runWith({ out: envelope() }, { ...exec, ...asked });
    expect((await bench.call()).argv.slice(6)).toEqual([
      ...['--code-mode=direct', '--model=standin/m1', '--fallback=standin/m2'],
      ...['--thinking=high', '--timeout=90'],
    ]);
  });

  test('the child has the listed environment and what the policy grants, nothing else of ours', async () => {
    await runWith({ out: envelope() }, exec);
    const { env } = await bench.call();
    expect(JSON.stringify(env)).not.toContain(process.env.OPS_CANARY);
    expect(env.PROVIDER_KEY).toBe(key);
    expect(env.TMPDIR).toMatch(/^\/.+\/ops-openclaw-\w+$/);
    const foreign = Object.keys(env).filter(
      (name) => !/^(PATH|HOME|LANG|LC_\w+|TZ|TMPDIR|PWD|SHLVL|_|OLDPWD)$/.test(name),
    );
    expect(foreign.sort()).toEqual([
      ...['NO_COLOR', 'OPENCLAW_CONFIG_PATH', 'OPENCLAW_INCLUDE_ROOTS', 'OPENCLAW_LOG_LEVEL'],
      ...['OPENCLAW_NO_AUTO_UPDATE', 'OPS_IDEMPOTENCY_KEY', 'OPS_LOOP_RUN', 'PROVIDER_KEY'],
    ]);
  });

  test('without tools the agent gets none, with tools exactly those', async () => {
    await runWith({ out: envelope() }, exec);
    expect((await bench.call()).config).toEqual({ tools: { deny: ['*'] } });
    const file = join(bench.folder, 'own.json');
    await writeFile(file, JSON.stringify({ tools: { profile: 'coding' } }));
    const settings = { OPS_OPENCLAW_CONFIG: file };
    await runWith({ out: envelope() }, { ...exec, tools: ['read'] }, { settings });
    const { config, env } = await bench.call();
    expect(config).toEqual({ $include: file, tools: { allow: ['read'] } });
    expect(env).toMatchObject({ OPENCLAW_INCLUDE_ROOTS: bench.folder, OPENCLAW_CONFIG_PATH: file });
  });

  test.each([
    ['tools of its own', '{"tools":{"allow":["exec"]}}'],
    ['more tools of its own', '{"tools":{"alsoAllow":["exec"]}}'],
    ['an include at its top', '{"$include":"./other.json"}'],
    ['JSON5', '{ tools: { allow: ["exec"] } }'],
  ])('a configuration with %s is refused: it could widen the grant', async (_, text) => {
    const file = join(bench.folder, 'wide.json');
    await writeFile(file, text);
    const outcome = await outcomeOf({ out: envelope() }, exec, { settings: { OPS_OPENCLAW_CONFIG: file } });
    expect(outcome).toMatchObject(failure('permanent', 'Configuration'));
    expect(await bench.calls()).toEqual([]);
  });

  test('noise around the envelope does not matter', async () => {
    const noise = '[plugins] loaded {"level":"info"} [1,2]\n\u001b[33mconfig notice\u001b[39m { not json\n';
    expect(
      await resultOf({ out: `${noise}${envelope()}\n{"level":"warn","msg":"late"}\n` }, exec),
    ).toMatchObject({
      text: 'The tests pass.',
    });
  });

  test('an answer of five megabytes is read, and cut with a mark', async () => {
    const final = 'long answer '.repeat(420_000);
    const result = await resultOf({ out: envelope({ final }) }, exec);
    expect(result).toMatchObject({ truncated: true, usage: { total_tokens: 128 } });
    expect(result.text).toHaveLength(500_000);
  });

  test('an envelope behind nine megabytes of noise is read', async () => {
    expect(await resultOf({ filler: 9_000_000, out: envelope() }, exec)).toMatchObject({
      text: 'The tests pass.',
    });
  });

  test('empty payloads are an agent that had nothing to say', async () => {
    expect(await resultOf({ out: envelope({ final: '', payloads: [] }) }, exec)).toMatchObject({ text: '' });
  });

  test('payloads stand in for a missing final text, without reasoning', async () => {
    const payloads = [
      { text: 'hm', isReasoning: true },
      { text: 'Yes.', mediaUrl: 'file:///a.png' },
      { text: 7 },
      null,
    ];
    expect(await resultOf({ out: envelope({ final: undefined, payloads }) }, exec)).toMatchObject({
      text: 'Yes.',
      media: ['file:///a.png'],
    });
  });

  test('figures that are malformed or missing are left out, and no price is not a price of nothing', async () => {
    const usage = { input: -1, output: 'many', total: 12, cost: { total: 0 } };
    const { outcome, meta } = await runWith({ out: envelope({ usage, costUsd: undefined, model: 7 }) }, exec);
    expect(outcome).toMatchObject({ result: { usage: { total_tokens: 12 }, cost_usd: null, model: null } });
    expect(meta).toEqual({ tokens: 12, input_tokens: 0, output_tokens: 0, provider: 'standin' });
    const silent = await runWith({ out: envelope({ usage: undefined, costUsd: undefined }) }, exec);
    expect(silent.meta).toEqual({ model: 'm1', provider: 'standin' });
  });

  test('what a failed run cost is recorded', async () => {
    const { outcome, meta } = await runWith({ code: 1, out: failedEnvelope('overloaded') }, exec);
    expect(outcome).toMatchObject(failure('retryable', 'AgentFailed', 'openclaw failed: overloaded'));
    expect(meta).toMatchObject({ usd: 0.00038, tokens: 128 });
  });

  test.each<[string, Script, object]>([
    [
      'exit 1 with an error',
      { code: 1, out: thrownEnvelope('socket hang up') },
      failure('retryable', 'AgentFailed'),
    ],
    ['exit 2', { code: 2, out: envelope({ ok: false, status: 'timeout' }) }, failure('unknown', 'TimedOut')],
    [
      'exit 143',
      { code: 143, err: 'terminated' },
      failure('unknown', 'Unreadable', expect.stringContaining('143')),
    ],
    ['a signal', { dies: 'SIGTERM' }, failure('unknown', 'Unreadable', expect.stringContaining('SIGTERM'))],
    ['a release without it', { version: '2026.7.35\n' }, failure('permanent', 'TooOld')],
    [
      'a program that does not start',
      { version: 'needs Node 24\n', versionCode: 1 },
      failure('permanent', 'NotStarted', expect.stringContaining('needs Node 24')),
    ],
  ])('%s', async (_, script, expected) => {
    expect(await outcomeOf(script, exec)).toMatchObject(expected);
  });

  test('a program that is not there', async () => {
    const settings = { OPS_OPENCLAW_BIN: 'openclaw-of-nobody' };
    expect(await outcomeOf({}, exec, { settings })).toMatchObject(failure('permanent', 'NotFound'));
  });

  test('a granted secret that it prints is cut out of result, error and figures', async () => {
    const told = await outcomeOf({ out: envelope({ final: `the key is ${key}` }), err: key }, exec);
    const failed = await outcomeOf({ code: 1, out: failedEnvelope(`bad key ${key}`), err: key }, exec);
    const silent = await outcomeOf({ code: 1, err: `bad key ${key}` }, exec);
    expect(JSON.stringify([told, failed, silent])).not.toContain(key);
    expect(told).toMatchObject({ result: { text: 'the key is [redacted]' } });
    const encoded = Buffer.from(key).toString('base64');
    expect(JSON.stringify(await outcomeOf({ code: 1, err: `basic ${encoded}` }, exec))).not.toContain(
      encoded,
    );
  });
});

test('what the policy does not grant is refused before anything starts', async () => {
  const over = { policy: { allowed_openclaw_subcommands: ['agent'] } };
  expect(await outcomeOf({ out: envelope() }, exec, over)).toMatchObject(failure('permanent', 'NotAllowed'));
  const own = {
    policy: { openclaw_environment: ['OPS_API_KEY'] },
    settings: { OPS_API_KEY: 'x'.repeat(32) },
  };
  expect(await outcomeOf({ out: envelope() }, exec, own)).toMatchObject(failure('permanent', 'NotAllowed'));
  expect(await bench.calls()).toEqual([]);
});

describe('the directory it works in', () => {
  const cwdOf = async () => {
    const { argv, cwd } = await bench.call();
    return { cwd, work: argv.find((word) => word.startsWith('--cwd='))?.slice('--cwd='.length) ?? '' };
  };

  test('is its own when it has no tools, and goes with the run', async () => {
    await runWith({ out: envelope() }, exec);
    const { cwd, work } = await cwdOf();
    expect([work, cwd.startsWith(bench.temporary)]).toEqual([join(cwd, 'work'), true]);
  });

  test("is the mission's when it has tools, and openclaw itself is started elsewhere", async () => {
    await runWith({ out: envelope() }, { ...exec, tools: ['read'] });
    const { cwd, work } = await cwdOf();
    expect(work).toMatch(/\/workspace\/missions\/[0-9a-f-]{36}$/);
    expect([existsSync(work), cwd.startsWith(bench.temporary)]).toEqual([true, true]);
  });

  test('may be named, inside of the workspace', async () => {
    await runWith({ out: envelope() }, { ...exec, directory: '.' });
    expect((await cwdOf()).work).toBe(bench.workspace);
    await symlink('/', join(bench.workspace, 'out'));
    await bench.script({ out: envelope() });
    for (const directory of ['..', '/etc', 'out/etc', 'nowhere'])
      expect(await runStep(openclaw, { ...exec, directory }, around())).toMatchObject(
        failure('permanent', 'Confinement'),
      );
    expect(await bench.calls()).toEqual([]);
  });
});

describe('agent', () => {
  test("a Gateway's turn is the result", async () => {
    const { outcome, meta } = await runWith({ out: turn() }, agent);
    expect(outcome).toMatchObject({
      kind: 'complete',
      result: { mode: 'agent', text: 'The tests pass.', run_id: 'run-1', cost_usd: 0.00038, delivery: null },
    });
    expect(meta).toMatchObject({ usd: 0.00038, tokens: 128, model: 'm1' });
  });

  test('the message is in a file that nobody else can read and that is gone afterwards', async () => {
    await runWith({ out: turn() }, { ...agent, session_key: 'incident-42', thinking: 'low', verbose: 'off' });
    const call = await bench.call();
    const [file = ''] = call.argv.filter((word) => word.startsWith('--message-file='));
    expect(call).toMatchObject({ message, mode: 0o600 });
    expect(existsSync(file.slice('--message-file='.length))).toBe(false);
    expect(call.argv).toEqual([
      ...['agent', '--json', file, '--agent=ops', '--session-key=incident-42', '--thinking=low'],
      ...['--verbose=off', '--timeout=0'],
    ]);
    expect(JSON.stringify(call.argv)).not.toContain('Run the tests');
  });

  test('a reply is delivered where the policy lets it go', async () => {
    const deliver = { ...agent, deliver: true, reply_channel: 'telegram', reply_to: '-1001234' };
    const sent = { deliveryStatus: { requested: true, status: 'sent', succeeded: true } };
    expect(await resultOf({ out: turn(sent) }, deliver)).toMatchObject({ delivery: 'sent' });
    expect((await bench.call()).argv).toEqual(
      expect.arrayContaining(['--deliver', '--reply-channel=telegram', '--reply-to=-1001234']),
    );
    const lost = { deliveryStatus: { status: 'partial_failed', reason: 'unknown_channel' } };
    expect(await outcomeOf({ out: turn(lost) }, deliver)).toMatchObject(
      failure('permanent', 'NotDelivered', expect.stringContaining('partial_failed, unknown_channel')),
    );
    expect(await outcomeOf({ out: turn() }, deliver)).toMatchObject(failure('unknown', 'DeliveryUnknown'));
  });

  test('with local it runs in openclaw itself, and says so', async () => {
    expect(await resultOf({ out: embeddedTurn() }, { ...agent, local: true })).toMatchObject({
      text: 'The tests pass.',
    });
    expect((await bench.call()).argv).toContain('--local');
  });

  test('an old release is believed when its Gateway answers, and ended when it runs the turn again', async () => {
    const old = { version: 'OpenClaw 2026.7.1 (0790d9f)\n' };
    expect(await resultOf({ ...old, out: turn() }, agent)).toMatchObject({ version: '2026.7.1' });
    const err = 'EMBEDDED FALLBACK: Gateway agent timed out; running embedded agent\n';
    expect(await outcomeOf({ ...old, err, waits: true }, agent)).toMatchObject(
      failure('unknown', 'EmbeddedFallback'),
    );
  });
});

describe('ended from outside', () => {
  const started = () =>
    until(() => existsSync(join(bench.folder, 'said')), { what: 'openclaw to have started' });

  test.each(['shutdown', 'halted', 'timed_out'] as const)(
    '%s leaves no process, and no result',
    async (ending) => {
      await bench.script({ hangs: true, leaves: 'session' });
      const run = startStep(openclaw, exec, around());
      await started();
      run.end(ending);
      const outcome = ending === 'timed_out' ? 'timed_out' : 'unknown';
      expect(await run.outcome).toMatchObject({ kind: 'fail', failure: { outcome } });
      expect(await processesNaming(bench.folder)).toEqual([]);
    },
  );

  test('an answer that was complete by then counts', async () => {
    await bench.script({ out: envelope(), waits: true });
    const run = startStep(openclaw, exec, around());
    await started();
    run.end('shutdown');
    expect(await run.outcome).toMatchObject({ kind: 'complete', result: { text: 'The tests pass.' } });
  });

  test('before openclaw was started it may simply be tried again', async () => {
    await bench.script({ out: envelope() });
    const run = startStep(openclaw, exec, around());
    run.end('shutdown');
    expect(await run.outcome).toMatchObject(failure('retryable', 'NotStarted'));
    expect(await bench.calls()).toEqual([]);
  });

  test('its own deadline ends it even when it does not keep it', async () => {
    expect(await outcomeOf({ hangs: true }, { ...exec, timeout_seconds: 1 })).toMatchObject(
      failure('unknown', 'TimedOut'),
    );
    expect((await bench.call()).argv).toContain('--timeout=1');
    expect(await processesNaming(bench.folder)).toEqual([]);
  });

  test('a process that a finished openclaw left behind is ended too', async () => {
    expect(await resultOf({ out: envelope(), leaves: 'group' }, exec)).toMatchObject({
      text: 'The tests pass.',
    });
    expect(await processesNaming(bench.folder)).toEqual([]);
  });
});

test('ops-loop doctor looks only at what is granted, and names what is missing', async () => {
  const examine = (worker_policy: object, settings: Record<string, string> = {}) =>
    openclaw.doctor?.({
      config: { worker_policy: { ...worker_policy }, agent_roles: {} },
      workspace: bench.workspace,
      setting: (name) => ({ ...bench.settings, ...settings })[name],
      secret: (name) => settings[name],
    });
  await bench.script({ version: 'OpenClaw 2026.7.1 (0790d9f)' });
  expect(await examine({})).toMatchObject([{ ok: true }]);
  const findings = await examine(
    { ...policy, allowed_openclaw_subcommands: ['agent exec', 'agent', 'gateway'] },
    { OPENCLAW_GATEWAY_URL: 'http://127.0.0.1:9', OPS_OPENCLAW_CONFIG: join(bench.folder, 'wide.json') },
  );
  expect(findings?.map(({ name, ok }) => `${name} ${ok}`)).toEqual([
    ...['openclaw true', 'openclaw:version false', 'openclaw:config false'],
    ...['openclaw:gateway false', 'openclaw:environment false'],
  ]);
  expect(await examine(policy, { OPS_OPENCLAW_BIN: 'openclaw-of-nobody' })).toMatchObject([
    { name: 'openclaw', ok: false, hint: expect.any(String) },
    { name: 'openclaw:environment' },
  ]);
});

test('nothing is left behind', async () => {
  expect(await readdir(bench.temporary)).toEqual([]);
});
