/** How much of what the runner promises this machine lets it hold. */
import type { Finding } from '../executors/contract.js';
import { canBrand } from './brand.js';
import { concealEnvironment } from './conceal.js';
import { hasProc } from './table.js';

/** For `ops-loop doctor`. */
export async function reach(): Promise<Finding> {
  if (!hasProc)
    return weakness(
      'there is no /proc: programs are ended by process group and descent, as ps shows them',
      'What leaves its group and loses its parent may be left, and what a killed worker leaves is not found. Use Linux.',
    );
  if (!(await canBrand()))
    return weakness(
      'programs carry no brand: prlimit is missing, not allowed, or RLIMIT_LOCKS is in use',
      'What clears its environment and loses its parent at once may be left. Install util-linux.',
    );
  if (!concealEnvironment())
    return weakness(
      "programs can read the worker's own environment in /proc: its memory cannot be written to",
      'Let the worker run as a user of its own, without secrets in its environment.',
    );
  return { name, ok: true, message: 'programs are ended with all that they started' };
}

const name = 'processes';
const weakness = (message: string, hint: string): Finding => ({ name, ok: false, message, hint });
