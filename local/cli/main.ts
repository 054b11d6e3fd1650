import { runProgram } from './program.js';

/** Whatever a command left behind (an executor that ignores its signal) keeps the process no longer than this. */
const lingerMs = 250;

/** They work, whoever reads what they print: a log agent that restarts or a full disk ends none of their steps. */
const working = new Set(['start', 'worker', 'heartbeat']);

const args = process.argv.slice(2);
const answers = !working.has(args.find((arg) => !arg.startsWith('-')) ?? '');

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (!answers) return;
  // A reader that has seen enough (`| head`) ends the command without a complaint.
  if (error.code !== 'EPIPE') process.stderr.write(`cannot print: ${error.message}\n`);
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});
process.stderr.on('error', () => {});

process.exitCode = await runProgram(args);
setTimeout(() => process.exit(), lingerMs).unref();
