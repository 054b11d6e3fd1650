/** The programs of Prometheus as children of one check: looked for, started, and ended one by one. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';

/** As Debian names them (packages prometheus and prometheus-alertmanager). */
const programs = ['prometheus', 'promtool', 'prometheus-alertmanager', 'amtool'] as const;
type Program = (typeof programs)[number];

export const missingPrograms = (): Program[] => programs.filter((program) => !isInstalled(program));

function isInstalled(program: Program): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

export type Children = {
  /** What it says on stderr is shown when it ends by itself with a failure. */
  start(program: Program, args: string[], cwd: string): void;
  stop(): Promise<void>;
};

/** None of them outlives this process. */
export function openChildren(say: (line: string) => void): Children {
  const children: ChildProcess[] = [];
  process.on('exit', () => {
    for (const child of children) child.kill('SIGKILL');
  });
  return {
    start(program, args, cwd) {
      const child = spawn(program, args, { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      child.stderr?.on('data', (chunk) => {
        said = `${said}${chunk}`.slice(-2_000);
      });
      child.on('exit', (code) => {
        if (code !== null && code !== 0) say(`${program} ended with ${code}: ${said}`);
      });
      children.push(child);
    },
    async stop() {
      for (const child of children) await end(child);
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}
