/** What the smoke test looks at, in order. */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { type Answer, type Ask, said } from './ask.js';

export type Run = {
  ask: Ask;
  key: string;
  waitMs: number;
  /** Names what this run makes. */
  id: string;
  found: { eventId?: string; missionId?: string };
};
/** `look` answers what it found, or throws what is wrong; `after` are those it rests on. */
export type Look = { name: string; after: string[]; look: (run: Run) => Promise<string> };

const pollMs = 200;

export const looks: Look[] = [
  { name: 'health', after: [], look: looksAlive },
  { name: 'ready', after: ['health'], look: looksReady },
  { name: 'no key', after: ['health'], look: (run) => refuses(run, undefined) },
  { name: 'wrong key', after: ['health'], look: (run) => refuses(run, randomBytes(24).toString('hex')) },
  // What a variable that is not set becomes in a careless caller's header, and in a careless server's comparison.
  { name: 'Bearer undefined', after: ['health'], look: (run) => refuses(run, 'undefined') },
  { name: 'event', after: ['ready'], look: sendEvent },
  { name: 'decision', after: ['event'], look: awaitDecision },
  { name: 'proposal', after: ['ready'], look: propose },
  { name: 'mission', after: ['proposal'], look: awaitMission },
];

async function looksAlive({ ask }: Run): Promise<string> {
  const answer = await ask('GET', '/api/ops/health');
  const { status, environment, version } = answer.body;
  if (answer.status !== 200 || status !== 'ok') throw new Error(said(answer));
  return `version ${version}, environment ${environment}`;
}

async function looksReady({ ask }: Run): Promise<string> {
  const answer = await ask('GET', '/api/ops/ready');
  const checks = Object.entries(Object(answer.body.checks) as Record<string, unknown>);
  const bad = checks.filter(([, is]) => is !== 'ok').map(([what, is]) => `${what} ${is}`);
  if (answer.status !== 200) throw new Error([said(answer), ...bad].join('; '));
  return bad.length === 0 ? 'database, schema, loop, invariants' : bad.join(', ');
}

/** Two doors: a reader's, and the scheduler's. Neither changes anything if it should stand open. */
async function refuses({ ask }: Run, token: string | undefined): Promise<string> {
  const notes: string[] = [];
  for (const path of ['/api/ops/status', '/api/ops/heartbeat']) {
    const answer = await ask('GET', path, { token });
    // A door whose secret is not set opens to nobody.
    const isUnset = answer.status === 500 && answer.body.code === 'OPS_016';
    if (!isUnset && answer.status !== 401 && answer.status !== 429)
      throw new Error(`GET ${path} was not refused: it ${said(answer)}`);
    if (isUnset) notes.push(`; no secret opens GET ${path} there`);
  }
  return `refused${notes.join('')}`;
}

async function sendEvent({ ask, key, id, found }: Run): Promise<string> {
  const body = { type: 'smoke:check', dedupe_key: `smoke:${id}`, data: { run: id } };
  const [first, second] = [await call(), await call()];
  if (first.status !== 201) throw new Error(said(first));
  if (second.status !== 200 || second.body.id !== first.body.id)
    throw new Error(`sent twice, it was not known again: ${said(second)}`);
  found.eventId = String(first.body.id);
  return `stored once: ${found.eventId}`;

  function call(): Promise<Answer> {
    return ask('POST', '/api/ops/events', { token: key, body });
  }
}

async function awaitDecision(run: Run): Promise<string> {
  const { ask, key, found } = run;
  const outcome = await within(run, async () => {
    const beat = await ask('POST', '/api/ops/heartbeat', { token: key });
    if (beat.status !== 200) throw new Error(`the heartbeat ${said(beat)}`);
    const answer = await ask('GET', `/api/ops/why/${found.eventId}`, { token: key });
    return (Object(answer.body.event) as { outcome?: string | null }).outcome ?? undefined;
  });
  if (outcome === undefined) throw new Error('it is still open; ops-loop why says what holds it');
  return `the heartbeat decided it: ${outcome}`;
}

async function propose({ ask, key, id, found }: Run): Promise<string> {
  const template = { title: 'Smoke test', dry_run: true, risk_level: 'low', steps: [{ kind: 'noop' }] };
  const body = { template, dedupe_key: `smoke:${id}` };
  const answer = await ask('POST', '/api/ops/proposals', { token: key, body });
  if (answer.status !== 201) throw new Error(said(answer));
  const approved = answer.body.mission_id ? answer : await approve(ask, key, answer);
  found.missionId = String(approved.body.mission_id);
  return `${approved.body.status}, mission ${found.missionId}`;
}

/** Where auto-approval does not take it, whoever runs this is the person who does. */
async function approve(ask: Ask, key: string, { body: { id, reason } }: Answer): Promise<Answer> {
  const body = { reason: 'smoke test' };
  const answer = await ask('POST', `/api/ops/proposals/${id}/approve`, { token: key, body });
  if (answer.body.mission_id) return answer;
  await ask('POST', `/api/ops/proposals/${id}/reject`, { token: key, body });
  throw new Error(`it waits: ${reason}; and to approve it ${said(answer)}`);
}

async function awaitMission(run: Run): Promise<string> {
  const { ask, key, found } = run;
  const path = `/api/ops/missions/${found.missionId}`;
  const ended = await within(run, async () => {
    const { body } = await ask('GET', path, { token: key });
    return typeof body.completed_at === 'string' ? String(body.status) : undefined;
  });
  if (ended === 'succeeded') return 'from queued to succeeded';
  if (ended !== undefined) throw new Error(`it ended ${ended}`);
  const why = await whyNot(run);
  await ask('POST', `${path}/cancel`, { token: key, body: { reason: 'smoke test' } });
  throw new Error(why);
}

/** What a mission that nobody carries out waits for. */
async function whyNot({ ask, key, waitMs }: Run): Promise<string> {
  const { body } = await ask('GET', '/api/ops/status', { token: key });
  const workers: unknown[] = Array.isArray(body.workers) ? body.workers : [];
  const waited = `not carried out within ${waitMs / 1_000} s, so it was cancelled`;
  return workers.length === 0
    ? `${waited}: no worker is alive; start one with npm run worker`
    : `${waited}: ${workers.length} alive, none took it; ops-loop why says why`;
}

/** Asks until there is an answer; undefined when the time is up. */
async function within<T>({ waitMs }: Run, look: () => Promise<T | undefined>): Promise<T | undefined> {
  const until = performance.now() + waitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined || performance.now() >= until) return found;
    await pause(pollMs);
  }
}
