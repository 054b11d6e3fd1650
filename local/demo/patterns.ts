/**
 * Rules that only the demo has, beside those of the seed: a step that fails once and succeeds at its next try and
 * hands its result on, and a step that can never succeed. Both are limited to one firing, so that the story is short.
 */
import { z } from 'zod';
import { exactJson } from '../../supabase/client/json-text.js';
import type { OpsPort } from '../../supabase/client/port.js';
import { pipelinePatterns } from './roles.js';

const Matrix = z.looseObject({ patterns: z.array(z.looseObject({ id: z.string() })) });

export const retriedPattern = 'demo-flaky-check';
const deadPattern = 'demo-broken-step';

const once = { cooldown_minutes: 60 };

const demoPatterns = [
  {
    id: retriedPattern,
    name: 'Demo: a step that fails once, then hands its result on',
    event_type: 'github:deployment_status:created',
    ...once,
    template: {
      title: 'Look after the deployment to {{event.data.deployment.environment}}',
      risk_level: 'low',
      steps: [
        {
          key: 'check',
          kind: 'noop',
          params: { echo: { environment: '{{event.data.deployment.environment}}' }, fail_times: 1 },
        },
        {
          key: 'report',
          kind: 'noop',
          params: {
            echo: 'checked {{steps.check.result.echo.environment}} at try {{steps.check.result.attempt}}',
          },
        },
      ],
    },
  },
  {
    id: deadPattern,
    name: 'Demo: a step that can never succeed',
    event_type: 'github:public',
    ...once,
    template: {
      title: 'Announce that {{event.data.repository.full_name}} is public',
      risk_level: 'low',
      steps: [{ key: 'announce', kind: 'noop', params: { fail: 'permanent' } }],
    },
  },
  ...pipelinePatterns,
];

/** Appends the demo's rules to the reaction matrix that the seed left. Throws `OPS_002`, `OPS_008`. */
export async function addDemoPatterns(port: OpsPort): Promise<void> {
  const matrix = Matrix.parse((await port.getPolicy({ key: 'reaction_matrix' })).value);
  const value = exactJson.parse({ ...matrix, patterns: [...matrix.patterns, ...demoPatterns] });
  await port.setPolicy({ key: 'reaction_matrix', value, reason: 'rules of the demo' });
}
