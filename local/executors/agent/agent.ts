/** The `agent` executor: a role of `agent_roles` thinks about a task, through whichever provider answers first. */
import { defineExecutor, type Executor, processLocalLimit } from '../contract.js';
import { examine } from './doctor.js';
import { type Health, processHealth } from './health.js';
import { createMeter } from './meter.js';
import { Params, Result } from './params.js';
import { think } from './think.js';

/** `health` is the process's own unless a test wants breakers of its own. */
export function createAgent({ health = processHealth }: { health?: Health } = {}): Executor {
  return defineExecutor({
    name: 'agent',
    params: Params,
    result: Result,
    traits: {
      idempotent: true,
      risk: 'medium',
      localLimit: processLocalLimit,
      needs: ['OPS_LLM_PROVIDERS'],
      touches: ['secrets', 'outside'],
      fixed: ['role', 'prompt', 'model', 'tools'],
    },
    async run(ctx) {
      const meter = createMeter();
      try {
        return await think(ctx, ctx.params, { health, meter });
      } finally {
        meter.report((used) => ctx.cost(used));
      }
    },
    doctor: examine,
  });
}

export const agent = createAgent();
