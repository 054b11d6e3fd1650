/**
 * Every recipe of docs/cookbook once through the loop: its sample events come in, beats decide them, what waits is
 * approved by a named person, and a worker runs the steps, with stand-ins for what is outside, until nothing is left.
 */
import { expect, test } from 'vitest';
import { StepError } from '../../local/executors/contract.js';
import { openRoom } from './cookbook-kit.js';

const broken = (outcome: 'permanent' | 'unknown') => () => {
  throw new StepError('it broke', { outcome, errorClass: 'Drill' });
};

test('incident-response: tells, asks about first aid, escalates what nobody takes, closes what is over', async () => {
  const answers = { judge: { cause: 'a bad release', next_step: 'roll back' }, look: { stdout: 'disk ok' } };
  const room = await openRoom('incident-response', { at: '2026-03-02T09:40:00Z', answers });
  const { story, asked, messages, waiting } = room;
  const escalated = () => messages().filter((line) => line.includes('Still open'));

  await room.samples('alertmanager:firing');
  expect(await story('Incident: HighErrorRate on web-1:9100')).toBe(
    'succeeded: board succeeded, page succeeded, tell succeeded',
  );
  expect(await story('Incident: DiskFillsUp on db-1:9100')).toBe(
    'succeeded: board succeeded, page skipped, tell succeeded',
  );
  expect(messages().sort()).toEqual([
    'on-call: CRITICAL: HighErrorRate on web-1:9100',
    'on-call: Waits for you: First aid: HighErrorRate on web-1:9100',
    'ops-room: DiskFillsUp on db-1:9100',
    'ops-room: HighErrorRate on web-1:9100',
  ]);
  expect(await waiting()).toEqual(['First aid: HighErrorRate on web-1:9100']);
  await room.approve();
  expect(await story('First aid: HighErrorRate on web-1:9100')).toBe(
    'succeeded: look succeeded, judge succeeded, tell succeeded',
  );
  expect(asked('look')).toEqual([{ command: 'diagnose', arguments: ['web-1:9100'] }]);
  expect(asked('judge')).toMatchObject([{ role: 'sage', input: { seen: 'disk ok' } }]);
  expect(asked('tell').at(-1)?.text).toBe('Likely cause: a bad release\nNext step: roll back');

  await room.clock('2026-03-02T09:45:30Z');
  expect(escalated()).toEqual([]);
  await room.samples('alertmanager:resolved');
  expect(await story('Over: DiskFillsUp on db-1:9100')).toBe(
    'succeeded: hear succeeded, close succeeded, tell succeeded',
  );
  await room.clock('2026-03-02T10:00:30Z');
  expect(escalated()).toEqual(['on-call: Still open: HighErrorRate on web-1:9100']);
  const [mine] = await room.port.radarList({ stage: 'watching', limit: 2 });
  await room.port.radarMove({ id: mine?.id ?? '', stage: 'validating', actor: 'anna' });
  await room.clock('2026-03-02T10:15:30Z');
  expect(escalated()).toHaveLength(1);
});

test('failed-ci: counts and tells at once; once approved, what is flaky runs again, a broken change does not', async () => {
  const jobs = [{ name: 'unit', conclusion: 'failure' }];
  const room = await openRoom('failed-ci', {
    answers: { jobs: { body: { jobs } }, triage: { cause: 'flaky', summary: 'a timeout', fix: 'none' } },
  });
  const { story, asked, waiting } = room;
  await room.samples();
  expect(await story('CI fails: tests in acme/web')).toBe('succeeded: count succeeded, tell succeeded');
  const run = 'https://github.com/acme/web/actions/runs/289782451';
  expect(asked('tell')).toMatchObject([{ text: `tests on main, 1 time(s) so far\n${run}` }]);
  expect(await waiting()).toEqual(['Triage CI: tests in acme/web']);
  await room.approve();
  expect(await story('Triage CI: tests in acme/web')).toBe(
    'succeeded: jobs succeeded, triage succeeded, rerun succeeded, tell succeeded',
  );
  expect(asked('triage')).toMatchObject([{ input: { attempt: 1, jobs } }]);
  expect(asked('rerun')[0]?.url).toMatch(/actions\/runs\/289782451\/rerun-failed-jobs$/);
  expect(asked('tell').at(-1)?.title).toBe('CI of acme/web: flaky');

  room.answers.triage = { cause: 'code', summary: 'a typo', fix: 'mend it' };
  await room.emit('github:workflow_run:completed', {
    workflow_run: {
      ...{ id: 2, name: 'lint', head_branch: 'main', head_sha: '3484a3fb', run_attempt: 1 },
      ...{ conclusion: 'timed_out', html_url: 'https://github.com/acme/web/actions/runs/2' },
    },
    repository: { full_name: 'acme/web', default_branch: 'main' },
  });
  await room.approve();
  expect(await story('Triage CI: lint in acme/web')).toBe(
    'succeeded: jobs succeeded, triage succeeded, rerun skipped, tell succeeded',
  );
  expect(asked('tell').at(-1)?.text).toContain('Run again: no');
});

test('security-alert: fans out once approved and pages when it is urgent; a leaked secret is told at once', async () => {
  const place = 'src/version.ts:3: import semver';
  const room = await openRoom('security-alert', {
    answers: {
      exposure: { stdout: place },
      assess: { urgency: 'now', why: 'it parses what users send', action: 'upgrade to 7.5.2' },
    },
  });
  const { story, asked, messages } = room;
  await room.samples();
  expect(await story('A secret leaked in acme/web')).toBe('succeeded: page succeeded, record succeeded');
  expect(messages().sort()).toEqual([
    'on-call: A secret leaked in acme/web',
    'ops-room: Waits for you: security alert',
  ]);
  expect(await room.approve()).toEqual(['Security alert in acme/web: semver']);
  expect(await story('Security alert in acme/web: semver')).toBe(
    'succeeded: record succeeded, exposure succeeded, assess succeeded, page succeeded, report succeeded',
  );
  expect(asked('exposure')).toEqual([{ command: 'find-in-code', arguments: ['semver'] }]);
  expect(asked('assess')).toMatchObject([{ input: { places: place } }]);
  expect(asked('report')[0]?.text).toMatch(/^it parses what users send\nTo do: upgrade to 7\.5\.2\n/);
});

test('content-pipeline: five roles hand on to a draft, and a second approval publishes it', async () => {
  const sections = ['Why', 'How'].map((heading) => ({ heading, points: [] }));
  const room = await openRoom('content-pipeline', {
    answers: {
      plan: { sections, risky: ['speed'] },
      review: { problems: ['a claim without a fact'] },
      final: { title: 'Queues', teaser: 'Short.', body: 'Long.', ready: true },
      upload: { body: { url: 'https://example.com/queues' } },
    },
  });
  const { story, asked } = room;
  await room.samples();
  expect(await room.approve()).toEqual(['Write about Queues in Postgres']);
  expect(await story('Write about Queues in Postgres')).toBe(
    'succeeded: facts succeeded, angle succeeded, plan succeeded, write succeeded, write[0] succeeded, ' +
      'write[1] succeeded, review succeeded, final succeeded, tell succeeded',
  );
  const roles = room.told.filter(({ executor }) => executor === 'agent').map(({ params }) => params.role);
  expect(new Set(roles)).toEqual(new Set(['scout', 'xalt', 'sage', 'quill', 'observer']));
  expect(asked('plan')).toMatchObject([{ input: { angle: 'xalt says something' } }]);
  expect(asked('write[1]')).toMatchObject([{ input: { section: { heading: 'How' }, number: 1 } }]);
  expect(asked('review')).toMatchObject([{ input: { risky: ['speed'], sections: [{ role: 'quill' }, {}] } }]);
  expect(asked('final')).toMatchObject([{ input: { problems: ['a claim without a fact'] } }]);
  expect(await room.approve()).toEqual(['Publish: Queues']);
  expect(await story('Publish: Queues')).toBe('succeeded: upload succeeded, tell succeeded');
  expect(asked('upload')).toMatchObject([{ json: { title: 'Queues', teaser: 'Short.', body: 'Long.' } }]);
  expect(asked('tell').at(-1)?.text).toBe('https://example.com/queues');
});

test('demand-radar: five mentions are judged, what a person builds becomes an idea, what is shipped is told', async () => {
  const room = await openRoom('demand-radar', {
    answers: { judge: { worth: true, why: 'many ask', questions: [] } },
  });
  const { story, asked } = room;
  await room.samples();
  expect(await room.signals()).toMatchObject([{ mentions: 5, stage: 'watching' }]);
  expect(await room.approve()).toEqual(['Asked for 5 times: worth building?']);
  expect(await story('Asked for 5 times: worth building?')).toBe(
    'succeeded: read succeeded, judge succeeded, move succeeded, tell succeeded',
  );
  expect(asked('judge')).toMatchObject([{ input: { title: 'Please add dark mode' } }]);
  const [signal] = await room.signals();
  expect(signal).toMatchObject({ stage: 'validating' });
  const move = async (stage: string) => {
    await room.port.radarMove({ id: signal?.id ?? '', stage, actor: 'anna' });
    await room.rest();
  };
  await move('building');
  expect(await room.approve()).toEqual(['Build: Please add dark mode']);
  expect(await story('Build: Please add dark mode')).toBe('succeeded: idea succeeded, tell succeeded');
  expect(asked('idea')).toMatchObject([{ command: 'ideas', repository: 'product' }]);
  expect(asked('idea')[0]?.text).toMatch(/^Please add dark mode\n\nAsked for 5 times/);
  await move('shipped');
  expect(room.messages().at(-1)).toBe('ops-room: Shipped, asked for 5 times');
});

test('nightly-report: is told by the clock alone, and without words when no model answers', async () => {
  const room = await openRoom('nightly-report', {
    at: '2026-03-02T04:59:00Z',
    answers: { write: { headline: 'A quiet night', report: 'One wish.' } },
  });
  const { story, asked } = room;
  await room.port.radarAdd({ signals: [{ title: 'Dark mode' }] });
  await room.rest();
  await room.clock('2026-03-02T05:00:01Z');
  expect(await story('Report of 2026-03-02T05:00:00+00:00')).toBe(
    'succeeded: top succeeded, recent succeeded, write succeeded, tell succeeded, tell-without skipped',
  );
  expect(asked('write')).toMatchObject([{ role: 'observer', input: { top: [{ title: 'Dark mode' }] } }]);
  expect(asked('tell')).toMatchObject([{ title: 'A quiet night', text: 'One wish.' }]);

  room.answers.write = broken('permanent');
  await room.clock('2026-03-03T05:00:01Z');
  expect(await story('Report of 2026-03-03T05:00:00+00:00')).toBe(
    'succeeded: top succeeded, recent succeeded, write failed, tell skipped, tell-without succeeded',
  );
  expect(asked('tell-without')[0]?.text).toBe(
    'No model answered. First on the radar: Dark mode, nothing, nothing',
  );
  expect(await room.waiting()).toEqual([]);
  await room.port.emitEvent({ type: 'report:nightly', source: 'schedule', data: { slot_at: 'now' } });
  await room.rest();
  expect(await room.waiting()).toEqual(['Report of now']);
});

test('deployment: is asked about, verified, rolled back when it does not hold, and told when it broke', async () => {
  const room = await openRoom('deployment', { answers: { verify: { body: { version: 'v1.4.2' } } } });
  const { story, asked, messages, told } = room;
  await room.samples('deploy:requested');
  expect(asked('ask')).toMatchObject([{ title: 'Deploy shop v1.4.2?', approve: { ttl_minutes: 480 } }]);
  expect(await room.approve()).toEqual(['Deploy shop v1.4.2']);
  expect(await story('Deploy shop v1.4.2')).toBe(
    'succeeded: ship succeeded, verify succeeded, rollback skipped, tell succeeded, page skipped',
  );
  expect(asked('ship')).toEqual([{ command: 'deploy', arguments: ['shop', 'v1.4.2'] }]);
  expect(messages().at(-1)).toBe('ops-room: Deployed shop v1.4.2');

  told.length = 0;
  await room.samples('deploy:rehearsal');
  await room.approve();
  expect(await story('Rehearse shop v1.4.2')).toBe(
    'succeeded: ship succeeded, verify succeeded, tell succeeded',
  );
  expect(told).toEqual([]);

  await room.emit('deploy:requested', { service: 'shop', version: 'v1.4.3' });
  await room.approve();
  expect(await story('Deploy shop v1.4.3')).toBe(
    'succeeded: ship succeeded, verify succeeded, rollback succeeded, tell skipped, page succeeded',
  );
  expect(asked('rollback')).toEqual([{ command: 'rollback', arguments: ['shop'] }]);
  expect(asked('page')[0]?.text).toBe('It answered as v1.4.2, not as v1.4.3.');

  room.answers.ship = broken('permanent');
  await room.emit('deploy:requested', { service: 'shop', version: 'v1.4.4' });
  await room.approve();
  expect(await story('Deploy shop v1.4.4')).toBe(
    'failed: ship failed, verify skipped, rollback skipped, tell skipped, page skipped',
  );
  expect(messages().at(-1)).toBe('on-call: A deployment broke: permanent');
});

test('cost-guard: warns, tells when a budget is used up, and asks for a review the third time', async () => {
  const room = await openRoom('cost-guard', {
    answers: { one: { usd: 4.2 }, two: { usd: 4.2 }, three: { usd: 4.2 } },
    at: '2026-03-02T09:00:00Z',
  });
  const { messages } = room;
  const step = (key: string) => ({ key, kind: 'agent', params: { role: 'sage', prompt: 'Think.' } });
  const spend = async (day: number): Promise<void> => {
    await room.clock(`2026-03-0${day}T09:00:00Z`);
    const steps = ['one', 'two', 'three'].map(step);
    await room.port.createProposal({ template: { title: `day ${day}`, steps } });
    await room.approve();
  };
  await spend(2);
  // Two missions of one beat: which is told first is nobody's promise.
  expect(messages().toSorted()).toEqual([
    'on-call: Used up: executor:agent:usd:day',
    'ops-room: 80 % gone: executor:agent:usd:day',
  ]);
  expect(await room.signals()).toMatchObject([
    { title: 'Budget used up: executor:agent:usd:day', mentions: 1 },
  ]);
  await spend(3);
  await spend(4);
  expect(await room.approve()).toEqual(['Used up 3 times: review this budget?']);
  expect(await room.story('Used up 3 times: review this budget?')).toBe(
    'succeeded: take succeeded, read succeeded, tell succeeded',
  );
  expect(messages().at(-1)).toBe('ops-room: Budget used up: executor:agent:usd:day');
  expect(await room.signals()).toMatchObject([{ stage: 'validating', mentions: 3 }]);
});

test('dead-letter-review: counts, tells, pages when in doubt, and sorts what died by the clock', async () => {
  const room = await openRoom('dead-letter-review', {
    at: '2026-03-02T06:58:00Z',
    answers: { call: broken('unknown'), sort: { first: 'the drills', review: 'Two drills died.' } },
  });
  const { messages, asked } = room;
  const propose = async (title: string, kind: string, params: { [name: string]: string }) => {
    await room.port.createProposal({ template: { title, steps: [{ key: 'call', kind, params }] } });
    await room.rest();
  };
  await propose('a drill', 'noop', { fail: 'permanent' });
  expect(messages()).toEqual(['ops-room: A step died: noop (permanent)']);
  await propose('a call', 'http', { url: 'https://example.com' });
  await room.approve();
  expect(messages().slice(1)).toEqual(['on-call: Did it take effect? http']);
  expect((await room.signals()).map(({ title }) => title).sort()).toEqual([
    'Steps die: http, Drill',
    'Steps die: noop, Drill',
  ]);
  await room.clock('2026-03-02T07:00:01Z');
  expect(await room.story('Review dead letters')).toBe(
    'succeeded: list succeeded, read succeeded, read[0] succeeded, read[1] succeeded, sort succeeded, tell succeeded',
  );
  expect(asked('sort')).toMatchObject([{ role: 'sage', input: [{ tags: ['reliability'] }, {}] }]);
  expect(messages().at(-1)).toBe('ops-room: Dead letters, first: the drills');
  expect(await room.waiting()).toEqual([]);
});

test('stripe-follow-up: a draft becomes a task once approved, one in five is asked why, a dispute is told', async () => {
  const room = await openRoom('stripe-follow-up', {
    answers: {
      account: { body: { id: 'acc_1', name: 'Acme', owner: 'ben' } },
      letter: { subject: 'Your invoice', body: 'Dear Acme, …' },
    },
  });
  const { asked, messages } = room;
  await room.samples();
  expect(messages()).toEqual(['on-call: Dispute: product_not_received']);
  expect(await room.approve()).toEqual([
    'Ask why cus_NffrFe left',
    'Follow up: payment of cus_NeZwdN failed',
  ]);
  expect(await room.story('Follow up: payment of cus_NeZwdN failed')).toBe(
    'succeeded: account succeeded, letter succeeded, task succeeded, tell succeeded',
  );
  expect(asked('letter')).toMatchObject([{ input: { account: { name: 'Acme', plan: null }, attempt: 2 } }]);
  const task = { account_id: 'acc_1', title: 'Payment failed: Your invoice', draft: 'Dear Acme, …' };
  expect(asked('task').map(({ json }) => json)).toContainEqual({ ...task, due_in_days: 2 });
  expect(messages().at(-1)).toBe('ops-room: Follow-up for Acme');

  expect(await room.story('Ask why cus_NffrFe left')).toBe('succeeded: account succeeded, task succeeded');
  const { real } = await room.db.one<{ real: boolean }>(
    "select ops_roll(event_id, 'subscription-cancelled:canary') < 0.2 as real from ops_mission_proposals where pattern_id = 'subscription-cancelled'",
  );
  expect(asked('task')).toHaveLength(real ? 2 : 1);
});
