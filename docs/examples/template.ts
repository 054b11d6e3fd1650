/** Copy this, rename it, and fill in `run`. */
import { defineExecutor } from 'ops-loop/executor';
import { z } from 'zod';

export default defineExecutor({
  name: 'my-executor',
  params: z.strictObject({}),
  result: z.strictObject({ ok: z.boolean() }),
  traits: {
    idempotent: false, // may it run again when nobody knows how far it came?
    risk: 'high', // low, medium, high or critical: what auto-approval looks at
    touches: ['outside'], // secrets: it is given any; outside: it acts or talks outside of the database
  },
  async run({ signal, idempotencyKey }) {
    signal.throwIfAborted();
    return { ok: idempotencyKey !== '' };
  },
});

export const examples = { 'my-executor': { good: [{ params: {} }], bad: [{ typo: 1 }] } };
