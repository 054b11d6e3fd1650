/**
 * `npm run test:openclaw [-- <version>]`: the openclaw executor with the real OpenClaw, which is too large and wants too
 * new a Node to be a dependency. Fetches both from the npm registry into a temporary directory; the model behind it is
 * a stand-in on loopback.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openclaw } from '../local/executors/openclaw/openclaw.js';
import type { Ending } from '../local/worker/attempt.js';
import { type Tried, tryStep, type World } from './support/openclaw/attempt.js';
import { answer } from './support/openclaw/model.js';
import { installReal, processesOf } from './support/openclaw/real.js';
import { until } from './support/until.js';

/** The release that the executor was built with. */
const [version = '2026.9.6'] = process.argv.slice(2);
const real = await installReal(version);
const { home, model, settings } = real;
const world: World = {
  variables: settings,
  workspace: join(home, 'work'),
  policy: {
    allowed_openclaw_subcommands: ['agent exec', 'agent', 'gateway'],
    allowed_openclaw_agents: ['default', 'main', 'nobody'],
    allowed_tools: ['read'],
  },
};

let failed = 0;
async function check(what: string, holds: () => Promise<unknown>): Promise<void> {
  const startedAt = performance.now();
  const error = await holds().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  const took = `${((performance.now() - startedAt) / 1_000).toFixed(1)} s`;
  process.stdout.write(`${error === undefined ? 'held  ' : 'FAILED'} ${what} (${took})\n`);
  if (error === undefined) return;
  failed++;
  process.stdout.write(`${error instanceof Error ? error.message : String(error)}\n`);
}

/** Every member of `expected` is there; others may be. */
function includes(actual: unknown, expected: object): void {
  for (const [name, value] of Object.entries(expected)) {
    const found: unknown = (actual as { [name: string]: unknown } | undefined)?.[name];
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) includes(found, value);
    else assert.deepEqual(found, value, `${name} in ${JSON.stringify(actual)}`);
  }
}

const isAnswer = ({ outcome, meta }: Tried, over: object = {}): void => {
  assert.equal(outcome.kind, 'complete', JSON.stringify(outcome));
  includes(outcome, { result: { text: answer, ...over } });
  includes(meta, { tokens: 128, input_tokens: 120, output_tokens: 8 });
};
const isFailure = ({ outcome }: Tried, kind: string, error_class: string): void =>
  includes(outcome, { kind: 'fail', failure: { outcome: kind, error_class } });
const tokens = { usage: { input_tokens: 120, output_tokens: 8, total_tokens: 128 } };
const priced = { ...tokens, cost_usd: 0.00038, model: 'm1', provider: 'standin', version };

/** Ends the attempt once the model was asked. */
async function interrupted(params: object): Promise<Tried> {
  const before = model.offered.length;
  const asked = until(() => model.offered.length > before, {
    what: 'the model to be asked',
    deadlineMs: 120_000,
  });
  const ending = asked.then((): Ending => 'shutdown');
  return tryStep(params, world, ending);
}

try {
  const exec = { mode: 'exec', message: 'Say how the tests went' };
  await check('exec: result, usage and cost; no tool is offered that was not granted', async () => {
    isAnswer(await tryStep(exec, world), { mode: 'exec', ...priced });
    assert.deepEqual(model.offered.at(-1), []);
  });
  await mkdir(join(home, 'work', 'room'));
  await writeFile(join(home, 'work', 'room', 'note.txt'), 'the lamp is lit\n');
  const inRoom = { mode: 'exec', directory: 'room', tools: ['read'] };
  await check('exec: a granted tool is used, and counted', async () => {
    const { outcome } = await tryStep({ ...inRoom, message: 'Call read {"path":"note.txt"}' }, world);
    assert.equal(outcome.kind, 'complete', JSON.stringify(outcome));
    assert.match(JSON.stringify(outcome), /the lamp is lit/);
    includes(outcome, { result: { tool_calls: 1, tools: ['read'] } });
  });
  await check('exec: a tool that was not granted is not there, by any road', async () => {
    const command = `touch ${join(home, 'work', 'canary')}`;
    for (const call of [
      `Call exec ${JSON.stringify({ command })}`,
      `Call tool_call ${JSON.stringify({ id: 'exec', name: 'exec', args: { command }, arguments: { command } })}`,
    ])
      await tryStep({ ...inRoom, message: call }, world);
    assert(!model.offered.flat().includes('exec'));
    assert(!existsSync(join(home, 'work', 'canary')));
  });
  await check('exec: what the model refuses is a failure for good', async () => {
    isFailure(await tryStep({ ...exec, message: 'Refuse' }, world), 'permanent', 'ModelRequest');
  });
  await check('exec: ended from outside it is unknown, and leaves nothing', async () => {
    isFailure(await interrupted({ ...exec, message: 'Say nothing' }), 'unknown', 'Interrupted');
    assert.deepEqual(await processesOf(home), []);
    assert.deepEqual(
      (await readdir(join(home, 'tmp'))).filter((name) => name.startsWith('ops-openclaw-')),
      [],
    );
  });

  const agent = { mode: 'agent', agent: 'main', message: 'Say how the tests went' };
  const gateway = { mode: 'gateway', message: 'Say how the tests went' };
  const running = await real.startGateway();
  await check('agent: result, usage and cost, through a Gateway', async () => {
    isAnswer(await tryStep(agent, world), { mode: 'agent', ...priced });
  });
  await check('agent: an unknown one is a failure for good', async () => {
    isFailure(await tryStep({ ...agent, agent: 'nobody' }, world), 'permanent', 'Refused');
  });
  await check('agent: ended from outside it is unknown', async () => {
    isFailure(
      await interrupted({ ...agent, session_key: 'silent', message: 'Say nothing' }),
      'unknown',
      'Interrupted',
    );
  });
  await check('gateway: result and usage, over HTTP', async () => {
    isAnswer(await tryStep(gateway, world), { mode: 'gateway', ...tokens, cost_usd: null });
  });
  await check('gateway: an unknown agent is a failure for good', async () => {
    isFailure(await tryStep({ ...gateway, agent: 'nobody' }, world), 'permanent', 'HTTP 400');
  });
  await check('gateway: a wrong token is a failure for good', async () => {
    const variables = { ...settings, OPENCLAW_GATEWAY_TOKEN: 'a-token-that-is-wrong' };
    isFailure(await tryStep(gateway, { ...world, variables }), 'permanent', 'HTTP 401');
  });
  await check('gateway: what the model refuses is unknown, the agent may have acted before', async () => {
    isFailure(await tryStep({ ...gateway, message: 'Refuse' }, world), 'unknown', 'HTTP 400');
  });
  await check('gateway: ended from outside it is unknown', async () => {
    isFailure(await interrupted({ ...gateway, message: 'Say nothing' }), 'unknown', 'Interrupted');
  });
  await check('doctor: everything is well', async () => {
    const variable = (name: string) => world.variables[name];
    const config = { worker_policy: { ...world.policy }, agent_roles: {} };
    const findings = await openclaw.doctor?.({
      config,
      workspace: home,
      setting: variable,
      secret: variable,
    });
    assert.deepEqual(
      findings?.filter(({ ok }) => !ok),
      [],
    );
  });
  await running.stop();
  await check('nothing of it runs any more', async () => assert.deepEqual(await processesOf(home), []));
  await check('without a Gateway nothing was sent, so both are tried again', async () => {
    isFailure(await tryStep(agent, world), 'retryable', 'GatewayAway');
    isFailure(await tryStep(gateway, world), 'retryable', 'GatewayAway');
  });
} finally {
  await real.remove();
}
process.stdout.write(`openclaw ${version}: ${failed === 0 ? 'everything held' : `${failed} failed`}\n`);
process.exitCode = failed === 0 ? 0 : 1;
