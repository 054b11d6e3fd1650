/** Stands for a worker in a process of its own, which a test may kill: runs one shell script, prints what it wrote. */
import { listedEnvironment } from '../../local/process/environment.js';
import { runProcess } from '../../local/process/run.js';

const { stdout } = await runProcess({
  program: 'sh',
  args: ['-c', process.argv[2] ?? ''],
  cwd: '/',
  env: listedEnvironment(),
  signal: new AbortController().signal,
  onLine: (line) => {
    if (line === 'leave') process.exit(0);
  },
});
process.stdout.write(stdout.text);
