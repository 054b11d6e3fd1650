/**
 * A stand-in for the `openclaw` program, from its documented behaviour (OpenClaw 2026.9.6, docs/cli/agent.md). Its first
 * argument is a folder: `script.json` there says what to do ({ version, versionCode, out, err, code, filler, leaves,
 * hangs, waits, dies }), and every call is noted in `calls`. The message "Wait." makes it wait until it is ended.
 */
import { spawn } from 'node:child_process';
import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';

const [, , folder, ...argv] = process.argv;
const script = JSON.parse(readFileSync(`${folder}/script.json`, 'utf8'));
const option = (name) => argv.find((word) => word.startsWith(`--${name}=`))?.slice(name.length + 3);

if (argv[0] === '--version') {
  process.stdout.write(script.version ?? 'OpenClaw 2026.9.6 (stand-in)\n');
  process.exit(script.versionCode ?? 0);
}

async function readMessage() {
  const file = option('message-file');
  if (file === '-') return { message: await text(process.stdin), mode: null };
  return { message: readFileSync(file, 'utf8'), mode: statSync(file).mode & 0o777 };
}

const config = option('config');
const call = {
  ...{ argv, pid: process.pid, cwd: process.cwd(), env: process.env, ...(await readMessage()) },
  config: config === undefined ? null : JSON.parse(readFileSync(config, 'utf8')),
};
appendFileSync(`${folder}/calls`, `${JSON.stringify(call)}\n`);

if (script.hangs) process.on('SIGTERM', () => {});
if (script.leaves) {
  const left = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', folder], {
    stdio: 'ignore',
    detached: script.leaves === 'session',
  });
  left.unref();
}
if (script.err) process.stderr.write(script.err);
for (let left = script.filler ?? 0; left > 0; left -= 100_000)
  process.stdout.write(`${'noise '.repeat(16_666)}\n`);
if (script.out) process.stdout.write(script.out);
writeFileSync(`${folder}/said`, '');
if (script.hangs || script.waits || call.message.startsWith('Wait.')) await pause(600_000);
if (script.dies) process.kill(process.pid, script.dies);
process.exitCode = script.code ?? 0;
