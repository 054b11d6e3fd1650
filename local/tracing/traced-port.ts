/** A port whose claimed steps all have a trace context, also those of events that came without one. */
import type { OpsPort } from '../../supabase/client/port.js';

/** A step is not kept waiting for long by what is only told about it. */
const lookDeadlineMs = 1_000;

/** Costs one more call per claim that brought such steps. Where it fails, they go without. */
export function tracedPort(port: OpsPort): OpsPort {
  return {
    ...port,
    claimSteps: async (args, options) => {
      const claimed = await port.claimSteps(args, options);
      const missions = claimed.flatMap((step) => (step.traceparent === null ? [step.mission_id] : []));
      if (missions.length === 0) return claimed;
      const contexts = await contextsOf(port, [...new Set(missions)]);
      return claimed.map((step) => ({
        ...step,
        traceparent: step.traceparent ?? contexts.get(step.mission_id) ?? null,
      }));
    },
  };
}

async function contextsOf(port: OpsPort, missions: string[]): Promise<ReadonlyMap<string, string>> {
  try {
    const contexts = await port.traceContexts({ missions }, { deadlineMs: lookDeadlineMs });
    return new Map(contexts.map(({ mission_id, traceparent }) => [mission_id, traceparent]));
  } catch {
    return new Map();
  }
}
