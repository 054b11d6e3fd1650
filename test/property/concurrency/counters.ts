/** Many calls at once on what is counted: each bound holds exactly, each duplicate is the first. */
import { ms, type Snapshot } from '../lifecycle/rows.js';
import type { World } from '../lifecycle/world.js';
import { endedOrBlocked, type Session } from './sessions.js';

type Race = (world: World, crew: Session[]) => Promise<string[]>;

const step = (more: { [key: string]: number } = {}) => ({ kind: 'noop', ...more });
const minuteMs = 60_000;

/** All at once. The first has done its part and not committed when the others run into it or past it. */
async function all<T>(
  world: World,
  crew: Session[],
  call: (session: Session, n: number) => Promise<T>,
): Promise<T[]> {
  const [first, ...others] = crew;
  if (first === undefined) return [];
  await first.client.query('begin');
  const answer = await call(first, 0);
  const calls = others.map((session, i) => ({ session, running: call(session, i + 1) }));
  for (const { session, running } of calls) await endedOrBlocked(world, session, running);
  await first.client.query('commit');
  return [answer, ...(await Promise.all(calls.map(({ running }) => running)))];
}

const wrong = (what: string, is: number, due: number): string[] =>
  is === due ? [] : [`${what}: ${is}, not ${due}`];

async function dailyCap(world: World, crew: Session[]): Promise<string[]> {
  await world.setPolicy('proposal_caps', { daily_limit: 3 });
  const proposals = [1, 2].map(() => ({ template: { title: 'counted', steps: [step()] } }));
  await all(world, crew, ({ port }) => port.createProposals({ proposals }));
  const { missions } = (await world.read()).tables;
  return wrong('missions under a cap of 3', missions.length, 3);
}

async function maxRunning(world: World, crew: Session[]): Promise<string[]> {
  const steps = Array.from({ length: 12 }, (_, i) => ({ ...step(), key: `s${i}`, depends_on: [] }));
  await world.port.createProposal({ template: { title: 'bounded', steps } });
  await world.setPolicy('worker_policy', { executors: { noop: { max_running: 4 } } });
  await all(world, crew, ({ port }, n) =>
    port.claimSteps({ worker: `w${n}`, executors: ['noop'], limit: 2 }),
  );
  const running = (await world.read()).tables.steps.filter(({ status }) => status === 'running');
  return running.length > 4 ? [`${running.length} steps run, max_running is 4`] : [];
}

/** Steps that run after everybody has claimed once. */
async function claimed(world: World, crew: Session[]): Promise<number> {
  await all(world, crew, ({ port }, n) =>
    port.claimSteps({ worker: `w${n}`, executors: ['noop'], limit: 2 }),
  );
  return (await world.read()).tables.steps.filter(({ status }) => status === 'running').length;
}

async function budget(world: World, crew: Session[]): Promise<string[]> {
  const steps = Array.from({ length: 12 }, (_, i) => ({ ...step(), key: `s${i}`, depends_on: [] }));
  await world.setPolicy('budgets', { global: { usd_per_day: 9 }, reserve: { noop: { usd: 2 } } });
  await world.port.createProposal({ template: { title: 'costs', steps } });
  const running = await claimed(world, crew);
  return running > 4 ? [`${running} steps run, the budget has room for 4`] : [];
}

async function oneKey(world: World, crew: Session[]): Promise<string[]> {
  const params = { echo: { repo: 'web' } };
  const steps = Array.from({ length: 60 }, (_, i) => ({
    kind: 'noop',
    params,
    key: `s${i}`,
    depends_on: [],
  }));
  await world.setPolicy('worker_policy', {
    executors: { noop: { per_key: { param: 'echo.repo', max_running: 1 } } },
  });
  await world.port.createProposal({ template: { title: 'one repository', steps } });
  const running = await claimed(world, crew);
  return running > 1 ? [`${running} steps run under one key`] : [];
}

const pattern = { id: 'rests', event_type: 'demo:b', template: { title: 'rests', steps: [step()] } };
const firings = ({ tables }: Snapshot, since: number): number =>
  tables.reactions.filter((r) => ms(r.created_at) >= since).length;

/** Everybody decides an event of its own at once, when the counter's row is there and its window is over. */
async function patternBound(
  world: World,
  crew: Session[],
  bound: { [key: string]: unknown },
  due: number,
): Promise<string[]> {
  await world.setPolicy('reaction_matrix', { patterns: [{ ...pattern, ...bound } as never] });
  const emit = async () => void (await world.port.emitEvent({ type: 'demo:b' }));
  await emit();
  await world.port.heartbeat({ source: 'reactive' });
  await world.advance(61 * minuteMs);
  const since = world.now;
  for (const _ of crew) for (let i = 0; i < 3; i++) await emit();
  await all(world, crew, ({ port }) => port.heartbeat({ source: 'reactive', eventBatch: 3 }));
  return wrong('firings in a window', firings(await world.read(), since), due);
}

const cooldown: Race = (world, crew) => patternBound(world, crew, { cooldown_minutes: 30 }, 1);
const limit: Race = (world, crew) => patternBound(world, crew, { limit: { count: 2, per_minutes: 60 } }, 2);

async function oneEvent(world: World, crew: Session[]): Promise<string[]> {
  const events = ['k1', 'k2'].map((dedupe_key) => ({ type: 'demo:a', dedupe_key }));
  const receipts = await all(world, crew, ({ port }) => port.emitEvents({ events }));
  const ids = new Set(receipts.flat().map(({ id }) => id));
  const created = receipts.flat().filter((receipt) => receipt.created).length;
  return [...wrong('ids answered for two keys', ids.size, 2), ...wrong('events created', created, 2)];
}

async function oneMission(world: World, crew: Session[]): Promise<string[]> {
  const template = { title: 'asks', risk_level: 'high', steps: [step()] };
  const { id } = await world.port.createProposal({ template });
  await all(world, crew, ({ port }) => port.approveProposal({ id }));
  return wrong('missions of one proposal', (await world.read()).tables.missions.length, 1);
}

async function oneLetter(world: World, crew: Session[]): Promise<string[]> {
  const { port } = world;
  await port.createProposal({
    template: { title: 'dies', steps: [{ kind: 'openclaw', params: { mode: 'exec', message: 'x' } }] },
  });
  const [proposal] = (await world.read()).tables.proposals;
  await port.approveProposal({ id: proposal?.id ?? '' });
  await port.claimSteps({ worker: 'w', executors: ['openclaw'] });
  await world.advance(2 * minuteMs);
  await all(world, crew, (session) => session.port.recoverExpiredLeases());
  const [letter, ...more] = (await world.read()).tables.letters;
  if (letter === undefined || more.length > 0)
    return [`${more.length + (letter ? 1 : 0)} letters for one crash`];
  await all(world, crew, (session) => session.port.requeueDeadLetter({ id: letter.id }));
  const [revived] = (await world.read()).tables.steps;
  return [...wrong('series after many requeues at once', revived?.series ?? 0, 2)];
}

export const races: Record<string, Race> = {
  'a daily cap lets through exactly what it says': dailyCap,
  'max_running is never exceeded': maxRunning,
  'a budget is never passed': budget,
  'one key runs one step': oneKey,
  'a cooldown fires once however many beats meet': cooldown,
  'a limit fires exactly its count': limit,
  'one dedupe key is one event': oneEvent,
  'one proposal is one mission': oneMission,
  'one crash is one dead letter, many requeues are one series': oneLetter,
};

export async function playRace(world: World, crew: Session[], race: Race): Promise<void> {
  await world.reset();
  const found = [
    ...(await race(world, crew)),
    ...(await world.port.checkInvariants()).map((v) => JSON.stringify(v)),
  ];
  if (found.length > 0) throw new Error(found.slice(0, 8).join('\n'));
}
