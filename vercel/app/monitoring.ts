/** What watches the loop from outside: the alerts as they are at this moment, and the metrics for Prometheus. */
import { z } from 'zod';
import { Alert } from '../../supabase/client/schemas/rows.js';
import { alertLevels } from '../../supabase/client/terms.js';
import { answers, answersText, endpoint } from './endpoint.js';
import { contentType, expose } from './exposition.js';

/** A scrape gives up after 10 s by default (prometheus.io/docs, scrape_timeout); an answer after that helps nobody. */
const scrapeDeadlineMs = 9_000;

const Alerts = z.object({ level: z.enum(alertLevels), alerts: z.array(Alert) });

/** 200 at any level: the answer itself is sound. Says of the heartbeat's silence what the heartbeat cannot. */
export const showAlerts = endpoint(
  {
    summary: 'Every alert as it is now, the worst first',
    answers: { 200: answers('`level` is the worst of all.', Alerts) },
  },
  async (c, _, { port }) => {
    const alerts = await port.alerts();
    return c.json({ level: alerts[0]?.level ?? 'ok', alerts });
  },
);

/** Prometheus sends a viewer's key as `authorization.credentials_file`; docs/monitoring/prometheus.yml shows it. */
export const showMetrics = endpoint(
  {
    summary: 'The metrics, in the text format of Prometheus',
    answers: { 200: answersText('docs/metrics.md lists them.') },
  },
  async (c, _, { port }) =>
    c.body(await expose(await port.metrics({}, { deadlineMs: scrapeDeadlineMs })), 200, {
      'Content-Type': contentType,
    }),
);
