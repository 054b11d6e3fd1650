/** `GET /api/ops/overview`: all that the page shows, in one answer. */
import { z } from 'zod';
import { DeadLetter, Health, ProposalRow, RadarSignal, Status } from '../../supabase/client/schemas/rows.js';
import { answers, endpoint } from './endpoint.js';
import { environmentName } from './env.js';
import { isDryRun, ShownStep, shownSteps } from './shown-template.js';
import { version } from './version.js';

/** Rows of each list on the page; the counts beside them are complete. */
const shown = 20;
/** Signals of the demand radar on the page. */
const shownSignals = 8;

const Overview = z.object({
  at: z.string(),
  environment: z.string(),
  version: z.string(),
  health: Health,
  status: Status,
  proposals: z.array(
    ProposalRow.omit({ template: true }).extend({
      /** Its steps go through every state and no executor is called. */
      dry_run: z.boolean(),
      steps: z.array(ShownStep),
    }),
  ),
  dead_letters: z.array(DeadLetter.omit({ params: true })),
  radar: z.array(RadarSignal),
});

export const showOverview = endpoint(
  {
    summary: 'All that the page shows',
    answers: { 200: answers('The head of each list: of proposals, what expires first.', Overview) },
  },
  async (c, _, { port, env, now }) => {
    const [health, status, waiting, deadLetters, radar] = await Promise.all([
      port.health(),
      port.status(),
      port.listWaiting({ limit: shown }),
      port.listDeadLetters({ state: 'open', limit: shown }),
      port.radarTop({ count: shownSignals }),
    ]);
    const proposals = waiting.map(({ template, ...row }) => ({
      ...row,
      dry_run: isDryRun(template),
      steps: shownSteps(template),
    }));
    const letters = deadLetters.map(({ params: _, ...letter }) => letter);
    const about = { at: now().toISOString(), environment: environmentName(env), version };
    return c.json({ ...about, health, status, proposals, dead_letters: letters, radar });
  },
);
