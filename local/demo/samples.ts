import { type Delivered, deliverAll } from './deliver.js';
import { asDelivery, makeFeatureRequests, type Payload, readPayloads } from './deliveries.js';

/** One each of what the seed's rules react to, and two that match nothing. */
const wanted: { event: string; action?: string }[] = [
  { event: 'ping' },
  { event: 'issues', action: 'opened' },
  { event: 'check_run', action: 'completed' },
  { event: 'dependabot_alert', action: 'created' },
  { event: 'release', action: 'published' },
  { event: 'star', action: 'created' },
  { event: 'push' },
];

function samplePayloads(payloads: Payload[]): Payload[] {
  return wanted.flatMap(({ event, action }) => {
    const fits = (payload: Payload) =>
      payload.event === event &&
      (action === undefined || (JSON.parse(payload.body) as { action?: string }).action === action);
    return payloads.find(fits) ?? [];
  });
}

/** Sends a handful of signed sample webhooks to a running control plane. */
export function deliverSamples(url: string, secret: string): Promise<Delivered> {
  const payloads = readPayloads();
  const chosen = [...samplePayloads(payloads), ...makeFeatureRequests(payloads)];
  const deliveries = chosen.map((payload) => asDelivery(payload, secret));
  return deliverAll(url, deliveries, () => {});
}
