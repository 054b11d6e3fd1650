/**
 * Prometheus Alertmanager (prometheus.io/docs/alerting, webhook_config, version 4). It signs nothing and sends no
 * delivery id; its `authorization.credentials` is our secret. One event per alert, `alertmanager:firing|resolved`, once
 * per fingerprint, start and status: what it repeats while an alert goes on is known.
 *
 * It tries again after a 5xx only and drops what is answered otherwise (notify/util.go, Retrier).
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { EventInput } from '../../../supabase/client/schemas/inputs.js';
import { defaultMaxKeys } from '../body.js';
import { checkInput } from '../input.js';
import { type Delivery, dataOf, type WebhookScheme } from './source.js';

const Alert = z.looseObject({
  status: z.enum(['firing', 'resolved']),
  fingerprint: z.string().min(1).max(100),
  startsAt: z.string().min(1).max(64),
});
const Notification = z.looseObject({
  version: z.literal('4'),
  alerts: z.array(Alert),
  /** How many alerts `max_alerts` of the receiver left out. */
  truncatedAlerts: z.int().min(0).optional(),
});

export const alertmanager: WebhookScheme = {
  limits: (env) => ({ maxBytes: env.OPS_MAX_BODY_BYTES, maxKeys: defaultMaxKeys }),
  toEvents(delivery, payload) {
    const { alerts, truncatedAlerts = 0, ...group } = checkInput(Notification, payload);
    const events = alerts.map((alert) => alertEvent(delivery.source, alert, group));
    return truncatedAlerts > 0 ? [...events, lossEvent(delivery, group, truncatedAlerts)] : events;
  },
};

function alertEvent(source: string, alert: z.infer<typeof Alert>, group: object): EventInput {
  const { status, fingerprint, startsAt } = alert;
  return {
    type: `alertmanager:${status}`,
    source,
    data: dataOf({ ...alert, group }),
    dedupe_key: `${source}:${fingerprint}:${startsAt}:${status}`,
    trust: 'unverified',
  };
}

/** Alerts that were left out come to nobody's knowledge otherwise. */
function lossEvent({ source, body }: Delivery, group: object, truncated: number): EventInput {
  return {
    type: 'alertmanager:truncated',
    source,
    data: dataOf({ truncated, group }),
    dedupe_key: `${source}:truncated:${createHash('sha256').update(body).digest('hex')}`,
    trust: 'unverified',
  };
}
