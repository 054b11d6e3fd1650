/** The drill over several hosts, on the database's host. Started by `hosts.ts`. */
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../support/until.js';
import { type Arena, openArena } from './arena.js';
import { callUntilAnswered } from './calls.js';
import { monotonicMs } from './effects.js';
import { hostNames } from './hosts.js';
import { drain, judge } from './judge.js';
import { type Hosts, knowHosts } from './namespaces.js';
import { startProxy, type TcpProxy } from './proxy.js';
import { diceOf } from './random.js';

type Options = { seed: number; minutes: number; json: boolean; owner: number };
type Round = {
  cut: string;
  /** Leases that the worker held when it was cut off. */
  held: number;
  /** From the cut until all missions were finished by the others, in milliseconds. */
  finishedInMs: number;
  /** From the mending until the worker claimed again. */
  backInMs: number;
  /** Leases of the cut that ended as a success all the same. */
  staleWrites: number;
};

const options: Options = JSON.parse(process.argv[2] ?? '{}');
const say = (line: string): void => void (options.json ? process.stderr : process.stdout).write(`${line}\n`);
const dice = diceOf(options.seed);
const hosts = knowHosts(hostNames, options.owner);
const gates: TcpProxy[] = [];
let serial = 0;

async function main(): Promise<number> {
  const arena = await openArena(dice, { names: hostNames, route: routeOf });
  try {
    const rounds: Round[] = [];
    const end = monotonicMs() + options.minutes * 60_000;
    do {
      rounds.push(await playRound(arena, hosts, hostNames[rounds.length % hostNames.length] ?? ''));
      say(describe(rounds.at(-1)));
    } while (monotonicMs() < end);
    return await conclude(arena, rounds);
  } finally {
    for (const name of hostNames) await hosts.mend(name);
    await arena.close();
    await Promise.all(gates.map((gate) => gate.close()));
  }
}

/** The server listens on its own loopback address only; a gate on each link passes its host on. */
async function routeOf(server: Arena['server'], name: string): Promise<{ url: string; command: string[] }> {
  const { namespace, baseAddress } = hosts.of(name);
  const gate = await startProxy({ host: '127.0.0.1', port: () => server.port, listenHost: baseAddress });
  gates.push(gate);
  const url = Object.assign(new URL(server.url), { hostname: baseAddress, port: String(gate.port) });
  url.searchParams.set('sslmode', 'disable');
  return { url: url.href, command: ['ip', 'netns', 'exec', namespace] };
}

async function playRound(arena: Arena, { cut, mend }: Hosts, name: string): Promise<Round> {
  await emit(arena, 30);
  const held = await until(() => leasesOf(arena, name), { what: `${name} holds leases` });
  await cut(name);
  const cutAt = monotonicMs();
  await emit(arena, 10);
  const finished = until(() => noMissionOpen(arena), {
    what: 'the other host finishes',
    deadlineMs: arena.leaseMs + 15_000,
  }).then(() => monotonicMs() - cutAt);
  const [finishedInMs] = await Promise.all([finished, pause(arena.leaseMs + dice.whole(500, 4_000))]);
  await mend(name);
  const mendedAt = monotonicMs();
  const [row] = await arena.ask<{ now: string }>('select clock_timestamp()::text as now');
  const claimedAgain = async () => {
    await emit(arena, 2);
    const found = await arena.ask(
      'select from ops_action_runs where worker_id = $1 and started_at > $2 limit 1',
      [name, row?.now],
    );
    return found.length > 0;
  };
  await until(claimedAgain, { what: `${name} claims again`, deadlineMs: 30_000 });
  return {
    cut: name,
    held: held.length,
    finishedInMs,
    backInMs: monotonicMs() - mendedAt,
    staleWrites: await staleWrites(arena, held),
  };
}

type Lease = { run: string };

/** The steps that a host runs and that still have a while to go. */
async function leasesOf({ ask }: Arena, name: string): Promise<Lease[] | undefined> {
  const rows = await ask<Lease>(
    `select id || ':' || lease_epoch as run from ops_mission_steps
     where worker_id = $1 and status = 'running' and (params ->> 'after_ms')::int >= 2000`,
    [name],
  );
  return rows.length > 0 ? rows : undefined;
}

async function staleWrites({ ask }: Arena, held: Lease[]): Promise<number> {
  const [row] = await ask<{ n: number }>(
    "select count(*)::int as n from ops_action_runs where run_id = any ($1) and status not in ('crashed', 'unknown')",
    [held.map(({ run }) => run)],
  );
  return row?.n ?? 0;
}

async function noMissionOpen({ ask }: Arena): Promise<boolean> {
  const [row] = await ask<{ done: boolean }>(`
    select not exists (select from ops_missions where completed_at is null)
      and not exists (select from ops_agent_events where processed_at is null)
      and not exists (select from ops_agent_reactions where status = 'queued') as done`);
  return row?.done === true;
}

async function emit({ ledger, client }: Arena, count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const key = `hosts-${++serial}`;
    const data = {
      n: serial,
      before_ms: dice.whole(0, 20),
      after_ms: dice.chance(0.3) ? dice.whole(2_000, 3_000) : 0,
    };
    await callUntilAnswered(
      ledger,
      'event',
      key,
      client.port,
      (port) => port.emitEvent({ type: 'drill:work', data, dedupeKey: key }),
      10_000,
    );
  }
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;

const describe = (round: Round | undefined): string =>
  round === undefined
    ? ''
    : `${round.cut} cut off with ${round.held} leases; all finished elsewhere ${seconds(round.finishedInMs)} after the cut; back ${seconds(round.backInMs)} after mending; ${round.staleWrites} stale writes`;

async function conclude(arena: Arena, rounds: Round[]): Promise<number> {
  const drained = await drain(arena);
  await arena.crew.stop();
  const { violations, effects, events } = await judge(arena, drained);
  const stale = rounds.reduce((sum, { staleWrites }) => sum + staleWrites, 0);
  if (stale > 0) violations.push(`${stale} stale writes took effect`);
  const logged = Object.fromEntries([...arena.crew.logged].map(([what, { count }]) => [what, count]));
  if (options.json)
    process.stdout.write(`${JSON.stringify({ ...options, rounds, violations, logged }, null, 2)}\n`);
  else {
    say(
      `${rounds.length} rounds, ${rounds.reduce((sum, { held }) => sum + held, 0)} leases cut off, ${stale} stale writes`,
    );
    say(
      `events: ${events.acknowledged} acknowledged, ${events.lost.length} lost, ${events.invented.length} invented; ${effects.repeated.length} of ${effects.effects} effects repeated`,
    );
    say(`workers logged: ${JSON.stringify(logged)}`);
    say([`${violations.length} violation(s)`, ...violations].join('\n  '));
  }
  return violations.length === 0 ? 0 : 1;
}

process.exitCode = await main();
