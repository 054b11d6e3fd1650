/** Every fault that a drill knows, by name. */
import type { Fault } from './fault.js';
import { callerFaults } from './faults/callers.js';
import { diskFull } from './faults/disk.js';
import { keyRotation } from './faults/keys.js';
import { networkFaults } from './faults/network.js';
import { serverFaults } from './faults/server.js';
import { workerFaults } from './faults/workers.js';

export const faults: readonly Fault[] = [
  ...workerFaults,
  ...serverFaults,
  diskFull,
  ...networkFaults,
  ...callerFaults,
  keyRotation,
];

/** The named ones, or all. Throws for a name that there is not. */
export function chooseFaults(names: string[] | undefined): readonly Fault[] {
  if (names === undefined) return faults;
  const unknown = names.filter((name) => !faults.some((fault) => fault.name === name));
  if (unknown.length > 0)
    throw new Error(
      `no fault is named ${unknown.join(', ')}; there are ${faults.map(({ name }) => name).join(', ')}`,
    );
  return faults.filter(({ name }) => names.includes(name));
}
