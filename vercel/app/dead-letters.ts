/** `/api/ops/dead-letters`: steps that are out of attempts, newest first. */
import { deadLetterStates } from '../../supabase/client/terms.js';
import type { AppDeps, Handler } from './deps.js';
import { listQuery, nextBefore } from './input.js';

export function listDeadLetters({ port }: AppDeps): Handler {
  return async function listDeadLetters(c) {
    const query = listQuery(c, 'state', deadLetterStates);
    const letters = await port.listDeadLetters(query);
    return c.json({ dead_letters: letters, next_before: nextBefore(letters, query.limit) });
  };
}
