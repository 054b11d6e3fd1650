/**
 * `npm run test:vercel [-- --cli <path>]`: the platform's own build over a copy of the project, without an account, and
 * each function that comes out of it under plain Node. Without a path the CLI comes from the npm registry (360 MB).
 */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { projectRoot } from '../local/env.js';

/** The newest that could be installed when this was written; it builds for Node 24. */
const release = '60.0.0';
/** As linking the project would write it; no name in it is looked up. */
const link = {
  projectId: 'prj_offline',
  orgId: 'team_offline',
  settings: { nodeVersion: '24.x', rootDirectory: 'vercel', framework: null, installCommand: '' },
};
const secrets = { OPS_API_KEY: 'k'.repeat(32), CRON_SECRET: 'c'.repeat(16) };
const key = { Authorization: `Bearer ${secrets.OPS_API_KEY}` };
const scheduler = { Authorization: `Bearer ${secrets.CRON_SECRET}` };

type Call = {
  method: string;
  path: string;
  headers?: Record<string, string>;
  status: number;
  holds?: string;
};
/** What each function must answer without a database. */
const expected: Record<string, Call[]> = {
  heartbeat: [
    { method: 'GET', path: '/api/ops/heartbeat', headers: scheduler, status: 503, holds: 'OPS_001' },
    { method: 'POST', path: '/api/ops/heartbeat', headers: {}, status: 401 },
  ],
  events: [{ method: 'POST', path: '/api/ops/events', status: 401 }],
  webhooks: [{ method: 'POST', path: '/api/ops/webhooks/github', status: 403 }],
  health: [{ method: 'GET', path: '/health', status: 200, holds: '"status":"ok"' }],
  ready: [{ method: 'GET', path: '/health/ready', status: 503, holds: 'not_ready' }],
  stream: [{ method: 'GET', path: '/api/ops/stream', headers: key, status: 503 }],
  index: [
    { method: 'GET', path: '/', status: 200, holds: '<!doctype html>' },
    // As a browser reads it: the build must not have made CommonJS of it.
    { method: 'GET', path: '/dashboard/page.js', status: 200, holds: "\nimport * as api from './api.js';" },
    { method: 'GET', path: '/api/ops/openapi.json', status: 200, holds: '"openapi":"3.1.0"' },
    { method: 'PUT', path: '/api/ops/policies/budgets', status: 401 },
    { method: 'DELETE', path: '/api/ops/session', headers: { Origin: 'http://localhost' }, status: 415 },
  ],
};

/** A process without our loader: what does not run here would not run there. */
const caller = `
  const [, handler, calls] = process.argv;
  const before = performance.now();
  const exported = await import(handler);
  const importMs = Math.round(performance.now() - before);
  const answers = [];
  for (const { method, path, headers } of JSON.parse(calls)) {
    const response = await exported[method](new Request('http://localhost' + path, { method, headers }));
    answers.push({ status: response.status, text: await response.text() });
  }
  process.stdout.write('\\n' + JSON.stringify({ importMs, answers }) + '\\n');`;

const { values } = parseArgs({ options: { cli: { type: 'string' } } });
const say = (line: string): void => void process.stdout.write(`${line}\n`);
let failed = 0;
const check = (what: string, problem: string | undefined): void => {
  if (problem !== undefined) failed++;
  say(problem === undefined ? `ok      ${what}` : `FAILED  ${what}: ${problem}`);
};

const home = await realpath(await mkdtemp(join(tmpdir(), 'vercel-build-')));
try {
  const output = await build(join(home, 'project'));
  const built = (await readdir(join(output, 'functions/api/ops'))).map((name) => name.replace('.func', ''));
  check(
    `functions ${built.join(', ')}`,
    sameNames(built) ? undefined : `not ${Object.keys(expected).join(', ')}`,
  );
  const { crons } = JSON.parse(await readFile(join(output, 'config.json'), 'utf8'));
  check(
    `cron ${JSON.stringify(crons)}`,
    crons?.[0]?.path === '/api/ops/heartbeat' ? undefined : 'not the heartbeat',
  );
  for (const name of built) await load(name, join(output, 'functions/api/ops', `${name}.func`));
} finally {
  await rm(home, { recursive: true, force: true });
}
say(`vercel: ${failed === 0 ? 'passed' : `${failed} failed`}`);
process.exitCode = failed === 0 ? 0 : 1;

function sameNames(built: string[]): boolean {
  return JSON.stringify([...built].sort()) === JSON.stringify(Object.keys(expected).sort());
}

/** Copies what the platform would be sent, installs what it would install, and builds; answers the output's directory. */
async function build(project: string): Promise<string> {
  for (const name of ['package.json', 'package-lock.json', 'tsconfig.json', 'supabase', 'vercel'])
    await cp(join(projectRoot, name), join(project, name), { recursive: true });
  await mkdir(join(project, '.vercel'));
  await writeFile(join(project, '.vercel/project.json'), JSON.stringify(link));
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'];
  run('npm', ['ci', '--omit=dev', '--omit=optional', ...quiet], project);
  const cli = values.cli === undefined ? ['npx', '--yes', `vercel@${release}`] : [values.cli];
  const [program = '', ...args] = [...cli, 'build', '--yes'];
  const printed = run(program, args, project);
  for (const line of printed.split('\n').filter((l) => /Compiling|Error|Completed/.test(l)))
    say(`        ${line}`);
  return join(project, '.vercel/output');
}

/** Without an account, and with nothing of this machine's that an account could be found by. */
function run(program: string, args: string[], cwd: string): string {
  const env = { PATH: process.env.PATH, HOME: home, CI: '1', VERCEL_TELEMETRY_DISABLED: '1' };
  return execFileSync(program, args, { cwd, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Loads one function as it would be deployed and makes its calls. */
async function load(name: string, folder: string): Promise<void> {
  const {
    handler,
    filePathMap = {},
    maxDuration,
  } = JSON.parse(await readFile(join(folder, '.vc-config.json'), 'utf8'));
  // Files that the platform would add on upload.
  for (const [to, from] of Object.entries<string>(filePathMap)) {
    await mkdir(dirname(join(folder, to)), { recursive: true });
    await cp(join(home, 'project', from), join(folder, to));
  }
  const calls = expected[name] ?? [];
  const { importMs, answers } = await callUnderNode(join(folder, handler), calls);
  const heavy = ['stripe', '@hono/zod-openapi'].filter((one) =>
    existsSync(join(folder, 'node_modules', one)),
  );
  say(
    `        ${name}: loads in ${importMs} ms, ${maxDuration} s at most, ${heavy.length > 0 ? `with ${heavy.join(', ')}` : 'nothing heavy'}`,
  );
  if (name === 'heartbeat')
    check('heartbeat is small', heavy.length === 0 ? undefined : `it has ${heavy.join(', ')}`);
  for (const [n, { method, path, status, holds = '' }] of calls.entries()) {
    const { status: got, text } = answers[n] ?? { status: 0, text: '' };
    const problem =
      got !== status
        ? `answered ${got}: ${text.slice(0, 200)}`
        : text.includes(holds)
          ? undefined
          : `lacks ${holds}`;
    check(`${name} ${method} ${path} → ${status}`, problem);
  }
}

type Called = { importMs: number; answers: { status: number; text: string }[] };

async function callUnderNode(handler: string, calls: Call[]): Promise<Called> {
  const args = ['--input-type=module', '-e', caller, handler, JSON.stringify(calls)];
  const env = { PATH: process.env.PATH, ...secrets };
  const { stdout } = await promisify(execFile)(process.execPath, args, { env, maxBuffer: 2 ** 26 });
  // The functions log to the same place.
  const [line = ''] = /^\{"importMs".*$/m.exec(stdout) ?? [];
  return JSON.parse(line);
}
