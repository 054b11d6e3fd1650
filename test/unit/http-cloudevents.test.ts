/** CloudEvents 1.0 on `events`: structured, batched and binary, over a hand-made port. */
import { describe, expect, it } from 'vitest';
import { apiKey, bearer, bodyOf, testApp } from './http-app.js';

const event = {
  specversion: '1.0',
  id: 'A234-1234-1234',
  source: '/shop/orders',
  type: 'com.example.order.placed',
  subject: '123',
  time: '2026-11-20T08:00:00Z',
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  partitionkey: 'eu',
  data: { total: 5 },
};
const stored = {
  type: 'com.example.order.placed',
  source: '/shop/orders',
  data: {
    total: 5,
    cloudevent: {
      id: 'A234-1234-1234',
      source: '/shop/orders',
      subject: '123',
      time: '2026-11-20T08:00:00Z',
      partitionkey: 'eu',
    },
  },
  dedupe_key: 'cloudevent:/shop/orders A234-1234-1234',
  traceparent: event.traceparent,
};

async function send(body: unknown, headers: Record<string, string>) {
  const { app, calls } = testApp();
  const text = body === undefined ? null : typeof body === 'string' ? body : JSON.stringify(body);
  const init = { method: 'POST', headers: { ...bearer(apiKey), ...headers }, body: text };
  const response = await app.request('/api/ops/events', init);
  const [[, sent] = []] = calls;
  const { events } = (sent ?? { events: [] }) as { events: Record<string, unknown>[] };
  return { status: response.status, body: await bodyOf(response), events };
}
const structured = { 'Content-Type': 'application/cloudevents+json; charset=utf-8' };
const batched = { 'Content-Type': 'application/cloudevents-batch+json' };

/** As headers: all but the data. */
const asHeaders = ({ data: _, ...attributes }: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(attributes).map(([name, value]) => [`ce-${name}`, String(value)]));

describe('a CloudEvent', () => {
  it('in structured mode is one event, under source and id', async () => {
    const answer = await send(event, structured);
    expect([answer.status, answer.body.created]).toEqual([201, true]);
    expect(answer.events).toEqual([stored]);
  });

  it('in binary mode is the same event', async () => {
    const answer = await send(event.data, { 'Content-Type': 'application/json', ...asHeaders(event) });
    expect(answer.status).toBe(201);
    expect(answer.events).toEqual([stored]);
  });

  it('in binary mode may have no data, and percent-encoded attributes', async () => {
    const headers = asHeaders({ ...event, subject: 'Caf%C3%A9', label: '100%' });
    const { status, events } = await send(undefined, headers);
    expect(status).toBe(201);
    expect(events[0]).toMatchObject({ data: { cloudevent: { subject: 'Café', label: '100%' } } });
  });

  it('in a batch is answered in a list', async () => {
    const answer = await send([event, { ...event, id: 'second' }], batched);
    expect(answer.status).toBe(201);
    expect(answer.body).toMatchObject({ created: 2, events: [{}, {}] });
    expect(answer.events.map(({ dedupe_key }) => dedupe_key)).toEqual([
      'cloudevent:/shop/orders A234-1234-1234',
      'cloudevent:/shop/orders second',
    ]);
  });

  it.each<[unknown, object]>([
    ['text', { value: 'text' }],
    [[1, 2], { value: [1, 2] }],
    [null, { value: null }],
    [undefined, {}],
    [{ cloudevent: 'mine' }, {}],
  ])('with data %j keeps it beside its attributes', async (data, kept) => {
    const { events } = await send({ ...event, data }, structured);
    expect(events[0]?.data).toEqual({ ...kept, cloudevent: stored.data.cloudevent });
  });

  it('keeps bytes as base64, and drops a trace that is none', async () => {
    const { events } = await send(
      { ...event, data: undefined, data_base64: 'AAE=', traceparent: 'x' },
      structured,
    );
    expect(events[0]).toMatchObject({ data: { data_base64: 'AAE=' } });
    expect(events[0]).not.toHaveProperty('traceparent');
  });

  it.each<[string, object, string]>([
    ['of another version', { specversion: '0.3' }, '/specversion'],
    ['without an id', { id: undefined }, '/id'],
    ['with an empty source', { source: '' }, '/source'],
    ['with a type of other letters', { type: 'com/example' }, '/type'],
    ['with a time that is none', { time: 'yesterday' }, '/time'],
    ['with bytes that are no base64', { data_base64: '?' }, '/data_base64'],
  ])('%s is refused by name', async (_, changed, pointer) => {
    const answer = await send({ ...event, ...changed }, structured);
    expect([answer.status, answer.body.errors[0].pointer]).toEqual([400, pointer]);
    expect(answer.events).toEqual([]);
  });

  it('is refused as an empty batch, and with data that is no JSON', async () => {
    expect((await send([], batched)).status).toBe(400);
    expect((await send('x', { 'Content-Type': 'text/plain', ...asHeaders(event) })).status).toBe(415);
    expect((await send('{', { 'Content-Type': 'application/json', ...asHeaders(event) })).status).toBe(400);
  });
});
