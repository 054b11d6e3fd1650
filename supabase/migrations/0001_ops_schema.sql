-- 0001 The tables of Ops-Loop, with their indexes and storage settings.
--
-- Why so: the database is the engine, so every fact the loop needs is a row here, and every rule that can be a
-- constraint is one. Operators run SQL against these names: tables stay plain (no identity or generated columns),
-- nothing has a foreign key to steps, attempts or events, and columns that operators add are notes to us.
-- Locks: none on existing data; `create … if not exists` throughout, so it may run twice.
-- Undo: rollbacks/0001_ops_schema.sql.

create table if not exists public.ops_migrations (
  version text primary key,
  name text not null,
  checksum text,
  applied_at timestamptz not null default clock_timestamp()
);
comment on table public.ops_migrations is 'Which migration files this database has. Written by the files themselves.';
comment on column public.ops_migrations.version is 'Number of the file, as text: 0001.';
comment on column public.ops_migrations.name is 'Name of the file without number and ending.';
comment on column public.ops_migrations.checksum is 'SHA-256 (hex) of the file, set by `ops-loop migrate`; null when another tool applied it.';
comment on column public.ops_migrations.applied_at is 'When it was first applied.';

-- The clock -----------------------------------------------------------------------------------------------------

create or replace function public.ops_clock() returns timestamptz
language plpgsql volatile set search_path = ''
as $$
begin
  return clock_timestamp();
end $$;
comment on function public.ops_clock() is
  'The one clock of the loop: wall time now, also inside a transaction. Tests replace this function; nothing else does.';

-- Ids: time in front, so that rows of one hour stand together in every index over them. Random ones cost the hot path
-- 15 % of its processor time, and a page of index per row once tables are large. The body is bound when it is made,
-- which is why it needs no search path, and is taken over into the statements that use it.
create or replace function public.ops_new_id() returns uuid
language sql volatile
return encode(substring(int8send((date_part('epoch', clock_timestamp()) * 1000)::bigint) from 3)
  || int2send((28672 + floor(random() * 4096))::int2) || int2send((-32768 + floor(random() * 16384))::int2)
  || substring(float8send(1 + random()) from 3), 'hex')::uuid;
comment on function public.ops_new_id() is
  'A UUID of version 7 (RFC 9562, 5.7): 48 bits of Unix time in milliseconds, then 12, 14 and 48 random ones around the version (28672 is 0x7000) and the variant (-32768 is 0x8000). For tables that grow. Unique, not secret: random() costs a tenth of what gen_random_uuid() does.';

-- Policy --------------------------------------------------------------------------------------------------------

create table if not exists public.ops_policy (
  key text primary key,
  value jsonb not null,
  version bigint not null default 1,
  updated_at timestamptz not null default public.ops_clock()
);
comment on table public.ops_policy is 'What operators decide, one row per key. Every write is validated, versioned and recorded by triggers.';
comment on column public.ops_policy.key is 'reaction_matrix, auto_approve, proposal_caps, worker_policy, agent_roles, budgets, approvals, schedules, alerts, retention, loop_limits or switches.';
comment on column public.ops_policy.value is 'The policy. docs/policies.md describes each key.';
comment on column public.ops_policy.version is 'Rises by one with every change, also over delete and insert. Set by trigger.';
comment on column public.ops_policy.updated_at is 'When this version was written. Set by trigger.';

create table if not exists public.ops_policy_history (
  key text not null,
  version bigint not null,
  operation text not null constraint ops_policy_history_operation check (operation in ('insert', 'update', 'delete')),
  value jsonb,
  old_value jsonb,
  updated_at timestamptz not null,
  session_role text not null,
  role text not null,
  application text,
  claims jsonb,
  query text,
  reason text,
  primary key (key, version)
);
comment on table public.ops_policy_history is 'Every version of every policy, append-only: update, delete and truncate are refused even to the owner.';
comment on column public.ops_policy_history.key is 'Key of the policy.';
comment on column public.ops_policy_history.version is 'Version that this write made.';
comment on column public.ops_policy_history.operation is 'insert, update or delete.';
comment on column public.ops_policy_history.value is 'The policy after the write; null after a delete.';
comment on column public.ops_policy_history.old_value is 'The policy before the write; null for an insert.';
comment on column public.ops_policy_history.updated_at is 'When.';
comment on column public.ops_policy_history.session_role is 'Role that logged in.';
comment on column public.ops_policy_history.role is 'Role that wrote (after SET ROLE).';
comment on column public.ops_policy_history.application is 'application_name of the connection.';
comment on column public.ops_policy_history.claims is 'JWT claims of the request, when it came through the Data API.';
comment on column public.ops_policy_history.query is 'Leading and trailing comments of the statement: an SQL editor puts its user there. At most 500 characters.';
comment on column public.ops_policy_history.reason is 'Why, as given to ops_set_policy, ops_rollback_policy, ops_pause or ops_resume.';

create table if not exists public.ops_policy_patterns (
  pattern_id text primary key,
  revision bigint not null,
  position integer not null,
  name text,
  types text[] not null,
  likes text[] not null,
  system_likes text[] not null,
  sources text[],
  tags text[],
  where_path jsonpath,
  probability double precision,
  cooldown_minutes numeric,
  cooldown_key jsonb,
  limit_count integer,
  limit_minutes numeric,
  limit_key jsonb,
  dedupe_key jsonb,
  canary double precision,
  template jsonb not null,
  leaves jsonb not null default '[]'
);
comment on table public.ops_policy_patterns is 'The enabled patterns of the reaction matrix, compiled by the trigger on ops_policy. Derived: never edit.';
comment on column public.ops_policy_patterns.pattern_id is 'Id of the pattern in the matrix.';
comment on column public.ops_policy_patterns.revision is 'Version of reaction_matrix it was compiled from.';
comment on column public.ops_policy_patterns.position is 'Place in the matrix, from 1.';
comment on column public.ops_policy_patterns.name is 'Name for people.';
comment on column public.ops_policy_patterns.types is 'Event types it names exactly.';
comment on column public.ops_policy_patterns.likes is 'Its globs as LIKE patterns (escape character backslash).';
comment on column public.ops_policy_patterns.system_likes is 'Those of its globs that may match events of the loop itself: not led by a wildcard, or all of them with allow_system.';
comment on column public.ops_policy_patterns.sources is 'Sources it accepts; null means any.';
comment on column public.ops_policy_patterns.tags is 'Tags that must all be in event.data.tags; null means none asked.';
comment on column public.ops_policy_patterns.where_path is 'Condition over the event; null means always.';
comment on column public.ops_policy_patterns.probability is 'Share of events that fire, 0 to 1; null means all.';
comment on column public.ops_policy_patterns.cooldown_minutes is 'Minutes of rest after firing; null means none.';
comment on column public.ops_policy_patterns.cooldown_key is 'Compiled text that splits the cooldown; null means one for the pattern.';
comment on column public.ops_policy_patterns.limit_count is 'Firings allowed per window; null means no limit.';
comment on column public.ops_policy_patterns.limit_minutes is 'Length of that window in minutes.';
comment on column public.ops_policy_patterns.canary is 'Share of firings that run for real, 0 to 1, the others as dry runs; null means all.';
comment on column public.ops_policy_patterns.limit_key is 'Compiled text that splits the limit; null means one for the pattern.';
comment on column public.ops_policy_patterns.dedupe_key is 'Compiled text of the proposal''s dedupe key; null means none.';
comment on column public.ops_policy_patterns.template is 'The mission template as written.';
comment on column public.ops_policy_patterns.leaves is 'Placeholder leaves of the template, compiled by ops_compile_leaves.';

create table if not exists public.ops_schemas (
  name text primary key,
  schema jsonb not null
);
comment on table public.ops_schemas is 'JSON Schemas of the policies, generated from the zod schemas in supabase/client and written by migrations.';
comment on column public.ops_schemas.name is 'policy:<key>, or template for the mission template.';
comment on column public.ops_schemas.schema is 'The schema, in the subset that ops_schema_problems interprets.';

-- Events --------------------------------------------------------------------------------------------------------

create table if not exists public.ops_agent_events (
  id uuid primary key default public.ops_new_id(),
  dedupe_key text,
  body_digest text,
  type text not null
    constraint ops_agent_events_type check (type ~ '^[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)*$' and length(type) <= 200),
  source text not null default 'manual',
  trust text not null default 'verified'
    constraint ops_agent_events_trust check (trust in ('loop', 'verified', 'unverified')),
  data jsonb not null default '{}'
    constraint ops_agent_events_data check (jsonb_typeof(data) = 'object'),
  mission_id uuid,
  root_id uuid,
  depth integer not null default 0,
  chain text[] not null default '{}',
  traceparent text,
  revision bigint,
  failure_count integer not null default 0,
  last_error text,
  outcome text
    constraint ops_agent_events_outcome check (outcome in ('fired', 'unmatched', 'suppressed', 'failed')),
  decided_at timestamptz,
  processed_at timestamptz,
  created_at timestamptz not null default public.ops_clock(),
  constraint ops_agent_events_closed_has_outcome check (processed_at is null or outcome is not null)
) with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
comment on table public.ops_agent_events is 'What happened. Open until processed_at is set; then outcome says what the loop made of it.';
comment on column public.ops_agent_events.id is 'Id of the event.';
comment on column public.ops_agent_events.dedupe_key is 'A second event with the same key is the first one.';
comment on column public.ops_agent_events.body_digest is 'Digest of the signed body it came in: a replay under a new delivery id is the same event.';
comment on column public.ops_agent_events.type is 'Words joined by colons: github:issues:opened.';
comment on column public.ops_agent_events.source is 'Who sent it: github, manual, ops-loop, …';
comment on column public.ops_agent_events.trust is 'loop: the engine itself; verified: signed, authenticated or an operator; unverified: nobody vouches.';
comment on column public.ops_agent_events.data is 'The facts, an object. data.tags is the list that patterns'' tags look at.';
comment on column public.ops_agent_events.mission_id is 'Mission that caused it; null for events from outside.';
comment on column public.ops_agent_events.root_id is 'The event from outside that started the chain; null for that event itself.';
comment on column public.ops_agent_events.depth is 'How many missions lie between the root event and this one.';
comment on column public.ops_agent_events.chain is 'Ids of the patterns that fired on the way here, oldest first.';
comment on column public.ops_agent_events.traceparent is 'W3C trace context of the sender.';
comment on column public.ops_agent_events.revision is 'Version of reaction_matrix it was decided under.';
comment on column public.ops_agent_events.failure_count is 'How many times deciding it failed.';
comment on column public.ops_agent_events.last_error is 'Why deciding it failed.';
comment on column public.ops_agent_events.outcome is 'fired, unmatched, suppressed or failed; null while open.';
comment on column public.ops_agent_events.decided_at is 'When it was decided.';
comment on column public.ops_agent_events.processed_at is 'When it was closed. Set it to null to have it decided again.';
comment on column public.ops_agent_events.created_at is 'When it arrived. Events of one call are a microsecond apart, in their order.';
create unique index if not exists ops_agent_events_dedupe on public.ops_agent_events (dedupe_key) where dedupe_key is not null;
create unique index if not exists ops_agent_events_digest on public.ops_agent_events (body_digest) where body_digest is not null;
create index if not exists ops_agent_events_open on public.ops_agent_events (created_at, id) where processed_at is null;
create index if not exists ops_agent_events_mission on public.ops_agent_events (mission_id) where mission_id is not null;
create index if not exists ops_agent_events_time on public.ops_agent_events using brin (created_at) with (pages_per_range = 32);

create table if not exists public.ops_event_decisions (
  event_id uuid not null,
  pattern_id text not null,
  revision bigint not null,
  outcome text not null
    constraint ops_event_decisions_outcome check (outcome in ('fired', 'unmatched', 'suppressed', 'failed')),
  clause text,
  detail jsonb,
  decided_at timestamptz not null,
  primary key (event_id, pattern_id)
) with (autovacuum_vacuum_cost_delay = 0);
comment on table public.ops_event_decisions is 'What each candidate pattern (enabled, type matches) said about each event, and why.';
comment on column public.ops_event_decisions.event_id is 'The event.';
comment on column public.ops_event_decisions.pattern_id is 'The pattern.';
comment on column public.ops_event_decisions.revision is 'Version of reaction_matrix that was asked.';
comment on column public.ops_event_decisions.outcome is 'fired, unmatched (a condition was false), suppressed (a limit, cooldown or switch) or failed (could not be tested or rendered).';
comment on column public.ops_event_decisions.clause is 'The first clause that said no: switch, source, tags, where, probability, loop_limits, limit, cooldown or render; null when fired.';
comment on column public.ops_event_decisions.detail is 'The numbers behind it: the roll, the cooldown''s end, the limit, the error with its path.';
comment on column public.ops_event_decisions.decided_at is 'When.';

create table if not exists public.ops_agent_reactions (
  id uuid primary key default public.ops_new_id(),
  event_id uuid not null,
  pattern_id text not null,
  status text not null default 'queued'
    constraint ops_agent_reactions_status check (status in ('queued', 'processing', 'done', 'failed')),
  payload jsonb not null default '{}',
  proposal_id uuid,
  failure_count integer not null default 0,
  last_error text,
  root_id uuid,
  revision bigint,
  created_at timestamptz not null default public.ops_clock(),
  updated_at timestamptz not null default public.ops_clock(),
  constraint ops_agent_reactions_once unique (event_id, pattern_id)
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
comment on table public.ops_agent_reactions is 'One pattern fired by one event, at most once. The reaction phase turns it into a proposal.';
comment on column public.ops_agent_reactions.id is 'Id of the reaction.';
comment on column public.ops_agent_reactions.event_id is 'The event that fired it.';
comment on column public.ops_agent_reactions.pattern_id is 'The pattern it fired.';
comment on column public.ops_agent_reactions.status is 'queued, then done or failed. processing is never left behind: the change is one transaction.';
comment on column public.ops_agent_reactions.payload is '{template, leaves, dedupe_key}: the rendered template, the leaves still to resolve, the proposal''s dedupe key.';
comment on column public.ops_agent_reactions.proposal_id is 'The proposal it became.';
comment on column public.ops_agent_reactions.failure_count is 'How many times making the proposal failed.';
comment on column public.ops_agent_reactions.last_error is 'Why it failed.';
comment on column public.ops_agent_reactions.root_id is 'Root event of the chain, for the fan-out limit.';
comment on column public.ops_agent_reactions.revision is 'Version of reaction_matrix it fired under.';
comment on column public.ops_agent_reactions.created_at is 'When it fired.';
comment on column public.ops_agent_reactions.updated_at is 'When its status last changed.';
create index if not exists ops_agent_reactions_queued on public.ops_agent_reactions (created_at, id) where status = 'queued';
create index if not exists ops_agent_reactions_root on public.ops_agent_reactions (root_id);

-- Proposals -----------------------------------------------------------------------------------------------------

create table if not exists public.ops_mission_proposals (
  id uuid primary key default public.ops_new_id(),
  dedupe_key text,
  source text not null default 'manual'
    constraint ops_mission_proposals_source check (source in ('api', 'trigger', 'reaction', 'manual', 'schedule')),
  event_id uuid,
  reaction_id uuid,
  pattern_id text,
  status text not null default 'pending'
    constraint ops_mission_proposals_status check (status in ('pending', 'approved', 'auto_approved', 'rejected', 'expired', 'voting')),
  title text,
  template jsonb not null,
  leaves jsonb,
  risk text
    constraint ops_mission_proposals_risk check (risk in ('low', 'medium', 'high', 'critical')),
  reason text,
  policy_snapshot jsonb not null default '{}',
  root_id uuid,
  depth integer not null default 0,
  chain text[] not null default '{}',
  traceparent text,
  content_hash text,
  proposed_by text,
  revises uuid,
  gated_at timestamptz,
  next_gate_at timestamptz not null default '-infinity',
  approved_at timestamptz,
  decided_by text,
  expires_at timestamptz,
  created_at timestamptz not null default public.ops_clock(),
  updated_at timestamptz not null default public.ops_clock()
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
comment on table public.ops_mission_proposals is 'Work asked for. Gates decide: a cap holds it, auto-approval or a person lets it through.';
comment on column public.ops_mission_proposals.id is 'Id of the proposal.';
comment on column public.ops_mission_proposals.dedupe_key is 'A second proposal with the same key is the first one.';
comment on column public.ops_mission_proposals.source is 'Who asked: api, trigger, reaction, manual or schedule.';
comment on column public.ops_mission_proposals.event_id is 'Event that led to it.';
comment on column public.ops_mission_proposals.reaction_id is 'Reaction that made it.';
comment on column public.ops_mission_proposals.pattern_id is 'Pattern that fired.';
comment on column public.ops_mission_proposals.status is 'pending until decided; approved (by a person), auto_approved, rejected, expired; voting while votes are collected.';
comment on column public.ops_mission_proposals.title is 'Title for people; taken from the template when not given.';
comment on column public.ops_mission_proposals.template is '{title, risk_level?, steps: […]}, rendered as far as the event goes.';
comment on column public.ops_mission_proposals.leaves is 'Placeholders still to be resolved when a step becomes ready, compiled; null until the template has been looked at.';
comment on column public.ops_mission_proposals.risk is 'Computed: the highest of executor traits, kind_risk and the template''s own risk_level.';
comment on column public.ops_mission_proposals.reason is 'Why it waits, was approved or was turned down, for people.';
comment on column public.ops_mission_proposals.policy_snapshot is '{key: version} of the policies its gates looked at.';
comment on column public.ops_mission_proposals.root_id is 'Root event of the chain.';
comment on column public.ops_mission_proposals.depth is 'Depth of the event that led to it.';
comment on column public.ops_mission_proposals.chain is 'Patterns that fired on the way, this one last.';
comment on column public.ops_mission_proposals.traceparent is 'W3C trace context of the event, or of the request that it came with.';
comment on column public.ops_mission_proposals.content_hash is 'SHA-256 (hex) of template and leaves: an approval holds for exactly this.';
comment on column public.ops_mission_proposals.proposed_by is 'Who proposed it, when the caller said so; may not approve it.';
comment on column public.ops_mission_proposals.revises is 'The proposal that this one replaces with other content.';
comment on column public.ops_mission_proposals.gated_at is 'When it passed the caps and was counted; null while it waits for them.';
comment on column public.ops_mission_proposals.next_gate_at is 'When a held proposal is gated again: the turn of the window that stopped it, or at once after a policy change.';
comment on column public.ops_mission_proposals.approved_at is 'When it was approved.';
comment on column public.ops_mission_proposals.decided_by is 'Who approved or rejected it; ops-loop for auto-approval and expiry.';
comment on column public.ops_mission_proposals.expires_at is 'When the default action of the approvals policy is taken; null means never.';
comment on column public.ops_mission_proposals.created_at is 'When it was made.';
comment on column public.ops_mission_proposals.updated_at is 'When an engine column last changed.';
create unique index if not exists ops_mission_proposals_dedupe on public.ops_mission_proposals (dedupe_key) where dedupe_key is not null;
create unique index if not exists ops_mission_proposals_reaction on public.ops_mission_proposals (reaction_id) where reaction_id is not null;
create index if not exists ops_mission_proposals_waiting on public.ops_mission_proposals (created_at, id) where status in ('pending', 'voting');
create index if not exists ops_mission_proposals_held on public.ops_mission_proposals (next_gate_at, created_at) where status = 'pending' and gated_at is null;
create index if not exists ops_mission_proposals_counted on public.ops_mission_proposals (gated_at) where gated_at is not null;
create index if not exists ops_mission_proposals_event on public.ops_mission_proposals (event_id) where event_id is not null;

create table if not exists public.ops_proposal_votes (
  proposal_id uuid not null,
  voter text not null,
  vote text not null constraint ops_proposal_votes_vote check (vote in ('approve', 'reject')),
  person boolean not null,
  reason text,
  created_at timestamptz not null default public.ops_clock(),
  primary key (proposal_id, voter)
);
comment on table public.ops_proposal_votes is 'One voice per voter and proposal, the last one counts: approvals of persons towards the quorum, votes of agents towards the thresholds.';
comment on column public.ops_proposal_votes.proposal_id is 'The proposal.';
comment on column public.ops_proposal_votes.voter is 'Who: a person or key, or the role of an agent.';
comment on column public.ops_proposal_votes.vote is 'approve or reject.';
comment on column public.ops_proposal_votes.person is 'True for an approval towards the quorum, false for a vote towards the thresholds.';
comment on column public.ops_proposal_votes.reason is 'Why.';
comment on column public.ops_proposal_votes.created_at is 'When it was first given.';

-- Missions and steps --------------------------------------------------------------------------------------------

create table if not exists public.ops_missions (
  id uuid primary key default public.ops_new_id(),
  proposal_id uuid not null constraint ops_missions_one_per_proposal unique,
  status text not null default 'approved'
    constraint ops_missions_status check (status in ('approved', 'running', 'succeeded', 'failed', 'cancelled')),
  title text,
  policy_snapshot jsonb not null default '{}',
  pattern_id text,
  open_steps integer not null default 0 constraint ops_missions_open_steps check (open_steps >= 0),
  failed_steps integer not null default 0 constraint ops_missions_failed_steps check (failed_steps >= 0),
  cancelled_steps integer not null default 0 constraint ops_missions_cancelled_steps check (cancelled_steps >= 0),
  root_id uuid,
  depth integer not null default 0,
  chain text[] not null default '{}',
  traceparent text,
  started_at timestamptz,
  completed_at timestamptz,
  created_at timestamptz not null default public.ops_clock(),
  updated_at timestamptz not null default public.ops_clock(),
  constraint ops_missions_final_is_completed check ((status in ('succeeded', 'failed', 'cancelled')) = (completed_at is not null))
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
comment on table public.ops_missions is 'An approved proposal being carried out. Its status is a function of its steps, written in their transaction.';
comment on column public.ops_missions.id is 'Id of the mission.';
comment on column public.ops_missions.proposal_id is 'The proposal it carries out: one mission each.';
comment on column public.ops_missions.status is 'approved before the first claim, running while a step is open, then failed, cancelled or succeeded.';
comment on column public.ops_missions.title is 'Title for people.';
comment on column public.ops_missions.policy_snapshot is '{key: version} it was approved under.';
comment on column public.ops_missions.pattern_id is 'Pattern that led to it, for switches and limits.';
comment on column public.ops_missions.open_steps is 'Steps that are blocked, scheduled, queued or running.';
comment on column public.ops_missions.failed_steps is 'Failed steps whose on_failure is stop.';
comment on column public.ops_missions.cancelled_steps is 'Cancelled steps.';
comment on column public.ops_missions.root_id is 'The event or, without one, the proposal that started the chain.';
comment on column public.ops_missions.depth is 'Depth of the event that led to it; events of the mission are one deeper.';
comment on column public.ops_missions.chain is 'Patterns that fired on the way.';
comment on column public.ops_missions.traceparent is 'W3C trace context.';
comment on column public.ops_missions.started_at is 'First claim of one of its steps.';
comment on column public.ops_missions.completed_at is 'When its last open step ended; null while any is open.';
comment on column public.ops_missions.created_at is 'When it was approved.';
comment on column public.ops_missions.updated_at is 'When an engine column last changed.';
-- No index on status or completed_at: every change of a mission stays a heap-only update.
create index if not exists ops_missions_time on public.ops_missions (created_at);

create table if not exists public.ops_mission_steps (
  id uuid default public.ops_new_id() primary key with (fillfactor = 35),
  mission_id uuid not null,
  key text not null,
  position integer not null default 1,
  kind text not null,
  params jsonb not null default '{}',
  status text not null
    constraint ops_mission_steps_status check (status in ('blocked', 'scheduled', 'queued', 'running', 'succeeded', 'failed', 'skipped', 'cancelled')),
  executor text not null,
  priority integer not null default 0,
  ready_at timestamptz not null default public.ops_clock(),
  wait_reason text,
  lease_epoch bigint not null default 0,
  worker_id text,
  reserved_at timestamptz,
  lease_expires_at timestamptz,
  cancel_requested_at timestamptz,
  failure_count integer not null default 0,
  crash_count integer not null default 0,
  max_retries integer,
  timeout_seconds numeric,
  on_failure text not null default 'stop'
    constraint ops_mission_steps_on_failure check (on_failure in ('stop', 'continue')),
  series integer not null default 1,
  needs uuid[] not null default '{}',
  pending_needs integer not null default 0
    constraint ops_mission_steps_pending_needs check (pending_needs >= 0),
  when_path jsonpath,
  leaves jsonb,
  template jsonb,
  for_each jsonb,
  parent_id uuid,
  item_index integer,
  dry_run boolean not null default false,
  skipped_for uuid,
  role text,
  pattern_id text,
  last_error text,
  result jsonb,
  created_at timestamptz not null default public.ops_clock(),
  updated_at timestamptz not null default public.ops_clock(),
  constraint ops_mission_steps_running_is_leased
    check (status <> 'running' or (worker_id is not null and reserved_at is not null and lease_expires_at is not null)),
  constraint ops_mission_steps_wait_reason check (wait_reason is null or status = 'scheduled')
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
comment on table public.ops_mission_steps is 'One unit of work. Claimed under a lease, fenced by lease_epoch, tried until it succeeds or is out of attempts.';
comment on column public.ops_mission_steps.id is 'Id of the step; also the idempotency key of its side effects.';
comment on column public.ops_mission_steps.mission_id is 'Its mission.';
comment on column public.ops_mission_steps.key is 'Name within the mission, for depends_on and {{steps.<key>.result}}.';
comment on column public.ops_mission_steps.position is 'Place in the template, from 1.';
comment on column public.ops_mission_steps.kind is 'What it is, for policies and events: step:<kind>:succeeded.';
comment on column public.ops_mission_steps.params is 'Arguments of the executor, rendered when the step became ready.';
comment on column public.ops_mission_steps.status is 'blocked (needs others), scheduled (later, or held: see wait_reason), queued, running, then succeeded, failed, skipped or cancelled.';
comment on column public.ops_mission_steps.executor is 'What runs it; the kind by default.';
comment on column public.ops_mission_steps.priority is 'Smaller runs first.';
comment on column public.ops_mission_steps.ready_at is 'Not before this time.';
comment on column public.ops_mission_steps.wait_reason is 'What holds it although it is due: switch:<scope>, policy:executor:<name>, limit: or rate:executor:<name>, limit: or rate:key:<executor>:<value>, budget:<budget>, budget:unpriced:<executor>:<unit>; null otherwise.';
comment on column public.ops_mission_steps.lease_epoch is 'The fence: rises at every claim and whenever the step is taken away; named by every write-back; never reset.';
comment on column public.ops_mission_steps.worker_id is 'Name of the worker that holds or last held it.';
comment on column public.ops_mission_steps.reserved_at is 'When the latest lease was taken; kept on finished steps.';
comment on column public.ops_mission_steps.lease_expires_at is 'End of the lease, by the database clock; null when not running. In no index, so that renewal stays a heap-only update.';
comment on column public.ops_mission_steps.cancel_requested_at is 'When its cancellation was asked for while it ran.';
comment on column public.ops_mission_steps.failure_count is 'Failed attempts of this series; at or above max_retries means exhausted.';
comment on column public.ops_mission_steps.crash_count is 'Attempts of this series that ended with their worker.';
comment on column public.ops_mission_steps.max_retries is 'Attempts in all before the dead letter; null means what worker_policy says now (3 by default).';
comment on column public.ops_mission_steps.timeout_seconds is 'Seconds one attempt may run; null means what worker_policy says.';
comment on column public.ops_mission_steps.on_failure is 'stop: its failure fails the mission and skips what has not started; continue: dependents go on.';
comment on column public.ops_mission_steps.series is 'Rises by one each time a finished step is revived.';
comment on column public.ops_mission_steps.needs is 'Ids of the steps it waits for.';
comment on column public.ops_mission_steps.pending_needs is 'How many of them are still open.';
comment on column public.ops_mission_steps.when_path is 'Condition over {event, steps, mission}, asked when it becomes ready; false skips it.';
comment on column public.ops_mission_steps.leaves is 'Placeholders to resolve when it becomes ready, compiled; null when there are none.';
comment on column public.ops_mission_steps.template is 'Params as approved, kept beside the rendered ones when there are placeholders.';
comment on column public.ops_mission_steps.for_each is 'The list it is carried out over: {items, max, leaves}, with waits while it waits for its turn to be spread, and count once its items are steps; null for an ordinary step.';
comment on column public.ops_mission_steps.parent_id is 'The for_each step whose item this one is; null otherwise.';
comment on column public.ops_mission_steps.item_index is 'Place of its item in that list, from 0.';
comment on column public.ops_mission_steps.dry_run is 'It goes through every state, and its executor is not called.';
comment on column public.ops_mission_steps.skipped_for is 'The failed step it was skipped for; null when its own condition skipped it.';
comment on column public.ops_mission_steps.role is 'Agent role it runs as, for switches and budgets.';
comment on column public.ops_mission_steps.pattern_id is 'Pattern that led to it, for switches.';
comment on column public.ops_mission_steps.last_error is 'Message of the last failure.';
comment on column public.ops_mission_steps.result is 'What the executor returned.';
comment on column public.ops_mission_steps.created_at is 'When the mission was approved.';
comment on column public.ops_mission_steps.updated_at is 'When an engine column last changed.';
-- Two thirds empty, like the primary key: a step is written anew at its claim and at its end, each time beside its last place.
create index if not exists ops_mission_steps_mission on public.ops_mission_steps (mission_id) with (fillfactor = 35);
create index if not exists ops_mission_steps_claim on public.ops_mission_steps (executor, priority, ready_at, id) where status = 'queued';
create index if not exists ops_mission_steps_due on public.ops_mission_steps (ready_at) where status = 'scheduled' and wait_reason is null;
create index if not exists ops_mission_steps_held on public.ops_mission_steps (wait_reason, priority, ready_at, id) where wait_reason is not null;
create index if not exists ops_mission_steps_blocked on public.ops_mission_steps (mission_id) where status = 'blocked';
create index if not exists ops_mission_steps_running on public.ops_mission_steps (executor, id) where status = 'running';

create table if not exists public.ops_action_runs (
  run_id text collate "C" primary key,
  id uuid not null default public.ops_new_id(),
  step_id uuid not null,
  mission_id uuid,
  executor text not null,
  worker_id text,
  status text not null
    constraint ops_action_runs_status check (status in ('started', 'succeeded', 'failed', 'timed_out', 'cancelled', 'unknown', 'crashed', 'released')),
  started_at timestamptz not null,
  completed_at timestamptz,
  meta jsonb,
  reserved jsonb,
  error text
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
comment on table public.ops_action_runs is 'One row per attempt: written at the claim, ended with the attempt.';
comment on column public.ops_action_runs.run_id is '<step id>:<lease epoch>. The key, so that all attempts of a step stand together in its one index.';
comment on column public.ops_action_runs.id is 'Id of the attempt.';
comment on column public.ops_action_runs.step_id is 'The step.';
comment on column public.ops_action_runs.mission_id is 'Its mission.';
comment on column public.ops_action_runs.executor is 'What ran it.';
comment on column public.ops_action_runs.worker_id is 'Who ran it.';
comment on column public.ops_action_runs.status is 'started, then succeeded, failed, timed_out, cancelled, unknown, crashed (its worker died) or released (given back unharmed).';
comment on column public.ops_action_runs.started_at is 'When it was claimed.';
comment on column public.ops_action_runs.completed_at is 'When it ended.';
comment on column public.ops_action_runs.meta is 'What the executor measured: tokens, money, exit codes.';
comment on column public.ops_action_runs.reserved is 'What its budgets set aside for it: {keys, usd, tokens}; null without budgets.';
comment on column public.ops_action_runs.error is 'Why it failed.';

create table if not exists public.ops_step_dead_letters (
  id uuid primary key default gen_random_uuid(),
  step_id uuid not null,
  mission_id uuid not null,
  series integer not null default 1,
  kind text not null,
  executor text not null,
  cause text not null
    constraint ops_step_dead_letters_cause check (cause in ('exhausted', 'permanent', 'unknown', 'worker_crash')),
  attempts integer not null,
  failure_count integer not null default 0,
  crash_count integer not null default 0,
  error_class text,
  last_error text,
  params jsonb not null default '{}',
  state text not null default 'open'
    constraint ops_step_dead_letters_state check (state in ('open', 'requeued', 'discarded')),
  resolution text,
  resolved_at timestamptz,
  created_at timestamptz not null default public.ops_clock(),
  constraint ops_step_dead_letters_once unique (step_id, series),
  constraint ops_step_dead_letters_resolved check ((state = 'open') = (resolved_at is null))
);
comment on table public.ops_step_dead_letters is 'Steps that are out of attempts: one row per step and series, written in the transaction that failed the step.';
comment on column public.ops_step_dead_letters.id is 'Id of the dead letter.';
comment on column public.ops_step_dead_letters.step_id is 'The step.';
comment on column public.ops_step_dead_letters.mission_id is 'Its mission.';
comment on column public.ops_step_dead_letters.series is 'Which series of attempts ended.';
comment on column public.ops_step_dead_letters.kind is 'Kind of the step.';
comment on column public.ops_step_dead_letters.executor is 'Executor of the step.';
comment on column public.ops_step_dead_letters.cause is 'exhausted, permanent, unknown (nobody knows whether it took effect: a person decides) or worker_crash.';
comment on column public.ops_step_dead_letters.attempts is 'Attempts of the series that counted: failures and crashes.';
comment on column public.ops_step_dead_letters.failure_count is 'True number of failures; on the step the count is lifted to its bound.';
comment on column public.ops_step_dead_letters.crash_count is 'True number of crashes.';
comment on column public.ops_step_dead_letters.error_class is 'Groups like errors.';
comment on column public.ops_step_dead_letters.last_error is 'Message of the last failure.';
comment on column public.ops_step_dead_letters.params is 'Copy of the step''s params.';
comment on column public.ops_step_dead_letters.state is 'open, then requeued (the step runs again) or discarded.';
comment on column public.ops_step_dead_letters.resolution is 'Why it was requeued or discarded.';
comment on column public.ops_step_dead_letters.resolved_at is 'When.';
comment on column public.ops_step_dead_letters.created_at is 'When the step ended.';
create index if not exists ops_step_dead_letters_open on public.ops_step_dead_letters (created_at) where state = 'open';

-- Executors and workers -----------------------------------------------------------------------------------------

create table if not exists public.ops_executors (
  name text primary key,
  builtin boolean not null default false,
  idempotent boolean not null,
  risk text not null constraint ops_executors_risk check (risk in ('low', 'medium', 'high', 'critical')),
  local_limit integer,
  needs text[] not null default '{}',
  touches text[] not null default '{}'
    constraint ops_executors_touches check (touches <@ array['secrets', 'outside']),
  exclusive text,
  fixed text[] not null default '{}',
  params_schema jsonb,
  result_schema jsonb,
  updated_at timestamptz not null default public.ops_clock()
);
comment on table public.ops_executors is 'Every executor a step may name. Workers register theirs; the built-ins are here from the start.';
comment on column public.ops_executors.name is 'Name that templates use.';
comment on column public.ops_executors.builtin is 'Came with Ops-Loop: a registration may raise its risk, never lower it.';
comment on column public.ops_executors.idempotent is 'May be tried again after a crash or a timeout, when nobody knows how far it came.';
comment on column public.ops_executors.risk is 'low, medium, high or critical.';
comment on column public.ops_executors.local_limit is 'How many run at once in one worker process; null is the worker''s own concurrency.';
comment on column public.ops_executors.needs is 'What it needs of its host, for people.';
comment on column public.ops_executors.touches is 'secrets: it is given any; outside: it changes something outside of this database or talks to somebody. For the rule of two.';
comment on column public.ops_executors.exclusive is 'Parameter that names what only one step at a time may work on, such as a repository; null for none. worker_policy.executors.<name>.per_key goes before it.';
comment on column public.ops_executors.fixed is 'Parameters that no placeholder may stand in: what comes from events never becomes one of these.';
comment on column public.ops_executors.params_schema is 'JSON Schema of its params; null until a worker has registered it: then params are not checked.';
comment on column public.ops_executors.result_schema is 'JSON Schema of its result; null means any.';
comment on column public.ops_executors.updated_at is 'Last registration.';

create table if not exists public.ops_workers (
  name text primary key,
  instance uuid not null,
  host text not null,
  pid integer not null,
  executors text[] not null default '{}',
  started_at timestamptz not null,
  seen_at timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
comment on table public.ops_workers is 'Living workers. A row not seen for a minute is dead and may be replaced.';
comment on column public.ops_workers.name is 'Name, unique among the living: host and directory by default.';
comment on column public.ops_workers.instance is 'New at every start.';
comment on column public.ops_workers.host is 'Host it runs on.';
comment on column public.ops_workers.pid is 'Its process id there.';
comment on column public.ops_workers.executors is 'Executors it serves.';
comment on column public.ops_workers.started_at is 'When it registered.';
comment on column public.ops_workers.seen_at is 'Last sign of life: registration, renewal or an idle look.';

create table if not exists public.ops_wakeups (
  channel text primary key,
  waiting boolean not null default false
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
comment on table public.ops_wakeups is 'Raised by whoever goes idle, taken down by whoever makes work ready: then, and only then, one NOTIFY is sent.';
comment on column public.ops_wakeups.channel is 'ops_steps or ops_events.';
comment on column public.ops_wakeups.waiting is 'Somebody waits on this channel.';
insert into public.ops_wakeups (channel) values ('ops_steps'), ('ops_events') on conflict do nothing;

-- Bounds, beats, radar ------------------------------------------------------------------------------------------

create table if not exists public.ops_limits (
  key text primary key,
  window_start timestamptz not null default '-infinity',
  used numeric not null default 0,
  updated_at timestamptz not null default public.ops_clock()
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 200);
comment on table public.ops_limits is 'Rows that bound something: locked in key order, before missions and steps.';
comment on column public.ops_limits.key is 'cooldown:<pattern>:<key>, limit:<pattern>:<key>, fanout:<root event>, executor:<name>, key:<executor>:<value>, radar:<signal>:<what was counted once>, or a plain lock such as proposal_caps.';
comment on column public.ops_limits.window_start is 'Start of the window, or the time something was last taken.';
comment on column public.ops_limits.used is 'Taken in this window.';
comment on column public.ops_limits.updated_at is 'Last change; old rows are swept.';

create table if not exists public.ops_heartbeats (
  id uuid primary key default gen_random_uuid(),
  source text not null,
  ok boolean not null,
  rounds integer not null default 1,
  counts jsonb not null default '{}',
  failures jsonb not null default '[]',
  started_at timestamptz not null,
  completed_at timestamptz not null
);
comment on table public.ops_heartbeats is 'One row per scheduled beat.';
comment on column public.ops_heartbeats.id is 'Id of the beat.';
comment on column public.ops_heartbeats.source is 'Who called: vercel, cron, sql, cli, …';
comment on column public.ops_heartbeats.ok is 'No phase failed.';
comment on column public.ops_heartbeats.rounds is 'Calls of ops_heartbeat that made up the beat.';
comment on column public.ops_heartbeats.counts is 'Sums over the rounds.';
comment on column public.ops_heartbeats.failures is 'Phases that failed, with code and message.';
comment on column public.ops_heartbeats.started_at is 'Start of the first round.';
comment on column public.ops_heartbeats.completed_at is 'End of the last round.';
create index if not exists ops_heartbeats_time on public.ops_heartbeats (completed_at desc);

create table if not exists public.ops_demand_radar (
  id uuid primary key default gen_random_uuid(),
  dedupe_key text not null constraint ops_demand_radar_dedupe unique,
  title text not null,
  description text,
  source text not null default 'manual',
  stage text not null default 'watching'
    constraint ops_demand_radar_stage check (stage in ('watching', 'validating', 'building', 'shipped', 'dropped')),
  score numeric not null default 0,
  tags text[] not null default '{}',
  evidence jsonb not null default '[]',
  mentions integer not null default 1,
  sources text[] not null default '{}',
  weight numeric not null default 1
    constraint ops_demand_radar_weight check (weight between 0 and 100),
  rank numeric not null default '-Infinity',
  moved_at timestamptz,
  moved_by text,
  move_reason text,
  moved_step uuid,
  merged_into uuid,
  first_seen_at timestamptz not null default public.ops_clock(),
  last_seen_at timestamptz not null default public.ops_clock()
);
comment on table public.ops_demand_radar is 'Signals of demand: what people ask for, how often, and how far it has come.';
comment on column public.ops_demand_radar.id is 'Id of the signal.';
comment on column public.ops_demand_radar.dedupe_key is 'Same key, same signal: a further mention. The title in lower case, its spaces evened out, by default.';
comment on column public.ops_demand_radar.title is 'What is asked for.';
comment on column public.ops_demand_radar.description is 'More about it.';
comment on column public.ops_demand_radar.source is 'Where it was first heard.';
comment on column public.ops_demand_radar.stage is 'watching, validating, building, shipped or dropped.';
comment on column public.ops_demand_radar.score is 'Score at the latest mention, by ops_radar_strength; it has faded since, and the functions show it as it is now. Set by trigger.';
comment on column public.ops_demand_radar.tags is 'Labels, gathered over all mentions.';
comment on column public.ops_demand_radar.evidence is 'The latest 100 mentions, newest last: {at, source, by, link, step_id, data}. by, link and data are what the sender said: untrusted, never acted on.';
comment on column public.ops_demand_radar.mentions is 'How often it was heard.';
comment on column public.ops_demand_radar.sources is 'The distinct sources it was heard from, oldest first, at most 50.';
comment on column public.ops_demand_radar.weight is 'What an operator thinks of it, 0 to 100: multiplies the score. 1 by default, 0 mutes it.';
comment on column public.ops_demand_radar.rank is 'Orders signals by score at any time: log2(score) + days of the latest mention since 1970 / 30. All scores fade alike, so it stays as it is while they do. Set by trigger.';
comment on column public.ops_demand_radar.moved_at is 'When it came to its stage; null while it is where it began.';
comment on column public.ops_demand_radar.moved_by is 'Who moved it there: a name, step:<id>, or the role that wrote the row.';
comment on column public.ops_demand_radar.move_reason is 'Why.';
comment on column public.ops_demand_radar.moved_step is 'The step that added it or moved it there; null when nobody''s mission did. Its event is one of that mission.';
comment on column public.ops_demand_radar.merged_into is 'The signal it turned out to be: mentions of this one count there. Null otherwise.';
comment on column public.ops_demand_radar.first_seen_at is 'First mention.';
comment on column public.ops_demand_radar.last_seen_at is 'Latest mention.';
create index if not exists ops_demand_radar_rank on public.ops_demand_radar (rank desc, id desc);

insert into public.ops_migrations (version, name) values ('0001', 'ops_schema') on conflict do nothing;
