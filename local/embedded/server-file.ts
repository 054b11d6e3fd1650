import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** What a running server says of itself in `postmaster.pid` (format: src/include/utils/pidfile.h). */
export type ServerFile = { pid: number; port: number; ready: boolean };

/** The server file of a data directory, or undefined when no server has it open (or it is half written). */
export async function readServerFile(dataDir: string): Promise<ServerFile | undefined> {
  const text = await readFile(join(dataDir, 'postmaster.pid'), 'utf8').catch(() => '');
  const [pid, , , port, , , , status] = text.split('\n');
  if (!Number(pid)) return undefined;
  return { pid: Number(pid), port: Number(port), ready: status?.trim() === 'ready' };
}

/** Whether the process exists; a killed one that its parent has not reaped yet still does. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/**
 * Removes a server file whose pid has passed to another program, as happens in a restarted container; PostgreSQL
 * itself would refuse to start. Only Linux tells; elsewhere nothing is removed.
 */
export async function dropForeignServerFile(dataDir: string, pid: number): Promise<void> {
  const program = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => 'postgres');
  if (program.trim() !== 'postgres') await rm(join(dataDir, 'postmaster.pid'), { force: true });
}
