/** Everything the loop knows at one moment, read in one statement: what the rules compare from one command to the next. */
import type { AttemptStatus, Snapshot, StepRow } from './rows.js';
import { Indexed } from './rows.js';

const list = (columns: string, rest: string) =>
  `(select coalesce(json_agg(t), '[]') from (select ${columns} ${rest}) t)`;

/** Rows in an order that does not depend on their random ids, so that "the third step" is the same in a replay. */
export const readEverything = `
  with tick as (update ops_test.clock set fixed_at = fixed_at + interval '1 millisecond' returning fixed_at)
  select (select fixed_at from tick) as next, json_build_object(
    'events', ${list(
      `e.id, e.type, e.trust, e.dedupe_key, e.data, e.mission_id, e.root_id, e.depth, e.outcome, e.processed_at`,
      'from ops_agent_events e order by e.created_at, e.type, e.id',
    )},
    'reactions', ${list(
      'r.id, r.event_id, r.pattern_id, r.status, r.proposal_id, r.root_id, r.created_at',
      'from ops_agent_reactions r order by r.created_at, r.pattern_id, r.id',
    )},
    'proposals', ${list(
      'p.id, p.source, p.event_id, p.pattern_id, p.status, p.reason, p.gated_at, p.next_gate_at, p.expires_at, p.created_at',
      'from ops_mission_proposals p order by p.created_at, p.id',
    )},
    'missions', ${list(
      'm.*',
      'from ops_missions m left join ops_mission_proposals p on p.id = m.proposal_id order by p.created_at, m.id',
    )},
    'steps', ${list(
      's.*',
      `from ops_mission_steps s left join ops_missions m on m.id = s.mission_id
       left join ops_mission_proposals p on p.id = m.proposal_id order by p.created_at, m.id, s.position`,
    )},
    'attempts', ${list(
      'r.run_id, r.step_id, r.executor, r.worker_id, r.status, r.started_at, r.completed_at',
      'from ops_action_runs r order by r.started_at, r.run_id',
    )},
    'letters', ${list('d.*', 'from ops_step_dead_letters d order by d.created_at, d.id')},
    'limits', ${list('l.key, l.window_start, l.used', "from ops_limits l where l.key ~ '^(executor|breaker):' order by l.key")},
    'policies', (select json_object_agg(p.key, p.value order by p.key) from ops_policy p)
  )::text as everything`;

export type Reading = { next: string; everything: string };

/** The text too: two equal texts are a database in which nothing has changed. */
export const toSnapshot = ({ everything }: Reading): Snapshot => new Indexed(everything);

export const isOpen = ({ status }: Pick<StepRow, 'status'>): boolean =>
  ['blocked', 'scheduled', 'queued', 'running'].includes(status);

/** `<step id>:<lease epoch>`, the key of an attempt. */
export const runId = (step: string, epoch: number): string => `${step}:${epoch}`;

export const ended = (status: AttemptStatus): boolean => status !== 'started';
