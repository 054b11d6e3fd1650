/** `ops-loop keys` for people. */
import { OpsError } from '../../supabase/client/errors.js';
import type { KeyReceipt, ListedKey } from '../../supabase/client/schemas/rows.js';
import { type KeyScope, keyScopes } from '../../supabase/client/terms.js';
import { paintStatus } from './colours.js';
import { type Output, table } from './output.js';
import { relativeTime } from './times.js';

export function renderKeys(keys: ListedKey[], { paint, now }: Output): string {
  if (keys.length === 0)
    return 'no key is there, and no server has said yet which ones its environment holds';
  const rows = keys.map((key) => [
    key.label,
    key.scope,
    key.prefix ?? 'environment',
    paintStatus(paint, key.state),
    Math.floor(key.age_days),
    relativeTime(key.last_used_at, now()),
    key.expires_at === null ? '-' : relativeTime(key.expires_at, now()),
    key.created_by,
  ]);
  const days = { name: 'days old', align: 'right' as const };
  return table(['label', 'scope', 'key', 'state', days, 'last used', 'ends', 'made by'], rows, paint);
}

/** Prints the key itself, alone on stdout, and what goes with it beside it. */
export function showNewKey(receipt: KeyReceipt, key: string, out: Output): void {
  const { label, scope, expires_at, replaces } = receipt;
  const ends = expires_at === null ? '' : `, ends ${relativeTime(expires_at, out.now())}`;
  out.note(`key of ${label}, scope ${scope}${ends}; it is shown this once`);
  if (replaces !== null)
    out.note(`the old one, ${replaces.prefix}, ends ${relativeTime(replaces.expires_at, out.now())}`);
  out.show({ ...receipt, key }, () => key);
}

/** The live key with a label or prefix. Throws `OPS_012`. */
export function findLiveKey(keys: ListedKey[], named: string): ListedKey & { scope: KeyScope } {
  const key = keys.find(
    ({ place, state, label, prefix }) =>
      place === 'database' &&
      state === 'live' &&
      (label.toLowerCase() === named.toLowerCase() || prefix === named),
  );
  const scope = keyScopes.find((known) => known === key?.scope);
  if (key !== undefined && scope !== undefined) return { ...key, scope };
  const inEnvironment = keys.some(({ place, label }) => place === 'environment' && label === named);
  throw new OpsError('OPS_012', `there is no live key with the label or prefix ${named} in the database`, {
    hint: inEnvironment
      ? `${named} is changed where the server gets its environment: docs/keys.md says how.`
      : '`ops-loop keys list` shows them; `ops-loop keys create <label>` makes one.',
  });
}
