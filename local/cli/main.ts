import { runProgram } from './program.js';

/** Whatever a command left behind (an executor that ignores its signal) keeps the process no longer than this. */
const lingerMs = 250;

// A reader that has seen enough (`| head`) ends the command without a complaint.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

process.exitCode = await runProgram(process.argv.slice(2));
setTimeout(() => process.exit(), lingerMs).unref();
