import pLimit from 'p-limit';
import { z } from 'zod';
import type { Delivery } from './deliveries.js';

const Receipt = z.object({
  id: z.uuid(),
  created: z.boolean(),
  duplicate_of: z.enum(['dedupe_key', 'body_digest']).nullable(),
});

/** `events` are the ids of what was stored, in the order of the deliveries. */
export type Delivered = {
  stored: number;
  sameDelivery: number;
  sameBody: number;
  refused: number;
  /** Any other answer, in words. */
  failures: string[];
  events: { type: string; id: string }[];
};

/** GitHub itself sends many at once; more than this only queue in front of the connection pool. */
const atOnce = 16;
const answerDeadlineMs = 20_000;

/** Sends every delivery to the webhook endpoint of `url` and counts the answers; `onAnswer` after each. */
export async function deliverAll(
  url: string,
  deliveries: Delivery[],
  onAnswer: (done: number) => void,
): Promise<Delivered> {
  const limit = pLimit(atOnce);
  const total: Delivered = { stored: 0, sameDelivery: 0, sameBody: 0, refused: 0, failures: [], events: [] };
  let done = 0;
  const send = async (delivery: Delivery): Promise<void> => {
    count(total, delivery, await deliver(url, delivery));
    done += 1;
    onAnswer(done);
  };
  await Promise.all(deliveries.map((delivery) => limit(send, delivery)));
  return total;
}

type Answer = { status: number; body: unknown };

async function deliver(url: string, { event, body, id, signature }: Delivery): Promise<Answer> {
  const response = await fetch(`${url}/api/ops/webhooks/github`, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      'User-Agent': 'GitHub-Hookshot/ops-loop-demo',
      'X-GitHub-Event': event,
      'X-GitHub-Delivery': id,
      'X-Hub-Signature-256': signature,
    },
    body,
    signal: AbortSignal.timeout(answerDeadlineMs),
  });
  return { status: response.status, body: await response.json() };
}

function count(total: Delivered, { event }: Delivery, { status, body }: Answer): void {
  const receipt = Receipt.safeParse(body);
  if (status === 401) total.refused += 1;
  else if (!receipt.success || status > 299)
    total.failures.push(`${event}: ${status} ${JSON.stringify(body)}`);
  else if (receipt.data.created) {
    total.stored += 1;
    total.events.push({ type: event, id: receipt.data.id });
  } else if (receipt.data.duplicate_of === 'body_digest') total.sameBody += 1;
  else total.sameDelivery += 1;
}
