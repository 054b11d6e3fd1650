/** What happens to worker processes. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Arena } from '../arena.js';
import { callUntilAnswered } from '../calls.js';
import { answerBoundMs, type Condition, type Fault } from '../fault.js';
import { defaultLeaseMs, type Member } from '../workers.js';

/** Steps of a killed worker run elsewhere within the lease and 10 s (the project's own bar). */
const leaseBoundMs = defaultLeaseMs + 10_000;

/** True when none of the leases that the worker holds now is held any more. */
async function leasesOf({ ask }: Arena, { name }: Member): Promise<Condition> {
  const held = await ask<{ id: string; epoch: string }>(
    "select id, lease_epoch as epoch from ops_mission_steps where worker_id = $1 and status = 'running'",
    [name],
  );
  return async () => {
    const [row] = await ask<{ gone: boolean }>(
      `select not exists (select from ops_mission_steps s join unnest($1::uuid[], $2::bigint[]) h(id, epoch)
         on s.id = h.id and s.lease_epoch = h.epoch where s.status = 'running') as gone`,
      [held.map(({ id }) => id), held.map(({ epoch }) => epoch)],
    );
    return row?.gone === true;
  };
}

const workerKill: Fault = {
  name: 'worker-kill',
  what: 'kill -9 of a worker; its steps must run elsewhere',
  boundMs: leaseBoundMs,
  strike: async (arena, dice) => {
    const member = dice.pick(arena.crew.members);
    const moved = await leasesOf(arena, member);
    arena.crew.kill(member);
    return moved;
  },
};

const workerFreeze: Fault = {
  name: 'worker-freeze',
  what: 'SIGSTOP of a worker past its lease, then SIGCONT',
  boundMs: leaseBoundMs,
  strike: async (arena, dice) => {
    const member = dice.pick(arena.crew.members);
    const moved = await leasesOf(arena, member);
    arena.crew.freeze(member);
    await pause(arena.leaseMs + dice.whole(500, 3_000));
    arena.crew.thaw(member);
    return moved;
  },
};

const workerClock: Fault = {
  name: 'worker-clock',
  what: 'wall clocks of workers jump by an hour, and back',
  boundMs: leaseBoundMs,
  strike: async ({ crew }, dice) => {
    const hit = crew.members.filter(() => dice.chance(0.6));
    for (const member of hit) crew.shiftClock(member, dice.pick([-3_600_000, 3_600_000]));
    await pause(dice.whole(2_000, 4_000));
    for (const member of hit) crew.shiftClock(member, 0);
    return undefined;
  },
};

let poisons = 0;

const poison: Fault = {
  name: 'poison',
  what: 'a step that kills its worker each time; a dead letter after three',
  // Three crashes, each found when its lease has ended, with a backoff in between.
  boundMs: 3 * (leaseBoundMs + 2_000),
  strike: async ({ ledger, client, ask }) => {
    const key = `poison-${++poisons}-${process.pid}`;
    const template = { title: 'Poison', steps: [{ key: 'only', kind: 'drill_poison' }] };
    const sent = await callUntilAnswered(
      ledger,
      'proposal',
      key,
      client.port,
      (port) => port.createProposal({ template, source: 'api', dedupeKey: key }),
      answerBoundMs,
    );
    if (!sent) throw new Error('the poison could not be proposed');
    return async () => {
      const [row] = await ask<{ dead: boolean }>(poisonDead, [key]);
      return row?.dead === true;
    };
  },
};

const poisonDead = `
  select exists (select from ops_mission_proposals p join ops_missions m on m.proposal_id = p.id
    join ops_step_dead_letters d on d.mission_id = m.id
    where p.dedupe_key = $1 and d.cause = 'worker_crash' and m.status = 'failed') as dead`;

export const workerFaults = [workerKill, workerFreeze, workerClock, poison];
