/** `GET /api/ops/overview`: all that the page shows, in one answer. */
import { z } from 'zod';
import { DeadLetter, Health, ProposalRow, RadarSignal, Status } from '../../supabase/client/schemas/rows.js';
import { answers, endpoint } from './endpoint.js';
import { environmentName } from './env.js';
import { version } from './version.js';

/** Rows of each list on the page; the counts beside them are complete. */
const shown = 20;
/** Signals of the demand radar on the page. */
const shownSignals = 8;
/** Characters of one step's parameters; the page says how many are left out. */
const shownParams = 2_000;

const Overview = z.object({
  at: z.string(),
  environment: z.string(),
  version: z.string(),
  health: Health,
  status: Status,
  proposals: z.array(
    ProposalRow.omit({ template: true }).extend({
      /** `params` as text; of long ones the beginning. */
      steps: z.array(z.object({ kind: z.string(), executor: z.string().optional(), params: z.string() })),
    }),
  ),
  dead_letters: z.array(DeadLetter.omit({ params: true })),
  radar: z.array(RadarSignal),
});

export const showOverview = endpoint(
  { summary: 'All that the page shows', answers: { 200: answers('The latest of each list.', Overview) } },
  async (c, _, { port, env, now }) => {
    const [health, status, pending, voting, deadLetters, radar] = await Promise.all([
      port.health(),
      port.status(),
      port.listProposals({ status: 'pending', limit: shown }),
      port.listProposals({ status: 'voting', limit: shown }),
      port.listDeadLetters({ state: 'open', limit: shown }),
      port.radarTop({ count: shownSignals }),
    ]);
    const proposals = [...pending, ...voting].map(({ template, ...row }) => ({
      ...row,
      steps: stepsOf(template),
    }));
    const letters = deadLetters.map(({ params: _, ...letter }) => letter);
    const about = { at: now().toISOString(), environment: environmentName(env), version };
    return c.json({ ...about, health, status, proposals, dead_letters: letters, radar });
  },
);

const Template = z.object({
  steps: z.array(
    z.object({ kind: z.string(), executor: z.string().optional(), params: z.json().optional() }),
  ),
});

/** What a template would run, for a person to read. A template of another form shows none; the gates refuse it. */
function stepsOf(template: unknown) {
  const parsed = Template.safeParse(template);
  if (!parsed.success) return [];
  return parsed.data.steps.map(({ kind, executor, params }) => ({
    kind,
    executor,
    params: paramsText(params),
  }));
}

function paramsText(params: unknown): string {
  const text = JSON.stringify(params ?? {});
  const hidden = text.length - shownParams;
  return hidden > 0 ? `${text.slice(0, shownParams)} ... and ${hidden} more characters` : text;
}
