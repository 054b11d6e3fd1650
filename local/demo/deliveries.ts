/**
 * Signed GitHub webhooks made of the payloads of `@octokit/webhooks-examples`, and what the endpoint must answer to
 * each. A delivery is new, a redelivery (same delivery id), a replay (same signed body under a new id), or forged.
 */
import { createHmac, randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { z } from 'zod';
import { OpsError } from '../../supabase/client/errors.js';

const Examples = z.array(
  z.object({ name: z.string(), examples: z.array(z.record(z.string(), z.unknown())) }),
);

export type Payload = { event: string; body: string };
export type Delivery = Payload & { id: string; signature: string };

/** All example payloads in the package's order. Throws `OPS_016` when the package is not installed. */
export function readPayloads(): Payload[] {
  const groups = Examples.parse(requireExamples());
  return groups.flatMap(({ name, examples }) =>
    examples.map((example) => ({ event: name, body: JSON.stringify(example) })),
  );
}

function requireExamples(): unknown {
  try {
    return createRequire(import.meta.url)('@octokit/webhooks-examples');
  } catch (cause) {
    throw new OpsError(
      'OPS_016',
      'the sample events are not installed: @octokit/webhooks-examples is missing',
      {
        hint: 'Run `npm ci` without --omit=dev.',
        cause,
      },
    );
  }
}

/** What GitHub sends as X-Hub-Signature-256. */
const sign = (body: string, secret: string): string =>
  `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;

export const asDelivery = ({ event, body }: Payload, secret: string): Delivery => ({
  event,
  body,
  id: randomUUID(),
  signature: sign(body, secret),
});

export type Plan = {
  deliveries: Delivery[];
  expected: {
    stored: number;
    sameDelivery: number;
    sameBody: number;
    refused: number;
    featureRequests: number;
  };
};

const wishes = ['Feature request: a dark theme', 'Please add an export to CSV'];

const IssuePayload = z.looseObject({ action: z.literal('opened'), issue: z.looseObject({}) });

/** Nobody asks for a feature in the package's payloads, so a real new issue is given another title and address. */
export function makeFeatureRequests(payloads: Payload[]): Payload[] {
  const issues = payloads.filter(({ event }) => event === 'issues').map(({ body }) => JSON.parse(body));
  const opened = issues.map((issue) => IssuePayload.safeParse(issue)).find(({ success }) => success)?.data;
  if (opened === undefined) return [];
  return wishes.map((title, index) => {
    const number = 1_001 + index;
    const issue = {
      ...opened.issue,
      number,
      title,
      html_url: `https://github.com/Codertocat/Hello-World/issues/${number}`,
    };
    return { event: 'issues', body: JSON.stringify({ ...opened, issue }) };
  });
}

/** How many deliveries come a second time, and how many bodies under a new delivery id. */
const redelivered = 20;
const replayed = 6;

/** All payloads and two wishes once, some twice, a few bodies again under new ids, one with a broken signature. */
export function planDeliveries(payloads: Payload[], secret: string): Plan {
  const requests = makeFeatureRequests(payloads);
  const first = [...payloads, ...requests].map((payload) => asDelivery(payload, secret));
  const unique = payloads.filter(({ event, body }) => countSame(payloads, event, body) === 1);
  const again = first.filter(({ event, body }) => countSame(unique, event, body) === 1).slice(0, redelivered);
  const replays = unique.slice(-replayed).map((payload) => asDelivery(payload, secret));
  const forged = first.slice(0, 1).map((payload) => asDelivery(payload, `${secret}, but another one`));
  const distinct = new Set(payloads.map(({ event, body }) => `${event} ${body}`)).size;
  return {
    deliveries: [...first, ...again, ...replays, ...forged],
    expected: {
      stored: distinct + requests.length,
      sameDelivery: again.length,
      sameBody: payloads.length - distinct + replays.length,
      refused: forged.length,
      featureRequests: requests.length,
    },
  };
}

const countSame = (payloads: Payload[], event: string, body: string): number =>
  payloads.filter((other) => other.event === event && other.body === body).length;
