/** One call of the engine, made again with jitter when the server rolled it back: deadlock, serialization, lock. */
import { setTimeout as wait } from 'node:timers/promises';
import { wasRolledBack } from './errors.js';

/** Tries of one statement that the server rolled back. Three lost races in a row mean something else is wrong. */
const maxTries = 4;

/** Sends again while `mayAgain` says that nothing of the last try is left. Throws what the last try threw. */
export async function resend<T>(send: () => Promise<T>, mayAgain = wasRolledBack): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await send();
    } catch (error) {
      if (!mayAgain(error) || attempt === maxTries) throw error;
      await wait(Math.random() * 20 * 2 ** attempt);
    }
  }
}
