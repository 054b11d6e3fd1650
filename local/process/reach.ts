/** How much of what the runner promises this machine lets it hold. */
import type { Finding } from '../executors/contract.js';
import { canBrand } from './brand.js';
import { hasProc } from './table.js';

/** For `ops-loop doctor`. */
export async function reach(): Promise<Finding> {
  const name = 'processes';
  if (!hasProc)
    return {
      name,
      ok: false,
      message: 'there is no /proc: programs are ended by process group and descent, as ps shows them',
      hint: 'What leaves its group and loses its parent may be left, and what a killed worker leaves is not found. Use Linux.',
    };
  if (await canBrand()) return { name, ok: true, message: 'programs are ended with all that they started' };
  return {
    name,
    ok: false,
    message: 'programs carry no brand: prlimit is missing, not allowed, or RLIMIT_LOCKS is in use',
    hint: 'What clears its environment and loses its parent at once may be left. Install util-linux.',
  };
}
