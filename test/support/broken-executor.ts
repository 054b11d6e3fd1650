/** Breaks the contract on purpose: takes any parameters, and ignores its signal. */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { defineExecutor } from '../../local/executors/contract.js';

export default defineExecutor({
  name: 'broken',
  params: z.looseObject({ hang: z.boolean().optional() }),
  traits: { idempotent: true, risk: 'low' },
  async run({ params, workspace }) {
    if (params.hang === true) await sleep(30_000, undefined, { ref: false });
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
