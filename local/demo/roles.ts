/**
 * The roles in action: a discussion on GitHub goes from scout to sage to quill to xalt, each working with what the
 * one before it made, and the observer looks at what came of it. The model is the stand-in of `model.ts`.
 */
import type { OpsPort } from '../../supabase/client/port.js';
import type { Environment } from '../env.js';
import type { Reply, Told } from './model.js';

export const observerPattern = 'demo-observer';
const roles = {
  scout: { instructions: 'You find what is worth writing about.', model: 'stand-in' },
  sage: { instructions: 'You judge what is true and what matters.', model: 'stand-in' },
  quill: { instructions: 'You write it down, plainly.', model: 'stand-in' },
  xalt: { instructions: 'You make it short enough for a post.', model: 'stand-in' },
  observer: { instructions: 'You watch what the others publish.', model: 'stand-in' },
};

const step = (role: keyof typeof roles, prompt: string, input: string) => ({
  key: role,
  kind: role === 'xalt' ? 'post-draft' : 'agent',
  executor: 'agent',
  params: { role, prompt, input },
});

export const pipelinePatterns = [
  {
    id: 'demo-content-pipeline',
    name: 'Demo: a discussion becomes the draft of a post, from role to role',
    event_type: 'github:discussion:answered',
    cooldown_minutes: 60,
    template: {
      title: 'Write about {{event.data.discussion.title}}',
      risk_level: 'medium',
      steps: [
        step('scout', 'Find the topic in this discussion.', '{{event.data.discussion.title}}'),
        step('sage', 'Judge the topic that scout found.', '{{steps.scout.result.text}}'),
        step('quill', 'Write about what sage says.', '{{steps.sage.result.text}}'),
        step('xalt', 'Shorten what quill wrote.', '{{steps.quill.result.text}}'),
      ],
    },
  },
  {
    id: observerPattern,
    name: 'Demo: the observer watches what the roles publish',
    event_type: 'step:post-draft:succeeded',
    template: {
      title: 'Look at the draft',
      risk_level: 'medium',
      steps: [
        {
          key: 'observe',
          kind: 'agent',
          params: {
            role: 'observer',
            prompt: 'Say what you think of the draft.',
            input: '{{event.data.result.text}}',
          },
        },
      ],
    },
  },
];

/** Roles, what they may cost, and that they may run once a person has said yes. Throws `OPS_008`. */
export async function setDemoRoles(port: OpsPort): Promise<void> {
  const reason = 'roles of the demo';
  await port.setPolicy({ key: 'agent_roles', value: roles, reason });
  const budgets = {
    executor: { agent: { usd_per_day: 5 } },
    reserve: { agent: { usd: 0.1, tokens: 5_000 } },
  };
  await port.setPolicy({ key: 'budgets', value: budgets, reason });
}

/** What makes the worker ask the stand-in, at prices that show in the summary: 3 and 15 US dollars a million tokens. */
export const modelEnvironment = (url: string): Partial<Environment> => ({
  OPS_LLM_PROVIDERS: 'custom',
  OPS_LLM_CUSTOM_BASE_URL: url,
  OPS_LLM_CUSTOM_MODEL: 'stand-in',
  OPS_LLM_CUSTOM_USD_PER_MILLION: '3/15',
});

/** Each role says what it was given, so that a reader sees the work go from hand to hand. */
export function playRole({ body }: Told): Reply {
  const said = (who: string) => body.messages.find(({ role }) => role === who)?.content ?? '';
  const role = Object.entries(roles).find(([, { instructions }]) =>
    said('system').includes(instructions),
  )?.[0];
  const [, given] = /^<<<.*\n(.*)$/m.exec(said('user')) ?? [];
  return {
    text: `${role ?? 'nobody'} on: ${(given ?? '').slice(0, 200)}`,
    tokens: { input: 1_200, output: 150 },
  };
}
