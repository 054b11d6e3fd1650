/**
 * From a proposal that waits to a message in a chat, from its link to the mission: engine, worker, control plane and
 * HTTP are real, the chat is a stand-in. And the other road: roles that judge and vote.
 */
import { pino } from 'pino';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { noop } from '../../local/executors/noop.js';
import { notify } from '../../local/executors/notify/notify.js';
import { createRegistry } from '../../local/executors/registry.js';
import { vote } from '../../local/executors/vote/vote.js';
import { createApp, startServer } from '../../local/server.js';
import { startWorker } from '../../local/worker/worker.js';
import { parseControlEnv } from '../../vercel/app/env.js';
import { type Json, useEngine } from '../sql/engine-kit.js';
import { until } from '../support/until.js';
import { secrets } from '../unit/http-app.js';
import { slackService } from './chat-services.js';
import { openReceiver } from './receiver.js';

const engine = useEngine();
const { db } = engine;
const chat = await openReceiver();
const slackPath = '/services/T0/B0/path-of-the-room';
const lines: string[] = [];

beforeEach(async () => {
  lines.length = 0;
  chat.answer(slackService);
  await db.sql('delete from ops_proposal_votes; delete from ops_approval_links');
  await engine.setPolicy('auto_approve', {
    enabled: true,
    allowed_step_kinds: ['notify', 'vote', 'noop'],
    max_risk_level: 'medium',
  });
  await engine.setPolicy('worker_policy', {
    allowed_hosts: [chat.origin],
    channels: { 'ops-room': { type: 'slack', url_secret: 'SLACK_URL' } },
  });
});

async function startControlPlane(): Promise<string> {
  const keep = (fields: object) => void lines.push(JSON.stringify(fields));
  const log = { info: keep, warn: keep, error: keep };
  const app = createApp({ port: engine.port, env: parseControlEnv(secrets), log, now: () => new Date() });
  const server = await startServer({ app, host: '127.0.0.1', port: 0 });
  onTestFinished(() => server.close());
  return server.url;
}

async function startLoopWorker(publicUrl?: string): Promise<void> {
  const variables: Record<string, string | undefined> = {
    SLACK_URL: chat.origin + slackPath,
    OPS_PUBLIC_URL: publicUrl,
  };
  const worker = await startWorker({
    ...{ port: engine.port, name: 'w', print: () => {}, reactive: {} },
    log: pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) }),
    registry: createRegistry([noop, notify, vote]),
    secrets: (name) => variables[name],
  });
  onTestFinished(async () => void (await worker.stop()));
}

/** Tells the room about everything that waits for a person. */
const tell = {
  id: 'tell',
  event_type: 'proposal:waiting',
  template: {
    title: 'Tell the room',
    steps: [
      {
        kind: 'notify',
        params: {
          channel: 'ops-room',
          title: 'Waits: {{event.data.title}}',
          text: '{{event.data.reason}}',
          approve: { proposal_id: '{{event.data.proposal_id}}' },
        },
      },
    ],
  },
};
const risky = { title: 'deploy', risk_level: 'high', steps: [{ key: 'go', kind: 'noop' }] };

const proposal = (id: string) => db.one('select * from ops_mission_proposals where id = $1', [id]);
const linkIn = (word: string): string => {
  const body = chat.received.at(-1)?.body ?? '';
  return new RegExp(`<(http[^|>]+)\\|${word}>`).exec(body)?.[1] ?? '';
};
const post = (url: string, body = '') =>
  fetch(url, { method: 'POST', body, headers: { 'Content-Type': 'application/x-www-form-urlencoded' } });

/** Every row of every table as text. */
async function everythingStored(): Promise<string> {
  const tables = await db.sql<{ name: string }>(
    "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'",
  );
  const texts = await Promise.all(
    tables.map(({ name }) => db.sql(`select t::text as line from public.${name} t`)),
  );
  return JSON.stringify(texts);
}

describe('a proposal that waits', () => {
  test('is told to the room, looked at by previews, approved by a person, and runs; its keys are kept nowhere', async () => {
    const url = await startControlPlane();
    await engine.patterns(tell);
    await startLoopWorker(url);
    const { id } = await engine.port.createProposal({ template: risky });
    await until(() => chat.received.length > 0, { what: 'the room is told' });
    expect(chat.received[0]?.path).toBe(slackPath);
    const [approve, reject] = [linkIn('Approve'), linkIn('Reject')];

    for (const method of ['GET', 'HEAD', 'GET']) expect((await fetch(approve, { method })).status).toBe(200);
    expect(await (await fetch(reject)).text()).toContain('Reject this proposal?');
    expect(await proposal(id)).toMatchObject({ status: 'pending' });

    const answer = await post(approve, 'reason=seen+it');
    expect(answer.status).toBe(200);
    expect(await answer.text()).toContain('Approved');
    expect(await proposal(id)).toMatchObject({
      ...{ status: 'approved', decided_by: 'link:ops-room', reason: 'seen it' },
    });
    for (const spent of [approve, reject]) {
      expect((await fetch(spent)).status).toBe(410);
      expect((await post(spent)).status).toBe(409);
    }
    await until(
      async () =>
        (await db.sql("select from ops_missions where title = 'deploy' and status = 'succeeded'")).length,
      { what: 'the mission runs' },
    );
    const kept = (await everythingStored()) + lines.join('');
    for (const key of [approve, reject].map((link) => link.split('/').at(-1) ?? '')) {
      expect(key).toMatch(/^[0-9a-f]{64}$/);
      expect(kept).not.toContain(key);
    }
    expect(kept).not.toContain(slackPath);
  });

  test('because of an event from outside is told without anybody approving the telling', async () => {
    const url = await startControlPlane();
    await engine.patterns(tell, {
      id: 'outside',
      event_type: 'github:push',
      template: { ...risky, title: 'deploy {{event.data.ref}}' },
    });
    await startLoopWorker(url);
    await engine.emit('github:push', { ref: '<!channel> main' });
    await until(() => chat.received.length > 0, { what: 'the room is told' });
    expect(chat.received).toHaveLength(1);
    expect(chat.received[0]?.body).toContain('Waits: deploy <!channel> main');
    expect((await post(linkIn('Reject'))).status).toBe(200);
    expect(await db.sql("select status from ops_mission_proposals where title like 'deploy %'")).toEqual([
      { status: 'rejected' },
    ]);
  });

  test('clicked by thirty people at once is one mission', async () => {
    const url = await startControlPlane();
    await engine.patterns(tell);
    await startLoopWorker(url);
    await engine.port.createProposal({ template: risky });
    await until(() => chat.received.length > 0, { what: 'the room is told' });
    const approve = linkIn('Approve');
    const answers = await Promise.all(Array.from({ length: 30 }, () => post(approve)));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    expect(statuses.filter((status) => status === 409)).toHaveLength(29);
    expect(await db.sql("select from ops_missions where title = 'deploy'")).toHaveLength(1);
  });
});

describe('roles that judge', () => {
  /** A role's word as an agent would give it, and the vote that follows from it. */
  const judgeAndVote = (role: string, word: string, id: string): { [name: string]: Json }[] => [
    { key: 'judge', kind: 'noop', params: { echo: { vote: word, reason: `${role} says ${word}` } } },
    {
      key: 'vote',
      kind: 'vote',
      params: {
        ...{ role, proposal_id: id, vote: '{{steps.judge.result.echo.vote}}' },
        reason: '{{steps.judge.result.echo.reason}}',
      },
    },
  ];
  const votesOf = (id: string) =>
    db.sql('select voter, vote, reason from ops_proposal_votes where proposal_id = $1 order by voter', [id]);

  test('decide by their votes; who comes late has not failed', async () => {
    await engine.setPolicy('approvals', { voting: { high: { enabled: true, min_votes: 3 } } });
    await startLoopWorker();
    const { id } = await engine.port.createProposal({ template: risky });
    for (const [n, role] of ['scout', 'quill', 'sage'].entries()) {
      await engine.mission(judgeAndVote(role, role === 'quill' ? 'reject' : 'approve', id), role);
      await until(async () => (await votesOf(id)).length > n, { what: `${role} votes` });
    }
    expect(await proposal(id)).toMatchObject({ status: 'approved', decided_by: 'votes' });
    expect(await votesOf(id)).toContainEqual({
      ...{ voter: 'quill', vote: 'reject', reason: 'quill says reject' },
    });
    const late = await engine.mission(judgeAndVote('xalt', 'reject', id), 'late');
    await until(async () => (await engine.missionRow(late)).status === 'succeeded', {
      what: 'the late vote ends',
    });
    expect((await engine.step(late, 'vote')).result).toMatchObject({
      ...{ voter: 'xalt', vote: 'reject', counted: false, status: 'approved' },
    });
    expect(await votesOf(id)).toHaveLength(3);
  });

  test('say something that is no vote, and it is a failure of the step alone', async () => {
    await engine.setPolicy('approvals', { voting: { high: { enabled: true } } });
    await startLoopWorker();
    const { id } = await engine.port.createProposal({ template: risky });
    const mission = await engine.mission(judgeAndVote('scout', 'perhaps', id));
    await until(async () => (await engine.missionRow(mission)).status === 'failed', {
      what: 'the vote fails',
    });
    expect((await engine.step(mission, 'vote')).last_error).toContain('vote');
    expect(await votesOf(id)).toEqual([]);
  });

  test('have no vote where none is asked for: the step fails for good, and says why', async () => {
    await startLoopWorker();
    const { id } = await engine.port.createProposal({ template: risky });
    const mission = await engine.mission(judgeAndVote('scout', 'approve', id));
    await until(async () => (await engine.missionRow(mission)).status === 'failed', {
      what: 'the vote fails',
    });
    expect(await engine.step(mission, 'vote')).toMatchObject({
      last_error: expect.stringContaining('approvals.voting is not enabled for risk high'),
    });
    expect(await db.sql('select cause, error_class from ops_step_dead_letters')).toEqual([
      { cause: 'permanent', error_class: 'OPS_003' },
    ]);
  });

  test('must be written out: a role that an event filled in is refused', async () => {
    await engine.setPolicy('approvals', { voting: { high: { enabled: true } } });
    const { id } = await engine.port.createProposal({ template: risky });
    const params = { role: '{{steps.who.result.echo}}', proposal_id: id, vote: 'approve' };
    const steps = [
      { key: 'who', kind: 'noop', params: { echo: 'sage' } },
      { key: 'vote', kind: 'vote', params },
    ];
    await expect(engine.mission(steps)).rejects.toMatchObject({
      code: 'OPS_004',
      message: expect.stringContaining('role of vote may not'),
    });
    expect(await votesOf(id)).toEqual([]);
  });
});
