-- 0018 Lists: missions, steps and policies for people to look at, and what has changed since a moment.
--
-- Why so: the control plane shows these to operators and writes none of them. Every list has a limit and a cursor of
-- its own rows, so that a page costs the same however many rows there are. What has changed is found through the
-- indexes that the engine has anyway: a change of state leaves an event, a young row or a running step, and an index on
-- updated_at would cost every update of the hot path its heap-only form.
-- Locks: none, it only reads. Undo: rollbacks/0018_ops_lists.sql.

create or replace function public.ops_page_cursor(p_cursor text, out at timestamptz, out id uuid)
language plpgsql immutable set search_path = '' as $$
declare
  v_parts text[] := regexp_match(p_cursor, '^([0-9]{1,17}) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$');
begin
  if p_cursor is not null and v_parts is null then
    perform public.ops_raise('OPS_011', 'the cursor is not one of this list', null, 'Send the cursor of the last row of the page before, with the same filters.');
  end if;
  at := timestamptz '1970-01-01 00:00:00+00' + v_parts[1]::bigint * interval '1 microsecond';
  id := v_parts[2]::uuid;
end $$;
comment on function public.ops_page_cursor(text) is 'The place in a list by creation that a cursor, <microseconds> <id>, names; nulls without one. Raises OPS_011.';

create or replace function public.ops_list_missions(p_status text default null, p_pattern text default null, p_limit integer default 50, p_cursor text default null)
returns table (id uuid, proposal_id uuid, status text, title text, pattern_id text, open_steps integer, failed_steps integer, cancelled_steps integer,
  started_at timestamptz, completed_at timestamptz, created_at timestamptz, updated_at timestamptz, cursor text)
language plpgsql stable set search_path = '' as $$
declare
  v_after record := public.ops_page_cursor(p_cursor);
begin
  if p_status not in ('approved', 'running', 'succeeded', 'failed', 'cancelled') then
    perform public.ops_raise('OPS_011', format('%s is no status of a mission', left(p_status, 100)), null, 'Use approved, running, succeeded, failed or cancelled.');
  end if;
  return query
  select m.id, m.proposal_id, m.status, m.title, m.pattern_id, m.open_steps, m.failed_steps, m.cancelled_steps, m.started_at, m.completed_at, m.created_at, m.updated_at,
    concat_ws(' ', (extract(epoch from m.created_at) * 1000000)::bigint, m.id)
  from public.ops_missions m
  where (p_status is null or m.status = p_status) and (p_pattern is null or m.pattern_id = p_pattern)
    -- The first half is the index's, the second tells rows of one microsecond apart.
    and (p_cursor is null or m.created_at <= v_after.at and (m.created_at, m.id) < (v_after.at, v_after.id))
  order by m.created_at desc, m.id desc limit least(greatest(coalesce(p_limit, 50), 1), 1000);
end $$;
comment on function public.ops_list_missions(text, text, integer, text) is
  'Missions, newest first, of one status and of one pattern if given. Each row has the cursor of the page that begins after it. At most 1,000. Raises OPS_011.';

create or replace function public.ops_get_mission(p_id uuid) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_mission public.ops_missions;
begin
  select * into v_mission from public.ops_missions m where m.id = p_id;
  if not found then
    perform public.ops_raise('OPS_012', format('there is no mission %s', p_id), null, 'ops_list_missions() shows the ids; finished missions go with the retention.');
  end if;
  return jsonb_build_object('id', v_mission.id, 'proposal_id', v_mission.proposal_id, 'status', v_mission.status, 'title', v_mission.title, 'pattern_id', v_mission.pattern_id,
    'open_steps', v_mission.open_steps, 'failed_steps', v_mission.failed_steps, 'cancelled_steps', v_mission.cancelled_steps, 'policy_snapshot', v_mission.policy_snapshot,
    'started_at', v_mission.started_at, 'completed_at', v_mission.completed_at, 'created_at', v_mission.created_at, 'updated_at', v_mission.updated_at,
    'total_steps', (select count(*) from public.ops_mission_steps s where s.mission_id = p_id),
    'steps', coalesce((select jsonb_agg(jsonb_build_object('id', s.id, 'key', s.key, 'kind', s.kind, 'executor', s.executor, 'status', s.status, 'wait_reason', s.wait_reason,
        'worker_id', s.worker_id, 'failure_count', s.failure_count, 'last_error', s.last_error, 'ready_at', s.ready_at, 'updated_at', s.updated_at) order by s.position, s.item_index nulls first, s.key)
      from (select * from public.ops_mission_steps a where a.mission_id = p_id order by a.position, a.item_index nulls first, a.key limit 1000) s), '[]'));
end $$;
comment on function public.ops_get_mission(uuid) is
  'One mission with its steps in their order, the first 1,000 of total_steps; ops_get_step has params, result and attempts. Raises OPS_012.';

create or replace function public.ops_get_step(p_id uuid) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_step public.ops_mission_steps;
begin
  select * into v_step from public.ops_mission_steps s where s.id = p_id;
  if not found then
    perform public.ops_raise('OPS_012', format('there is no step %s', p_id), null, 'ops_get_mission(id) shows the steps of a mission; finished steps go with the retention.');
  end if;
  return jsonb_build_object('id', v_step.id, 'mission_id', v_step.mission_id, 'key', v_step.key, 'kind', v_step.kind, 'executor', v_step.executor, 'status', v_step.status,
    'wait_reason', v_step.wait_reason, 'priority', v_step.priority, 'ready_at', v_step.ready_at, 'params', v_step.params, 'result', v_step.result, 'last_error', v_step.last_error,
    'worker_id', v_step.worker_id, 'lease_epoch', v_step.lease_epoch, 'reserved_at', v_step.reserved_at, 'lease_expires_at', v_step.lease_expires_at,
    'cancel_requested_at', v_step.cancel_requested_at, 'failure_count', v_step.failure_count, 'crash_count', v_step.crash_count, 'max_retries', v_step.max_retries,
    'timeout_seconds', v_step.timeout_seconds, 'on_failure', v_step.on_failure, 'series', v_step.series, 'needs', v_step.needs, 'dry_run', v_step.dry_run,
    'skipped_for', v_step.skipped_for, 'created_at', v_step.created_at, 'updated_at', v_step.updated_at,
    'dead_letter_id', (select d.id from public.ops_step_dead_letters d where d.step_id = p_id and d.state = 'open' limit 1),
    'attempts', coalesce((select jsonb_agg(jsonb_build_object('run_id', r.run_id, 'status', r.status, 'executor', r.executor, 'worker_id', r.worker_id, 'started_at', r.started_at,
        'completed_at', r.completed_at, 'meta', r.meta, 'error', r.error) order by r.started_at desc, r.run_id desc)
      from (select * from public.ops_action_runs a where a.run_id >= p_id::text || ':' and a.run_id < p_id::text || ';' order by a.started_at desc, a.run_id desc limit 50) r), '[]'));
end $$;
comment on function public.ops_get_step(uuid) is
  'One step with its params, its result, its open dead letter and its latest 50 attempts, newest first. Raises OPS_012.';

create or replace function public.ops_list_waiting(p_limit integer default 50)
returns setof public.ops_mission_proposals language sql stable set search_path = '' as $$
  select p.* from public.ops_mission_proposals p
  where p.status in ('pending', 'voting')
  order by p.expires_at nulls last, p.created_at, p.id limit least(greatest(coalesce(p_limit, 50), 1), 1000)
$$;
comment on function public.ops_list_waiting(integer) is
  'Proposals that wait for a word, a vote or room under a cap: those that expire first, then the oldest. At most 1,000.';

create or replace function public.ops_list_policies()
returns table (key text, value jsonb, version bigint, updated_at timestamptz)
language sql stable set search_path = '' as $$
  select p.key, p.value, p.version, p.updated_at from public.ops_policy p order by p.key
$$;
comment on function public.ops_list_policies() is 'Every policy that is set, by key; the defaults hold for the others.';

create or replace function public.ops_list_changes(p_since timestamptz, p_limit integer default 200)
returns table (kind text, id uuid, name text, status text, at timestamptz, mission_id uuid)
language plpgsql stable set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_limit integer := least(greatest(coalesce(p_limit, 200), 1), 1000);
begin
  return query
  with recent as materialized (
    select e.id, e.type, e.outcome, e.created_at, e.mission_id, case when e.type like 'proposal:%' and e.trust = 'loop' then e.data ->> 'proposal_id' end as proposal_id
    from public.ops_agent_events e where e.created_at >= p_since order by e.created_at desc limit v_limit
  ), young as materialized (
    select m.id, m.proposal_id from public.ops_missions m where m.created_at >= p_since order by m.created_at desc limit v_limit
  ), moved_missions as (
    select y.id from young y
    union select r.mission_id from recent r where r.type like 'mission:%'
    union select s.mission_id from public.ops_mission_steps s where s.status = 'running' and s.reserved_at >= p_since
  ), moved_proposals as (
    select y.proposal_id as id from young y
    union select r.proposal_id::uuid from recent r
    union select p.id from public.ops_mission_proposals p where p.status in ('pending', 'voting') and p.created_at >= p_since
  ), changes as (
    select 'event' as kind, r.id, r.type as name, r.outcome as status, r.created_at as at, r.mission_id from recent r
    union all
    select 'mission', m.id, m.title, m.status, m.updated_at, m.id from moved_missions c join public.ops_missions m on m.id = c.id
    union all
    select 'proposal', p.id, p.title, p.status, p.updated_at, null from moved_proposals c join public.ops_mission_proposals p on p.id = c.id
  )
  select c.kind, c.id, c.name, c.status, c.at, c.mission_id from changes c order by c.at desc, c.kind, c.id limit v_limit;
end $$;
comment on function public.ops_list_changes(timestamptz, integer) is
  'Events since a moment, and the missions and proposals that they, young rows and running steps tell of, as they are now: the latest first, at most 1,000. A row may come again with another status; at is when an event came, or when a mission or proposal last changed.';

insert into public.ops_migrations (version, name) values ('0018', 'ops_lists') on conflict do nothing;
