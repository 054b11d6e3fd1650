/** What an approver is shown of a template: everything that bears on what would run. */
import { describe, expect, it } from 'vitest';
import { shownSteps } from '../../vercel/app/shown-template.js';
import { apiKey, bearer, someId, testApp } from './http-app.js';

const template = {
  title: 'Tell everybody',
  dry_run: true,
  steps: [
    { key: 'find', kind: 'agent', params: { role: 'sage' }, max_retries: 5, timeout_seconds: 300 },
    {
      kind: 'notify',
      executor: 'http',
      when: '$.steps.find.result.ok',
      for_each: { items: Array.from({ length: 1_000 }, (_, n) => n), max: 1_000 },
      on_failure: 'continue',
    },
    { kind: 'noop', depends_on: ['find'], for_each: { items: '{{steps.find.result.list}}' }, surprise: [1] },
    { kind: 'noop', depends_on: [], for_each: { items: ['a', 'b'], max: 1 }, priority: 3 },
  ],
};

describe('a step for an approver', () => {
  const [find, tell, each, last] = shownSteps(template);

  it('says how often it runs, with the number of items or its bound', () => {
    expect(tell?.terms).toContainEqual(expect.stringMatching(/^Runs 1,000 times, once for each of: \[0,1,2/));
    expect(each?.terms).toContain(
      'Once for each item of {{steps.find.result.list}}: 100 at most, more fail it.',
    );
    expect(last?.terms).toContain(
      'Runs 2 times, once for each of: ["a","b"]. That is more than its 1 at most, so it fails.',
    );
  });

  it('says after what, on which condition, as whom, and what its failure does', () => {
    expect(find?.terms).toEqual([
      'As the role sage.',
      'If it fails, the mission stops.',
      'At most 5 attempts.',
      'Ended after 300 s.',
    ]);
    expect(tell?.terms).toEqual(
      expect.arrayContaining([
        'After find.',
        'Only when $.steps.find.result.ok; else it is skipped.',
        'If it fails, the mission goes on.',
      ]),
    );
    expect([tell?.key, last?.terms[0]]).toEqual(['step_2', 'Waits for no other step.']);
  });

  it('keeps back no member that it does not know', () => {
    expect(each?.terms).toContain('surprise: [1]');
  });
});

it('the overview hands it on, with whether it is a dry run', async () => {
  const row = { id: someId, title: 'T', source: 'manual', status: 'pending', risk: 'high', reason: null };
  const more = {
    pattern_id: null,
    event_id: null,
    content_hash: null,
    expires_at: null,
    created_at: '2026-11-20T08:00:00Z',
  };
  const { app } = testApp({
    listWaiting: () => [{ ...row, ...more, template }],
  });
  const answer = await app.request('/api/ops/overview', { headers: bearer(apiKey) });
  expect(await answer.json()).toMatchObject({
    proposals: [{ dry_run: true, steps: shownSteps(template).map(({ executor: _, ...step }) => step) }],
  });
});
