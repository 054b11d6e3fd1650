/** The real OpenClaw in a temporary directory, with a model of our own behind it, and a Gateway when one is wanted. */
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { listedEnvironment } from '../../../local/process/environment.js';
import { runProcess } from '../../../local/process/run.js';
import { until } from '../until.js';
import { type Model, startModel } from './model.js';

/** OpenClaw 2026.9.6 asks for Node 24.16 or later; the package brings the newest 24. */
const node = 'node@24';
/** US dollars per million tokens, as OpenClaw takes them: 120 in and 8 out are 0.00038 of them. */
const price = { input: 2.5, output: 10, cacheRead: 0, cacheWrite: 0 };
export const gatewayToken = 'a-token-for-the-gateway-of-this-test';

export type Real = {
  home: string;
  model: Model;
  /** What the worker's environment has to say. */
  settings: Record<string, string>;
  startGateway(): Promise<{ stop(): Promise<void> }>;
  remove(): Promise<void>;
};

/** Everything that it and its children write goes into one directory, HOME and TMPDIR of this process included. */
export async function installReal(version: string): Promise<Real> {
  const home = await realpath(await mkdtemp(join(tmpdir(), 'ops-loop-openclaw-')));
  for (const name of ['user', 'tmp', 'state', 'work']) await mkdir(join(home, name));
  Object.assign(process.env, { HOME: join(home, 'user'), TMPDIR: join(home, 'tmp') });
  const [newer, bin] = [install(home, node, ''), install(home, `openclaw@${version}`, binOf(home, node))];
  const model = await startModel();
  const port = await freePort();
  const config = join(home, 'openclaw.json');
  await writeFile(config, JSON.stringify(configOf(model.url, port)));
  const settings = {
    ...{ OPS_OPENCLAW_BIN: join(bin, 'openclaw'), OPS_OPENCLAW_PATH: newer },
    ...{ OPS_OPENCLAW_CONFIG: config, OPS_OPENCLAW_STATE_DIR: join(home, 'state') },
    ...{ OPENCLAW_GATEWAY_URL: `http://127.0.0.1:${port}`, OPENCLAW_GATEWAY_TOKEN: gatewayToken },
  };
  return {
    ...{ home, model, settings },
    startGateway: () => startGateway(settings),
    remove: async () => {
      await model.close();
      await rm(home, { recursive: true, force: true });
    },
  };
}

const binOf = (home: string, name: string): string =>
  join(home, name.replace(/@.*/, ''), 'node_modules', '.bin');

function install(home: string, name: string, first: string): string {
  const prefix = binOf(home, name).replace('/node_modules/.bin', '');
  execFileSync('npm', ['install', '--prefix', prefix, '--no-save', '--no-package-lock', '--no-audit', name], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, PATH: `${first}${delimiter}${process.env.PATH}` },
  });
  return binOf(home, name);
}

const configOf = (baseUrl: string, port: number) => ({
  agents: { defaults: { model: { primary: 'standin/m1' } } },
  models: {
    mode: 'merge',
    providers: {
      standin: {
        ...{ baseUrl, apiKey: 'key-of-the-stand-in', api: 'openai-completions' },
        models: [{ id: 'm1', name: 'm1', contextWindow: 128_000, maxTokens: 4_096, cost: price }],
      },
    },
  },
  gateway: {
    ...{ mode: 'local', bind: 'loopback', port, auth: { mode: 'token', token: gatewayToken } },
    http: { endpoints: { chatCompletions: { enabled: true } } },
  },
});

async function startGateway(settings: Record<string, string>): Promise<{ stop(): Promise<void> }> {
  const { OPS_OPENCLAW_BIN: program = '', OPS_OPENCLAW_PATH: newer = '' } = settings;
  const { OPS_OPENCLAW_CONFIG = '', OPS_OPENCLAW_STATE_DIR = '', OPENCLAW_GATEWAY_URL = '' } = settings;
  const stopping = new AbortController();
  const env = listedEnvironment({
    ...{ OPENCLAW_CONFIG_PATH: OPS_OPENCLAW_CONFIG, OPENCLAW_STATE_DIR: OPS_OPENCLAW_STATE_DIR },
    ...{ OPENCLAW_NO_AUTO_UPDATE: '1', OPENCLAW_DISABLE_BONJOUR: '1', OPENCLAW_SKIP_CHANNELS: '1' },
    ...{ OPENCLAW_OFFLINE: '1', PATH: `${newer}${delimiter}${process.env.PATH}` },
  });
  const running = runProcess({ program, args: ['gateway', 'run'], cwd: '/', env, signal: stopping.signal });
  const headers = { authorization: `Bearer ${gatewayToken}` };
  const answers = () =>
    fetch(`${OPENCLAW_GATEWAY_URL}/v1/models`, { headers }).then(
      ({ ok }) => ok,
      () => false,
    );
  await until(answers, { what: 'the Gateway to answer', deadlineMs: 120_000 });
  return {
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

/** Living processes that were started with this place in their environment. OpenClaw overwrites its command line. */
export async function processesOf(home: string): Promise<string[]> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  const own = String(process.pid);
  const environments = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')),
  );
  return pids.filter((pid, at) => pid !== own && environments[at]?.includes(home) === true);
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
