import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Client } from 'pg';

type Started = { url: string; pid: number; port: number; joined: boolean };
type Refused = { error: { code: string; message: string; hint: string } };
export type User = { uid: number; gid: number };

export const childFile = fileURLToPath(new URL('./embedded-child.ts', import.meta.url));
const children = new Set<ChildProcess>();

/** Starts `embedded-child.ts`, as another user if given, and waits for the line it says. */
export async function startChild(
  directory: string,
  user?: User,
): Promise<{ child: ChildProcess; said: Started & Refused }> {
  const child = spawn(process.execPath, ['--import', 'tsx', childFile, directory], {
    ...user,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  children.add(child);
  child.once('exit', () => children.delete(child));
  if (child.stdout === null) throw new Error('the child has no stdout');
  const [chunk] = await once(child.stdout, 'data');
  return { child, said: JSON.parse(String(chunk)) };
}

/** Makes a child stop its database and leave, and waits for it. */
export async function stopChild(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit');
  child.stdin?.end();
  await exit;
}

/** For `afterAll`: what a failed test left running. */
export function killChildren(): void {
  for (const child of children) child.kill('SIGKILL');
}

/** Runs one statement over a connection of its own. */
export async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}
