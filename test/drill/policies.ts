/** The policies of a drill: everything is let through, retries come soon, and the load's events have patterns. */
import type { OpsPort } from '../../supabase/client/port.js';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const work = {
  before_ms: '{{event.data.before_ms ?? 0}}',
  after_ms: '{{event.data.after_ms ?? 0}}',
};

/** Two steps that may be tried again around one that may not, and one that waits for all of them. */
const steps: Json[] = [
  { key: 'first', kind: 'drill', params: work },
  { key: 'once', kind: 'drill_once', params: work, depends_on: ['first'], on_failure: 'continue' },
  { key: 'beside', kind: 'drill', params: work, depends_on: ['first'] },
  {
    key: 'last',
    kind: 'noop',
    depends_on: ['once', 'beside'],
    params: { echo: '{{steps.beside.result.token}}' },
  },
];

export const policies: Record<string, { [key: string]: Json }> = {
  reaction_matrix: {
    patterns: [
      { id: 'work', event_type: 'drill:work', template: { title: 'Work {{event.data.n}}', steps } },
      {
        id: 'huge',
        event_type: 'drill:huge',
        template: { title: 'Huge', steps: [{ key: 'only', kind: 'drill', params: {} }] },
      },
      {
        id: 'probe',
        event_type: 'drill:probe',
        template: { title: 'Probe', steps: [{ key: 'only', kind: 'drill', priority: 1, params: {} }] },
      },
      {
        id: 'echo',
        event_type: 'step:drill_poison:failed',
        template: { title: 'A poison ended', steps: [{ key: 'only', kind: 'drill', params: {} }] },
      },
    ],
  },
  auto_approve: {
    enabled: true,
    allowed_step_kinds: ['noop', 'drill', 'drill_once', 'drill_poison'],
    max_risk_level: 'critical',
  },
  proposal_caps: {},
  worker_policy: {
    max_retries: 5,
    backoff: { base_seconds: 0.2, cap_seconds: 2 },
    // A drill makes dead letters on purpose; the breaker has tests of its own.
    breaker: { consecutive: 100_000 },
  },
  switches: { scopes: {} },
};

export async function setPolicies(port: OpsPort, reason: string): Promise<void> {
  for (const [key, value] of Object.entries(policies)) await port.setPolicy({ key, value, reason });
}
