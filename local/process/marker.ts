/**
 * The marker that a run leaves in the environment of its processes, so that they are found wherever they went. It
 * names the run and the worker that started it, so that another worker can tell when that one is dead.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { type Identity, readEntry } from './table.js';

export const markerName = 'OPS_LOOP_RUN';

export type Marker = {
  run: string;
  /** The process that started the run. */
  worker: Identity;
  /** Process ids mean something only inside one of these (pid_namespaces(7)); empty where there are none. */
  namespace: string;
};

/** A marker for one run of this process. */
export function newMarker(): Marker {
  const { pid } = process;
  const worker = { pid, start: readEntry(pid)?.start ?? 0 };
  return { run: randomUUID(), worker, namespace: namespaceOf('self') };
}

/** Empty when it cannot be told: there are none, or the process is not ours. */
export function namespaceOf(pid: number | 'self'): string {
  try {
    return /\d+/.exec(readlinkSync(`/proc/${pid}/ns/pid`))?.[0] ?? '';
  } catch {
    return '';
  }
}

/**
 * What the variable is set to: `<run>.<pid>.<start>.<namespace>`, behind what it says in `env` already. So a worker
 * that runs inside of another one's run does not hide its programs from that one.
 */
export function markerText({ run, worker, namespace }: Marker, env: NodeJS.ProcessEnv = process.env): string {
  const outer =
    parseMarkers(`${markerName}=${env[markerName] ?? ''}`).length > 0 ? env[markerName] : undefined;
  const own = [run, worker.pid, worker.start, namespace].join('.');
  return outer === undefined ? own : `${outer},${own}`;
}

const variable = new RegExp(`(?:^|\\0)${markerName}=([^\\0]*)`);
const written = /([0-9a-f-]{36})\.(\d+)\.(\d+)\.(\d*)/g;

/** The markers in an environment block, `NAME=value\0NAME=value\0`. */
export function parseMarkers(block: string): Marker[] {
  const value = variable.exec(block)?.[1] ?? '';
  return [...value.matchAll(written)].map(([, run = '', pid, start, namespace = '']) => ({
    run,
    worker: { pid: Number(pid), start: Number(start) },
    namespace,
  }));
}

/** The markers of a process: none when it has cleared them, is gone, or is not ours to look into (proc(5)). */
export function markersOf(pid: number): Marker[] {
  try {
    return parseMarkers(readFileSync(`/proc/${pid}/environ`, 'latin1'));
  } catch {
    return [];
  }
}
