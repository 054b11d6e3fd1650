import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

export type CliResult = { code: number | null; stdout: string; stderr: string };
export type CliOptions = { env?: Record<string, string>; cwd?: string; input?: string };

/** No variable of the developer's own shell or of npm reaches a command under test. */
export function cleanEnvironment(env: Record<string, string>): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => ['PATH', 'HOME', 'TMPDIR'].includes(name));
  return { ...Object.fromEntries(kept), ...env };
}

/** Starts `ops-loop` as a child process of its own. The caller ends it. */
export function startCli(args: string[], { env = {}, cwd = root }: CliOptions = {}): ChildProcess {
  return spawn(process.execPath, [`${root}/local/cli/ops-loop.js`, ...args], {
    cwd,
    env: cleanEnvironment(env),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

/** Runs `ops-loop` to its end. */
export async function runCli(args: string[], options: CliOptions = {}): Promise<CliResult> {
  const child = startCli(args, options);
  const read = collectOutput(child);
  child.stdin?.end(options.input ?? '');
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...read() };
}

/**
 * Runs `ops-loop` to its end in this process: the whole program, with an environment and connections of its own, but
 * without the second that a process takes to load it. What is about the process itself takes `runCli`: its input, its
 * streams, its signals, the directory it is called in, how it ends.
 */
export async function callCli(args: string[], env: Record<string, string> = {}): Promise<CliResult> {
  const printed = { stdout: '', stderr: '' };
  const collector = (name: keyof typeof printed) => ({
    write: (text: string) => {
      printed[name] += text;
    },
  });
  const { runProgram } = await import('../../local/cli/program.js');
  const place = { stdout: collector('stdout'), stderr: collector('stderr') };
  const code = await runProgram(args, { ...place, variables: cleanEnvironment(env) });
  return { code, ...printed };
}

/** What a child has printed up to now. */
export function collectOutput(child: ChildProcess): () => { stdout: string; stderr: string } {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk) => {
    stdout += String(chunk);
  });
  child.stderr?.on('data', (chunk) => {
    stderr += String(chunk);
  });
  return () => ({ stdout, stderr });
}
