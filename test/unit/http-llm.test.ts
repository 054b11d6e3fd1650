/** The routes of the model providers: who may call, what is passed on, what is answered. */
import { describe, expect, test } from 'vitest';
import { OpsError } from '../../supabase/client/errors.js';
import { apiKey, bearer, bodyOf, json, someId, testApp } from './http-app.js';

const health = { status: 'degraded', at: '2026-11-20T08:00:00+00:00', providers: [] };
const answers = { llmHealth: () => health, resetLlm: () => ({ workers: ['a', 'b'] }) };
const call = (path: string, init: RequestInit = {}, more: Parameters<typeof testApp>[0] = {}) => {
  const { app, calls } = testApp({ ...answers, ...more });
  return { answer: app.request(`/api/ops/llm/${path}`, init), calls };
};
const post = (body: unknown) => json(body, bearer(apiKey));

describe('llm/health', () => {
  test('is what the engine says, and 200 also when a provider is ill', async () => {
    const response = await call('health', { headers: bearer(apiKey) }).answer;
    expect(response.status).toBe(200);
    expect(await bodyOf(response)).toEqual(health);
  });
});

describe('llm/reset', () => {
  test.each([
    ['of one', post({ provider: 'together' }), { provider: 'together' }],
    ['of all', post({}), {}],
    ['of all, with no body', { method: 'POST', headers: bearer(apiKey) }, {}],
  ])('%s is passed on and answered with who will do it', async (_what, init, passed) => {
    const { answer, calls } = call('reset', init);
    const response = await answer;
    expect(response.status).toBe(202);
    expect(await bodyOf(response)).toEqual({ workers: ['a', 'b'] });
    expect(calls).toEqual([['resetLlm', passed]]);
  });

  test('of a provider that nobody has is 404 with those there are', async () => {
    const resetLlm = () => {
      throw new OpsError('OPS_012', 'no worker has reported a provider x', { hint: 'There are together.' });
    };
    const response = await call('reset', post({ provider: 'x' }), { resetLlm }).answer;
    expect(response.status).toBe(404);
    expect(await bodyOf(response)).toMatchObject({ code: 'OPS_012', hint: 'There are together.' });
  });

  test('with a misspelt member resets nothing', async () => {
    const { answer, calls } = call('reset', post({ providers: ['together'] }));
    expect((await answer).status).toBe(400);
    expect(calls).toEqual([]);
  });
});

describe('llm/check', () => {
  test('proposes one small step of the agent executor, with one attempt and no tools', async () => {
    const { answer, calls } = call('check', post({ role: 'sage' }));
    const response = await answer;
    expect(response.status).toBe(202);
    expect(await bodyOf(response)).toMatchObject({ id: someId, status: 'pending', mission_id: null });
    expect(calls).toMatchObject([
      [
        'createProposal',
        {
          source: 'api',
          template: { steps: [{ kind: 'agent', max_retries: 1, params: { role: 'sage', tools: [] } }] },
        },
      ],
    ]);
  });

  test('is of the observer when nobody is named, and refused for a role that there is not', async () => {
    const { answer, calls } = call('check', { method: 'POST', headers: bearer(apiKey) });
    expect((await answer).status).toBe(202);
    expect(JSON.stringify(calls)).toContain('"role":"observer"');
    expect((await call('check', post({ role: 'boss' })).answer).status).toBe(400);
  });
});

test.each([
  ['GET', 'health'],
  ['POST', 'reset'],
  ['POST', 'check'],
])('%s llm/%s without a key is refused before anything is asked', async (method, path) => {
  const { answer, calls } = call(path, { method });
  expect((await answer).status).toBe(401);
  expect(calls).toEqual([]);
});
