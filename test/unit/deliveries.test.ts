import { verify } from '@octokit/webhooks-methods';
import { describe, expect, test } from 'vitest';
import { planDeliveries, readPayloads } from '../../local/demo/deliveries.js';

const secret = 'a secret of at least sixteen characters';
const payloads = readPayloads();
const { deliveries, expected } = planDeliveries(payloads, secret);
const signed = await Promise.all(deliveries.map(({ body, signature }) => verify(secret, body, signature)));

describe('the deliveries of the demo', () => {
  test('hold all 329 payloads of the package, of which 324 differ', () => {
    expect(payloads).toHaveLength(329);
    expect(new Set(payloads.map(({ event, body }) => `${event} ${body}`)).size).toBe(324);
    expect(expected).toMatchObject({ stored: 324 + 2, featureRequests: 2 });
  });

  test('are signed as GitHub signs, but for the one that must be refused', () => {
    expect(signed.filter((genuine) => !genuine)).toHaveLength(expected.refused);
    expect(expected.refused).toBe(1);
  });

  test('repeat some ids with the same body, and some bodies under new ids', () => {
    const genuine = deliveries.filter((_, index) => signed[index]);
    const ids = new Set(genuine.map(({ id }) => id));
    const bodies = new Set(genuine.map(({ event, body }) => `${event} ${body}`));
    expect(genuine.length - ids.size).toBe(expected.sameDelivery);
    expect(ids.size - bodies.size).toBe(expected.sameBody);
    expect(bodies.size).toBe(expected.stored);
    expect(expected.sameDelivery).toBeGreaterThan(0);
    expect(expected.sameBody).toBeGreaterThan(329 - 324);
  });
});
