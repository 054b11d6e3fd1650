/** Breaks the contract on purpose: takes any parameters, and ignores its signal when it says that the step is cancelled. */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { defineExecutor } from '../../local/executors/contract.js';
import { OpsError } from '../../supabase/client/errors.js';

const longMs = 30_000;
const Cancelled = z.object({ ending: z.literal('cancelled') });

async function hang(signal: AbortSignal): Promise<void> {
  try {
    await sleep(longMs, undefined, { signal });
  } catch (error) {
    const { reason } = signal;
    const isCancelled = reason instanceof OpsError && Cancelled.safeParse(reason.detail).success;
    if (!isCancelled) throw error;
    await sleep(longMs, undefined, { ref: false });
  }
}

export default defineExecutor({
  name: 'broken',
  params: z.looseObject({ hang: z.boolean().optional() }),
  traits: { idempotent: true, risk: 'low' },
  async run({ params, signal, workspace }) {
    if (params.hang === true) await hang(signal);
    return { workspace };
  },
});

export const examples = {
  broken: {
    good: [{ params: {} }],
    bad: [{ unknown: true }],
    long: { params: { hang: true } },
  },
};
