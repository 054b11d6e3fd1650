-- 0007 Missions and steps: made at approval, claimed under a lease, fenced at every write-back, recovered by anyone.
--
-- Why so: the write-back names the lease epoch, and a stale one changes no row and is told so. A mission's status is
-- a function of its steps and is written in their transaction. Locks, in this order everywhere: limit rows (by key)
-- → missions (by id) → steps. A claim and a renewal skip locked steps and wait for nobody, so the order has no cycle.
-- The hot functions run with enable_seqscan = off: their tables may be empty when a plan is made and huge when it
-- is used, and an index is right in both cases. (jit is off beside it, because the penalty that stands for "off" in
-- the planner's arithmetic would have every such plan compiled.)
-- Undo: rollbacks/0007_ops_steps.sql.

create or replace function public.ops_mission_status(p_open integer, p_failed integer, p_cancelled integer) returns text
language plpgsql immutable set search_path = '' as $$
begin
  return case when p_open > 0 then 'running' when p_failed > 0 then 'failed' when p_cancelled > 0 then 'cancelled' else 'succeeded' end;
end $$;
comment on function public.ops_mission_status(integer, integer, integer) is
  'The status of a mission from its steps: open ones, failed ones with on_failure stop, cancelled ones. (approved before the first claim.)';

create or replace function public.ops_is_open(p_status text) returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return p_status in ('blocked', 'scheduled', 'queued', 'running');
end $$;
comment on function public.ops_is_open(text) is 'Whether a step of this status still has to end.';

-- A mission is made ---------------------------------------------------------------------------------------------

create or replace function public.ops_create_missions(p_ids uuid[]) returns integer
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_look uuid[];
begin
  if coalesce(cardinality(p_ids), 0) = 0 then
    return 0;
  end if;
  with proposal as materialized (
    select p.*, public.ops_leaves_by_step(p.leaves) as by_step from public.ops_mission_proposals p where p.id = any (p_ids)
  ), mission as (
    insert into public.ops_missions (proposal_id, title, policy_snapshot, pattern_id, open_steps, root_id, depth, chain, traceparent, created_at, updated_at)
    select p.id, p.title, p.policy_snapshot, p.pattern_id, jsonb_array_length(p.template -> 'steps'), coalesce(p.root_id, p.id), p.depth, p.chain, p.traceparent,
      v_now + row_number() over (order by p.created_at, p.id) * interval '1 microsecond', v_now
    from proposal p
    on conflict (proposal_id) do nothing returning id, proposal_id
  ), step as materialized (
    select public.ops_new_id() as id, m.id as mission_id, t.step, t.n::integer as n, coalesce(t.step ->> 'key', 'step_' || t.n) as key, p.by_step -> (t.n - 1)::text as leaves, p.pattern_id, p.template -> 'dry_run' is not distinct from 'true' as dry_run,
      v_now + row_number() over (order by p.created_at, p.id, t.n) * interval '1 microsecond' as ready_at
    from mission m join proposal p on p.id = m.proposal_id
    cross join lateral jsonb_array_elements(p.template -> 'steps') with ordinality t(step, n)
  ), need as (
    select s.id, array_agg(d.id) as needs
    from step s join step d on d.mission_id = s.mission_id
      and case when s.step ? 'depends_on' then s.step -> 'depends_on' ? d.key else d.n = s.n - 1 end
    group by s.id
  ), stored as (
    insert into public.ops_mission_steps (id, mission_id, key, position, kind, executor, params, status, priority, ready_at, max_retries,
      timeout_seconds, on_failure, needs, pending_needs, when_path, leaves, template, for_each, dry_run, role, pattern_id, created_at, updated_at)
    select s.id, s.mission_id, s.key, s.n, s.step ->> 'kind', coalesce(s.step ->> 'executor', s.step ->> 'kind'), coalesce(s.step -> 'params', '{}'),
      case when need.id is null and l.leaves is null and not s.step ?| array['when', 'for_each'] then 'queued' else 'blocked' end,
      coalesce(public.ops_integer(s.step -> 'priority'), 0), s.ready_at, public.ops_integer(s.step -> 'max_retries'), (s.step ->> 'timeout_seconds')::numeric,
      coalesce(s.step ->> 'on_failure', 'stop'), coalesce(need.needs, '{}'), coalesce(cardinality(need.needs), 0),
      (s.step ->> 'when')::jsonpath, l.leaves, case when l.leaves is not null then s.step -> 'params' end,
      s.step -> 'for_each' || jsonb_build_object('leaves', coalesce(s.leaves -> 'for_each', '[]')), s.dry_run, s.step #>> '{params,role}', s.pattern_id, v_now, v_now
    from step s left join need on need.id = s.id
    cross join lateral (select s.leaves -> 'params' as leaves) l
    returning id, status, pending_needs)
  select array_agg(s.id) filter (where s.status = 'blocked' and s.pending_needs = 0) into v_look from stored s;
  if v_look is not null then
    perform public.ops_ready_steps(v_look);
  end if;
  perform public.ops_wake('ops_steps');
  return (select count(*) from public.ops_missions m where m.proposal_id = any (p_ids));
end $$;
comment on function public.ops_create_missions(uuid[]) is
  'Makes the missions of approved proposals with their steps; answers how many of them have one now. A second call changes nothing.';

drop function if exists public.ops_step_leaves(jsonb, integer, text);
create or replace function public.ops_leaves_by_step(p_leaves jsonb) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  if p_leaves is null or p_leaves = '[]' then
    return null;
  end if;
  return (
    select jsonb_object_agg(s.at, s.members) from (
      select m.at, jsonb_object_agg(m.member, m.leaves) as members from (
        select l.leaf #>> '{path,1}' as at, l.leaf #>> '{path,2}' as member, jsonb_agg(jsonb_set(l.leaf, '{path}', (l.leaf -> 'path') - 0 - 0 - 0) order by l.n) as leaves
        from jsonb_array_elements(p_leaves) with ordinality l(leaf, n) where l.leaf #>> '{path,0}' = 'steps' group by 1, 2) m
      group by m.at) s);
end $$;
comment on function public.ops_leaves_by_step(jsonb) is
  'The leaves of a template that lie in its steps, with paths from there: {"<place of the step, from 0>": {params?, for_each?}}; null when there are none.';

-- A step becomes ready ------------------------------------------------------------------------------------------

create or replace function public.ops_step_context(p_mission_id uuid) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return (
    select jsonb_build_object(
      'event', (select public.ops_event_document(e) from public.ops_agent_events e where e.id = p.event_id),
      'mission', jsonb_build_object('id', m.id, 'title', m.title, 'created_at', m.created_at, 'pattern_id', m.pattern_id),
      'steps', (select jsonb_object_agg(s.key, jsonb_build_object('status', s.status, 'result', s.result, 'error', s.last_error))
        from public.ops_mission_steps s where s.mission_id = m.id and s.parent_id is null and s.status in ('succeeded', 'failed', 'skipped', 'cancelled')))
    from public.ops_missions m left join public.ops_mission_proposals p on p.id = m.proposal_id where m.id = p_mission_id);
end $$;
comment on function public.ops_step_context(uuid) is 'What when and placeholders of a step may see: {event, mission, steps: {key: {status, result, error}}}.';

create or replace function public.ops_ready_step(p_step public.ops_mission_steps) returns void
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_context jsonb;
  v_tree record;
  v_error text;
begin
  if p_step.for_each ? 'count' then
    -- Its condition was asked before it was spread; its items have ended.
    perform public.ops_gather_step(p_step);
    return;
  end if;
  v_context := public.ops_step_context(p_step.mission_id);
  if p_step.when_path is not null and coalesce(jsonb_path_query_first_tz(v_context, p_step.when_path, '{}', true), 'null') in ('null', 'false') then
    perform public.ops_skip_step(p_step.id, p_step.mission_id);
    return;
  elsif p_step.for_each is not null then
    perform public.ops_spread_step(p_step, v_context);
    return;
  end if;
  v_tree := public.ops_render_tree(coalesce(p_step.template, p_step.params), coalesce(p_step.leaves, '[]'), v_context);
  v_error := coalesce(v_tree.error, public.ops_params_problem(
    jsonb_build_object('steps', jsonb_build_array(jsonb_build_object('kind', p_step.executor, 'params', v_tree.tree))), '[]'));
  update public.ops_mission_steps s set status = 'queued', params = coalesce(v_tree.tree, s.params), ready_at = v_now, updated_at = v_now where s.id = p_step.id;
  -- Without results to hand on it goes on with the params as they were approved.
  if v_error is not null and not public.ops_lacks_results(p_step) then
    perform public.ops_refuse_ready(p_step, format('$.steps[%s].params%s', p_step.position - 1, regexp_replace(v_error, '^\$(\.steps\[0\]\.params)?', '')));
  end if;
end $$;
comment on function public.ops_ready_step(public.ops_mission_steps) is
  'A step whose needs are met: asks when, renders the remaining placeholders, then queues, skips, spreads or (a path is missing) fails it. A for_each step may be put off to the next round.';

create or replace function public.ops_lacks_results(p_step public.ops_mission_steps) returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return p_step.dry_run and jsonb_path_exists(coalesce(p_step.leaves, '[]') || coalesce(p_step.for_each -> 'leaves', '[]'), '$[*].parts[*].ref[0] ? (@ == "steps")');
end $$;
comment on function public.ops_lacks_results(public.ops_mission_steps) is
  'Whether a step of a dry run asks for results of others, which never come: what is missing or does not fit says nothing then. What it asks of events and items is there, and judged as for real.';

create or replace function public.ops_refuse_ready(p_step public.ops_mission_steps, p_error text) returns void
language plpgsql set search_path = '' as $$
begin
  update public.ops_mission_steps s set status = 'queued' where s.id = p_step.id;
  perform public.ops_settle(jsonb_build_array(jsonb_build_object('step_id', p_step.id, 'lease_epoch', p_step.lease_epoch,
    'outcome', 'permanent', 'error', 'OPS_004 ' || p_error, 'error_class', 'OPS_004')), 'queued', null);
end $$;
comment on function public.ops_refuse_ready(public.ops_mission_steps, text) is 'A step that became ready cannot be carried out as it was written: it fails for good, with OPS_004 and the path.';

-- One step per item of a list -----------------------------------------------------------------------------------

create or replace function public.ops_items_of(p_step public.ops_mission_steps, p_context jsonb, out items jsonb, out error text)
language plpgsql stable set search_path = '' as $$
declare
  v_place text := format('$.steps[%s].for_each.items', p_step.position - 1);
  v_max integer := coalesce(public.ops_integer(p_step.for_each -> 'max'), 100);
  v_tree record := public.ops_render_tree(p_step.for_each - '{leaves,waits}'::text[], p_step.for_each -> 'leaves', p_context);
begin
  items := v_tree.tree -> 'items';
  if (v_tree.error is not null or jsonb_typeof(items) <> 'array') and public.ops_lacks_results(p_step) then
    items := '[]';
  end if;
  error := case
    when items is null then v_place || regexp_replace(v_tree.error, '^\$(\.items)?', '')
    when jsonb_typeof(items) <> 'array' then v_place || ': is no list'
    when jsonb_array_length(items) > v_max then format('%s: has %s items, more than its max of %s', v_place, jsonb_array_length(items), v_max)
  end;
end $$;
comment on function public.ops_items_of(public.ops_mission_steps, jsonb) is 'The list that a for_each step goes over, or what is wrong with it. A list that only a result could tell is empty in a dry run.';

create or replace function public.ops_spread_left() returns integer
language plpgsql stable set search_path = '' as $$
begin
  return 1000 - coalesce(nullif(current_setting('ops.spread', true), '')::integer, 0);
end $$;
comment on function public.ops_spread_left() is
  'How many items this transaction may still make steps of. It begins with 1,000, the greatest max of a for_each, so that every list fits into a round of its own; making them takes about a quarter of a second then, far from any statement timeout.';

create or replace function public.ops_put_off(p_ids uuid[]) returns void
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
begin
  update public.ops_mission_steps s set for_each = s.for_each || '{"waits": true}', updated_at = public.ops_clock()
  where s.id = any (p_ids) and s.status = 'blocked' and s.pending_needs = 0 and s.for_each is not null and not s.for_each ?| '{count,waits}';
  if found then
    perform public.ops_wake('ops_events');
  end if;
end $$;
comment on function public.ops_put_off(uuid[]) is 'The for_each steps among these whose items this transaction cannot make any more wait for ops_spread_some, in the next round of a heartbeat.';

create or replace function public.ops_item_params(p_step public.ops_mission_steps, p_items jsonb, p_context jsonb, out params jsonb[], out error text)
language plpgsql stable set search_path = '' as $$
declare
  v_place text := format('$.steps[%s].params', p_step.position - 1);
  v_count integer := jsonb_array_length(p_items);
  v_schema jsonb := (select x.params_schema from public.ops_executors x where x.name = p_step.executor);
  -- What is the same for all is filled in once; what asks for item or index stays in its leaves.
  v_same record := public.ops_render_tree(coalesce(p_step.template, p_step.params), coalesce(p_step.leaves, '[]'), p_context);
  v_spared boolean := public.ops_lacks_results(p_step);
begin
  if v_same.error is not null and v_spared then
    params := array_fill(p_step.params, array[v_count]);
    return;
  elsif v_same.error is not null then
    error := v_place || regexp_replace(v_same.error, '^\$', '');
    return;
  elsif octet_length(v_same.tree::text)::bigint * v_count + octet_length(p_items::text)::bigint * jsonb_array_length(v_same.leaves) > 16000000 then
    error := format('%s: come to more than 16 MB over %s items', v_place, v_count);
    return;
  end if;
  with item as materialized (
    select i.n - 1 as n, r.tree, r.error from jsonb_array_elements(p_items) with ordinality i(value, n)
    cross join lateral public.ops_render_tree(v_same.tree, v_same.leaves, jsonb_build_object('item', i.value, 'index', i.n - 1)) r
  ), wrong as materialized (
    select i.n, v_place || regexp_replace(i.error, '^\$', '') as problem from item i where i.error is not null
    union all
    -- One that no placeholder makes different is looked at once.
    select i.n, f.value ->> 'path' || ': ' || (f.value ->> 'message') from item i
    cross join lateral jsonb_array_elements(public.ops_schema_check(v_schema, v_schema, i.tree, v_place, false)) f
    where v_schema is not null and i.error is null and (i.n = 0 or v_same.leaves <> '[]')
  )
  select array(select coalesce(i.tree, p_step.params) from item i order by i.n),
    case when not v_spared then (select format('item %s: %s', w.n, w.problem) from wrong w order by w.n limit 1) end
  into params, error;
end $$;
comment on function public.ops_item_params(public.ops_mission_steps, jsonb, jsonb) is
  'The params of the step for each item of its list, in one statement, or what is wrong with the first that is wrong.';

create or replace function public.ops_spread_step(p_step public.ops_mission_steps, p_context jsonb) returns void
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_list record := public.ops_items_of(p_step, p_context);
  v_count integer := coalesce(jsonb_array_length(case when v_list.error is null then v_list.items end), 0);
  v_left integer := public.ops_spread_left();
  v_made record;
begin
  -- Looking at a list costs about as much as ten items, also where it is empty, or too long for now.
  perform set_config('ops.spread', (1010 - v_left + case when v_count <= v_left then v_count else 0 end)::text, true);
  if v_count > v_left and v_left < 1000 then
    perform public.ops_put_off(array[p_step.id]);
    return;
  end if;
  if v_count > 0 then
    v_made := public.ops_item_params(p_step, v_list.items, p_context);
  else
    select '{}'::jsonb[] as params, v_list.error into v_made;
  end if;
  if v_made.error is not null then
    perform public.ops_refuse_ready(p_step, v_made.error);
    return;
  end if;
  with item as (
    insert into public.ops_mission_steps (mission_id, key, position, kind, executor, params, status, priority, ready_at, max_retries, timeout_seconds, on_failure,
      parent_id, item_index, dry_run, role, pattern_id, created_at, updated_at)
    select p_step.mission_id, format('%s[%s]', p_step.key, i.n - 1), p_step.position, p_step.kind, p_step.executor, i.params, 'queued', p_step.priority,
      v_now + i.n * interval '1 microsecond', p_step.max_retries, p_step.timeout_seconds, p_step.on_failure, p_step.id, i.n - 1, p_step.dry_run, p_step.role, p_step.pattern_id, v_now, v_now
    from unnest(v_made.params) with ordinality i(params, n) returning id
  )
  update public.ops_mission_steps s set needs = array(select item.id from item), pending_needs = v_count,
    for_each = s.for_each - 'waits' || jsonb_build_object('count', v_count), updated_at = v_now
  where s.id = p_step.id;
  if v_count = 0 then
    perform public.ops_gather_step(p_step);
  else
    perform public.ops_refresh_missions(array[p_step.mission_id]);
  end if;
end $$;
comment on function public.ops_spread_step(public.ops_mission_steps, jsonb) is
  'A for_each step became ready: it becomes one step per item, and waits for them, or for its turn when this transaction has made enough. The caller holds the mission.';

-- Those that were put off, oldest first. Hardly any row is ever in it.
create index if not exists ops_mission_steps_unspread on public.ops_mission_steps (ready_at, id) where status = 'blocked' and for_each ? 'waits';

create or replace function public.ops_spread_one(p_step public.ops_mission_steps) returns void
language plpgsql set search_path = '' as $$
begin
  perform public.ops_ready_steps(array[p_step.id]);
exception when others then
  if public.ops_is_transient(sqlstate) then
    raise;
  end if;
  perform public.ops_refuse_ready(p_step, format('$.steps[%s].for_each: %s', p_step.position - 1, left(sqlerrm, 1000)));
end $$;
comment on function public.ops_spread_one(public.ops_mission_steps) is 'One list by itself; if that fails, its step is failed with the error and holds up nobody.';

create or replace function public.ops_spread_some(p_limit integer default 50) returns jsonb
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_was text := public.ops_engine_begin();
  v_steps public.ops_mission_steps[] := array(select s from public.ops_mission_steps s
    where s.status = 'blocked' and s.for_each ? 'waits' and s.pending_needs = 0 order by s.ready_at, s.id limit p_limit);
  v_missions uuid[];
  v_step public.ops_mission_steps;
  v_spread integer := 0;
begin
  if cardinality(v_steps) > 0 then
    v_missions := array(select m.id from public.ops_missions m where m.id in (select s.mission_id from unnest(v_steps) s) for no key update skip locked);
    -- A share of their own: lists that come in never keep these from their turn.
    perform set_config('ops.spread', '', true);
    foreach v_step in array v_steps loop
      exit when public.ops_spread_left() <= 0;
      if v_step.mission_id = any (v_missions) then
        perform public.ops_spread_one(v_step);
        v_spread := v_spread + 1;
      end if;
    end loop;
    perform public.ops_wake('ops_steps');
  end if;
  perform public.ops_engine_end(v_was);
  return jsonb_build_object('lists', v_spread, 'more', v_spread > 0 and exists (select from public.ops_mission_steps s
    where s.status = 'blocked' and s.for_each ? 'waits' and s.pending_needs = 0));
end $$;
comment on function public.ops_spread_some(integer) is
  'Phase: for_each steps that were put off, oldest first, up to 1,000 items of them: {lists, more}. A mission that somebody holds is left to the next round.';

create or replace function public.ops_gather_step(p_step public.ops_mission_steps) returns void
language plpgsql set search_path = '' as $$
begin
  update public.ops_mission_steps s set status = 'succeeded', updated_at = public.ops_clock(),
    result = (select coalesce(jsonb_agg(i.result order by i.item_index), '[]') from public.ops_mission_steps i where i.parent_id = p_step.id)
  where s.id = p_step.id;
  perform public.ops_satisfy(array[p_step.id]);
  perform public.ops_refresh_missions(array[p_step.mission_id]);
end $$;
comment on function public.ops_gather_step(public.ops_mission_steps) is 'The items of a for_each step have ended: its result is the list of theirs, null for one that failed and may.';

create or replace function public.ops_ready_steps(p_ids uuid[]) returns void
language plpgsql set search_path = '' as $$
declare
  v_id uuid;
  v_full boolean := false;
  v_step public.ops_mission_steps;
begin
  foreach v_id in array coalesce(p_ids, '{}') loop
    if not v_full and public.ops_spread_left() <= 0 then
      v_full := true;
      perform public.ops_put_off(p_ids);
    end if;
    -- Read anew each time: what one of them leads to may have ended or skipped the next.
    select * into v_step from public.ops_mission_steps s where s.id = v_id and s.status = 'blocked' and s.pending_needs = 0
      and not (v_full and s.for_each is not null and not s.for_each ? 'count');
    if found then
      perform public.ops_ready_step(v_step);
    end if;
  end loop;
end $$;
comment on function public.ops_ready_steps(uuid[]) is
  'Makes ready what is still blocked with no need left, each by itself; lists for which this transaction has no room left are put off. The caller holds their missions.';

create or replace function public.ops_skip_step(p_id uuid, p_mission_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  update public.ops_mission_steps s set status = 'skipped', updated_at = public.ops_clock() where s.id = p_id;
  perform public.ops_satisfy(array[p_id]);
  perform public.ops_refresh_missions(array[p_mission_id]);
end $$;
comment on function public.ops_skip_step(uuid, uuid) is 'A step whose own condition was false: skipped, and satisfied for its dependents.';

create or replace function public.ops_satisfy(p_done uuid[]) returns void
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_look uuid[];
begin
  with dependent as (
    select n.id, count(*) as met from public.ops_mission_steps d
    join public.ops_mission_steps n on n.mission_id = d.mission_id and n.status = 'blocked' and d.id = any (n.needs)
    where d.id = any (p_done) group by n.id
  ), moved as (
    update public.ops_mission_steps n set pending_needs = n.pending_needs - c.met, ready_at = v_now, updated_at = v_now,
      status = case when n.pending_needs = c.met and n.leaves is null and n.when_path is null and n.for_each is null then 'queued' else 'blocked' end
    from dependent c where n.id = c.id returning n.id, n.status, n.pending_needs)
  select array_agg(m.id) filter (where m.status = 'blocked' and m.pending_needs = 0) into v_look from moved m;
  if v_look is not null then
    perform public.ops_ready_steps(v_look);
  end if;
end $$;
comment on function public.ops_satisfy(uuid[]) is 'Tells dependents that these steps have ended in a way that lets them go on. The caller holds the missions.';

create or replace function public.ops_refresh_missions(p_ids uuid[]) returns void
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_ended record;
begin
  for v_ended in
    with counted as (
      select i.id as mission_id, count(s.id) = 0 as bare, (count(*) filter (where public.ops_is_open(s.status)))::integer as open,
        (count(*) filter (where s.status = 'failed' and s.on_failure = 'stop'))::integer as failed,
        (count(*) filter (where s.status = 'cancelled'))::integer as cancelled, bool_or(s.reserved_at is not null) as claimed, bool_or(s.dry_run) as dry_run
      from (select distinct u.id from unnest(p_ids) u(id)) i left join public.ops_mission_steps s on s.mission_id = i.id group by i.id
    ), state as (
      -- Without any step, which only a truncate by hand leaves behind, it ends as well.
      select c.*, case when c.bare then 'cancelled' when c.open > 0 and not c.claimed and m.started_at is null then 'approved'
        else public.ops_mission_status(c.open, c.failed, c.cancelled) end as status
      from counted c join public.ops_missions m on m.id = c.mission_id and (not c.bare or m.completed_at is null)
    ), changed as (
      update public.ops_missions m set open_steps = t.open, failed_steps = t.failed, cancelled_steps = t.cancelled, status = t.status, updated_at = v_now,
        started_at = case when t.claimed then coalesce(m.started_at, v_now) else m.started_at end,
        completed_at = case when t.open > 0 then null else coalesce(m.completed_at, v_now) end
      from state t where m.id = t.mission_id
        and (m.open_steps, m.failed_steps, m.cancelled_steps, m.status) is distinct from (t.open, t.failed, t.cancelled, t.status)
      returning m.id, m.status, t.dry_run)
    select c.id, c.status, c.dry_run from changed c where c.status in ('succeeded', 'failed', 'cancelled') order by c.id
  loop
    perform public.ops_raise_mission_event('mission:' || v_ended.status, v_ended.id, jsonb_build_object('mission_id', v_ended.id)
      || case when v_ended.dry_run then '{"dry_run": true}' else '{}'::jsonb end);
  end loop;
end $$;
comment on function public.ops_refresh_missions(uuid[]) is
  'Counts the steps of missions anew and writes counts and status; raises mission:<status> for those that ended. The way of every transition but the plain success. The caller holds the missions.';

create or replace function public.ops_lock_missions(p_step_ids uuid[]) returns uuid[]
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_ids uuid[] := array(select distinct s.mission_id from public.ops_mission_steps s where s.id = any (p_step_ids));
begin
  perform from public.ops_missions m where m.id = any (v_ids) order by m.id for no key update;
  return v_ids;
end $$;
comment on function public.ops_lock_missions(uuid[]) is 'Locks the missions of these steps in id order and answers their ids. The steps are found without locks: they are guarded by status and epoch afterwards.';

-- Claim ---------------------------------------------------------------------------------------------------------

create or replace function public.ops_hold_reason(p_switches jsonb, p_step public.ops_mission_steps) returns text
language plpgsql stable set search_path = '' as $$
begin
  return (
    select 'switch:' || s.scope from unnest(array['mission:' || p_step.mission_id, 'pattern:' || p_step.pattern_id, 'role:' || p_step.role]) s(scope)
    where public.ops_switch_mode(p_switches, s.scope) in ('drain', 'halt') limit 1);
end $$;
comment on function public.ops_hold_reason(jsonb, public.ops_mission_steps) is 'The switch on mission, pattern or role that holds a step, as a wait_reason; null when none does.';

create or replace function public.ops_executor_hold(p_switches jsonb, p_policy jsonb, p_executor text) returns text
language plpgsql stable set search_path = '' as $$
begin
  return (
    select case
      when public.ops_switch_mode(p_switches, 'all') in ('drain', 'halt') then 'switch:all'
      when public.ops_switch_mode(p_switches, 'dispatch') in ('drain', 'halt') then 'switch:dispatch'
      when public.ops_switch_mode(p_switches, 'executor:' || p_executor) in ('drain', 'halt') then 'switch:executor:' || p_executor
      when p_policy ? 'allowed_executors' and not p_policy -> 'allowed_executors' ? p_executor then 'policy:executor:' || p_executor
      when coalesce(p_policy -> 'blocked_executors', '[]') ? p_executor then 'policy:executor:' || p_executor
    end);
end $$;
comment on function public.ops_executor_hold(jsonb, jsonb, text) is 'The switch or worker_policy list that holds everything of an executor, as a wait_reason; null when nothing does.';

create or replace function public.ops_executor_quota(p_executor text, p_bounds jsonb, p_now timestamptz, out quota integer, out reason text)
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_rate integer := public.ops_integer(p_bounds #> '{rate,count}');
  v_minutes numeric := p_bounds #>> '{rate,per_minutes}';
  v_left integer;
begin
  perform public.ops_take_turn('executor:' || p_executor);
  if p_bounds ? 'max_running' then
    quota := greatest(public.ops_integer(p_bounds -> 'max_running') - (
      select count(*) from public.ops_mission_steps s where s.status = 'running' and s.executor = p_executor and s.lease_expires_at > p_now), 0);
    reason := 'limit:executor:' || p_executor;
  end if;
  if v_rate is not null then
    update public.ops_limits l set window_start = p_now, used = 0 where l.key = 'executor:' || p_executor
      and l.window_start + v_minutes * interval '1 minute' <= p_now;
    select greatest(v_rate - l.used, 0)::integer into v_left from public.ops_limits l where l.key = 'executor:' || p_executor;
    if quota is null or v_left < quota then
      quota := v_left;
      reason := 'rate:executor:' || p_executor;
    end if;
  end if;
end $$;
comment on function public.ops_executor_quota(text, jsonb, timestamptz) is
  'How many more steps of an executor may start now under max_running (counted from live leases) and rate, and which of them binds; quota is null without either. Locks the executor''s limit row.';

create or replace function public.ops_hold_steps(p_executor text, p_reason text, p_limit integer, p_now timestamptz) returns void
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
begin
  update public.ops_mission_steps s set status = 'scheduled', wait_reason = p_reason, updated_at = p_now
  from (select q.id from public.ops_mission_steps q where q.status = 'queued' and q.executor = p_executor
    order by q.priority, q.ready_at, q.id limit p_limit for update skip locked) held
  where s.id = held.id;
end $$;
comment on function public.ops_hold_steps(text, text, integer, timestamptz) is 'Takes queued steps of an executor out of the queue, with the reason beside them.';

create or replace function public.ops_let_go(p_reason text, p_limit integer, p_now timestamptz) returns integer
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_count integer;
begin
  update public.ops_mission_steps s set status = 'queued', wait_reason = null, updated_at = p_now
  from (select h.id from public.ops_mission_steps h where h.wait_reason = p_reason
    order by h.priority, h.ready_at, h.id limit p_limit for update skip locked) free
  where s.id = free.id;
  get diagnostics v_count = row_count;
  return v_count;
end $$;
comment on function public.ops_let_go(text, integer, timestamptz) is 'Puts held steps back into the queue, first come first; answers how many.';

create or replace function public.ops_hold_stands(p_reason text, p_switches jsonb, p_policy jsonb) returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return (
    select case split_part(p_reason, ':', 1)
      when 'switch' then coalesce(public.ops_switch_mode(p_switches, substr(p_reason, 8)) in ('drain', 'halt'), false)
      when 'policy' then public.ops_executor_hold(p_switches, p_policy, substr(p_reason, 17)) is not null
      when 'budget' then exists (select from public.ops_budget_caps(public.ops_policy_value('budgets'), public.ops_clock()) c
        where c.budget = substr(p_reason, 8) or p_reason like 'budget:unpriced:%' and c.unit = split_part(p_reason, ':', 4))
      when 'limit' then case split_part(p_reason, ':', 2) when 'key' then public.ops_key_bounds(p_policy, split_part(p_reason, ':', 3)) ? 'max_running'
        else p_policy -> 'executors' -> substr(p_reason, 16) ? 'max_running' end is true
      when 'rate' then case split_part(p_reason, ':', 2) when 'key' then public.ops_key_bounds(p_policy, split_part(p_reason, ':', 3)) ? 'rate'
        else p_policy -> 'executors' -> substr(p_reason, 15) ? 'rate' end is true
      else false
    end);
end $$;
comment on function public.ops_hold_stands(text, jsonb, jsonb) is 'Whether the policy behind a wait_reason still says so.';

create or replace function public.ops_review_holds(p_changed text default null) returns integer
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_switches jsonb := public.ops_policy_value('switches');
  v_policy jsonb := public.ops_policy_value('worker_policy');
  v_reason text := '';
  v_freed integer := 0;
begin
  -- From one reason to the next in the index, however many steps each holds.
  loop
    select s.wait_reason into v_reason from public.ops_mission_steps s where s.wait_reason > v_reason order by s.wait_reason limit 1;
    exit when v_reason is null;
    if v_reason like p_changed || ':%' or not public.ops_hold_stands(v_reason, v_switches, v_policy) then
      v_freed := v_freed + public.ops_let_go(v_reason, 10000, public.ops_clock());
    end if;
  end loop;
  if v_freed > 0 then
    perform public.ops_wake('ops_steps');
  end if;
  return v_freed;
end $$;
comment on function public.ops_review_holds(text) is
  'Queues steps whose hold no longer stands, or whose bounds (of the sort p_changed) are new, and answers how many: a claim that had read the old policy may hold one after the change.';

create or replace function public.ops_claim_quotas(p_executors text[], p_limit integer, p_switches jsonb, p_policy jsonb, p_now timestamptz,
  out executors text[], out quotas integer[])
language plpgsql set search_path = '' as $$
declare
  v_executor text;
  v_hold text;
  v_bound record;
begin
  if coalesce(p_switches -> 'scopes', '{}') = '{}' and not p_policy ?| array['allowed_executors', 'blocked_executors', 'executors'] then
    executors := array(select distinct x from unnest(p_executors) x);
    quotas := array_fill(p_limit, array[cardinality(executors)]);
    return;
  end if;
  for v_executor in select distinct x from unnest(p_executors) x order by x loop
    v_hold := public.ops_executor_hold(p_switches, p_policy, v_executor);
    if v_hold is not null then
      perform public.ops_hold_steps(v_executor, v_hold, p_limit, p_now);
      continue;
    end if;
    if p_policy -> 'executors' -> v_executor ?| array['max_running', 'rate'] then
      v_bound := public.ops_executor_quota(v_executor, p_policy -> 'executors' -> v_executor, p_now);
      if v_bound.quota > 0 then
        perform public.ops_let_go('limit:executor:' || v_executor, v_bound.quota, p_now);
        perform public.ops_let_go('rate:executor:' || v_executor, v_bound.quota, p_now);
        executors := executors || v_executor;
        quotas := quotas || least(v_bound.quota, p_limit);
      else
        perform public.ops_hold_steps(v_executor, v_bound.reason, p_limit, p_now);
      end if;
    else
      executors := executors || v_executor;
      quotas := quotas || p_limit;
    end if;
  end loop;
end $$;
comment on function public.ops_claim_quotas(text[], integer, jsonb, jsonb, timestamptz) is
  'How many steps of each executor a claim may take; holds those of executors that may take none.';

create or replace function public.ops_promote_due(p_now timestamptz) returns void
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
begin
  update public.ops_mission_steps s set status = 'queued', updated_at = p_now
  from (select d.id from public.ops_mission_steps d where d.status = 'scheduled' and d.wait_reason is null and d.ready_at <= p_now
    order by d.ready_at limit 1000 for update skip locked) due
  where s.id = due.id;
end $$;
comment on function public.ops_promote_due(timestamptz) is 'Queues scheduled steps whose time has come, up to 1,000.';

drop function if exists public.ops_pick_steps(text[], integer[], integer, uuid[]);
create or replace function public.ops_pick_steps(p_executors text[], p_quotas integer[], p_limit integer, p_but uuid[], p_marks jsonb default null) returns uuid[]
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
begin
  -- The heads of the queues, merged, say how many of each executor; then exactly as many are locked.
  return array(
    select p.id from (
      select head.executor, head.from_priority, head.from_ready_at, count(*) as n from (
        select q.executor, m.from_priority, m.from_ready_at, h.priority, h.ready_at, h.id from unnest(p_executors, p_quotas) q(executor, quota)
        cross join lateral (select coalesce((p_marks #>> array[q.executor, 'priority'])::integer, -2147483648) as from_priority,
          coalesce((p_marks #>> array[q.executor, 'ready_at'])::timestamptz, '-infinity') as from_ready_at) m
        cross join lateral (select s.priority, s.ready_at, s.id from public.ops_mission_steps s
          where s.status = 'queued' and s.executor = q.executor and (s.priority, s.ready_at) >= (m.from_priority, m.from_ready_at) and s.id <> all (p_but)
          order by s.priority, s.ready_at, s.id limit q.quota) h
        order by h.priority, h.ready_at, h.id limit p_limit) head
      group by head.executor, head.from_priority, head.from_ready_at) q
    cross join lateral (select s.id from public.ops_mission_steps s
      where s.status = 'queued' and s.executor = q.executor and (s.priority, s.ready_at) >= (q.from_priority, q.from_ready_at) and s.id <> all (p_but)
      order by s.priority, s.ready_at, s.id limit q.n for update skip locked) p);
end $$;
comment on function public.ops_pick_steps(text[], integer[], integer, uuid[], jsonb) is
  'Locks up to p_limit queued steps, at most its quota of each executor, in order of priority, ready_at, id over all of them; p_but are left out, and what stands before p_marks {executor: {priority, ready_at}} is not looked at. Waits for nobody.';

-- Others may hold old snapshots (a dump, a report), and as long as they do, entries of the queue that were claimed since stay
-- in its index. A worker that met many of them starts where its last claim did (p_marks), and looks at all now and then.
drop function if exists public.ops_claim_steps(text, text[], integer, numeric);
create or replace function public.ops_claim_steps(p_worker text, p_executors text[], p_limit integer default 100, p_lease_seconds numeric default 60, p_marks jsonb default null)
returns table (id uuid, mission_id uuid, key text, kind text, executor text, params jsonb, lease_epoch bigint,
  lease_expires_at timestamptz, attempt integer, timeout_seconds numeric, role text, traceparent text, dry_run boolean, priority integer, ready_at timestamptz)
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_switches jsonb := public.ops_policy_value('switches');
  v_policy jsonb := public.ops_policy_value('worker_policy');
  v_budgets jsonb := public.ops_policy_value('budgets');
  v_was text := public.ops_engine_begin();
  v_quota record;
  v_plain integer[];
  v_ids uuid[];
  v_reserved jsonb;
begin
  perform public.ops_promote_due(v_now);
  v_quota := public.ops_claim_quotas(p_executors, p_limit, v_switches, v_policy, v_now);
  if exists (select from jsonb_object_keys(coalesce(v_switches -> 'scopes', '{}')) k where k ~ '^(mission|pattern|role):') then
    perform public.ops_hold_switched(v_quota.executors, p_limit, v_switches, v_now);
  end if;
  v_plain := public.ops_plain_quotas(v_quota.executors, v_quota.quotas, v_policy);
  if v_plain is null and v_quota.executors is not null or public.ops_has_budgets(v_budgets) then
    select b.ids, b.reserved into v_ids, v_reserved from public.ops_pick_bounded(v_quota.executors, v_quota.quotas, p_limit, v_policy, v_budgets, v_now) b;
  else
    v_ids := public.ops_pick_steps(v_quota.executors, v_plain, p_limit, '{}', p_marks);
  end if;
  return query
  with claimed as (
    update public.ops_mission_steps s
    set status = 'running', lease_epoch = s.lease_epoch + 1, worker_id = p_worker, reserved_at = v_now,
      lease_expires_at = v_now + p_lease_seconds * interval '1 second', cancel_requested_at = null, updated_at = v_now
    where s.id = any (v_ids) and s.status = 'queued'
    returning s.id, s.mission_id, s.key, s.kind, s.executor, s.params, s.lease_epoch, s.lease_expires_at,
      s.failure_count + s.crash_count + 1 as attempt, s.timeout_seconds, s.role, s.priority, s.ready_at, s.dry_run
  ), attempts as (
    insert into public.ops_action_runs (run_id, step_id, mission_id, executor, worker_id, status, started_at, reserved)
    select c.id::text || ':' || c.lease_epoch, c.id, c.mission_id, c.executor, p_worker, 'started', v_now, v_reserved -> c.id::text from claimed c
  ), fresh as (
    select m.id from public.ops_missions m
    where m.id = any (array(select c.mission_id from claimed c)) and m.status = 'approved' for no key update skip locked
  ), started as (
    update public.ops_missions m set status = 'running', started_at = coalesce(m.started_at, v_now), updated_at = v_now
    where m.id = any (array(select fresh.id from fresh))
  ), spent as (
    update public.ops_limits l set used = l.used + c.n, updated_at = v_now
    from (select claimed.executor, count(*) as n from claimed group by claimed.executor) c
    where v_policy -> 'executors' -> c.executor ? 'rate' and l.key = 'executor:' || c.executor
  )
  select c.id, c.mission_id, c.key, c.kind, c.executor, c.params, c.lease_epoch, c.lease_expires_at, c.attempt, c.timeout_seconds, c.role,
    (select m.traceparent from public.ops_missions m where m.id = c.mission_id), c.dry_run, c.priority, c.ready_at
  from claimed c order by c.priority, c.ready_at, c.id;
  perform public.ops_engine_end(v_was);
end $$;
comment on function public.ops_claim_steps(text, text[], integer, numeric, jsonb) is
  'Takes up to p_limit queued steps of these executors under a lease of p_lease_seconds, in order of priority, ready_at, id; each gets a new lease epoch and an attempt row. Waits for nobody. Steps held by a switch, limit, rate or budget leave the queue with their wait_reason. p_marks {executor: {priority, ready_at}} passes over what stands before: the first rows of the last claim, so that a worker under load need not walk again over what was claimed since; nothing found under a mark says nothing.';

create or replace function public.ops_hold_switched(p_executors text[], p_limit integer, p_switches jsonb, p_now timestamptz) returns void
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
begin
  -- One pass takes out at most as many as the claim wants; repeat until the head of the queue is free of held steps.
  for i in 1 .. 20 loop
    update public.ops_mission_steps s set status = 'scheduled', wait_reason = held.reason, updated_at = p_now
    from (select h.id, public.ops_hold_reason(p_switches, h.step) as reason
      from unnest(p_executors) x(executor)
      cross join lateral (select s.id, s as step from public.ops_mission_steps s
        where s.status = 'queued' and s.executor = x.executor order by s.priority, s.ready_at, s.id limit p_limit for update skip locked) h) held
    where s.id = held.id and held.reason is not null;
    exit when not found;
  end loop;
end $$;
comment on function public.ops_hold_switched(text[], integer, jsonb, timestamptz) is 'Holds queued steps whose mission, pattern or role is switched off, as far as the claim at hand would meet them.';

create or replace function public.ops_own_name(p_worker text, p_instance uuid) returns void
language plpgsql stable set search_path = '' as $$
declare
  v_holder public.ops_workers;
begin
  select * into v_holder from public.ops_workers w where w.name = p_worker and w.instance <> p_instance;
  if found then
    perform public.ops_raise('OPS_006', format('the worker name %s was given to process %s on host %s', p_worker, v_holder.pid, v_holder.host),
      jsonb_build_object('worker', p_worker, 'host', v_holder.host, 'pid', v_holder.pid, 'since', v_holder.started_at),
      'This one was silent for over a minute, or took the name for itself. Give each worker a name of its own (--name), or stop one of them.');
  end if;
end $$;
comment on function public.ops_own_name(text, uuid) is
  'Raises OPS_006 when another instance has this worker''s name: it was silent for so long that it counted as dead. Without an instance, or without a row, it says nothing.';

drop function if exists public.ops_worker_idle(text, text[]);
create or replace function public.ops_worker_idle(p_worker text, p_executors text[], p_instance uuid default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
begin
  perform public.ops_own_name(p_worker, p_instance);
  perform public.ops_raise_flag('ops_steps');
  update public.ops_workers w set seen_at = v_now, executors = p_executors where w.name = p_worker and w.seen_at < v_now - interval '5 seconds';
  return jsonb_build_object('now', v_now, 'next_due_at', (
    select min(t.at) from (
      (select s.ready_at as at from public.ops_mission_steps s where s.status = 'scheduled' and s.wait_reason is null order by s.ready_at limit 1)
      union all
      select l.window_start + (b.bounds #>> '{rate,per_minutes}')::numeric * interval '1 minute'
      from jsonb_each(coalesce(public.ops_policy_value('worker_policy') -> 'executors', '{}')) b(executor, bounds)
      join public.ops_limits l on l.key = 'executor:' || b.executor
      where b.bounds ? 'rate' and exists (select from public.ops_mission_steps s where s.wait_reason = 'rate:executor:' || b.executor)
      union all
      select l.window_start + (b.bounds #>> '{per_key,rate,per_minutes}')::numeric * interval '1 minute'
      from jsonb_each(coalesce(public.ops_policy_value('worker_policy') -> 'executors', '{}')) b(executor, bounds)
      join public.ops_limits l on l.key like 'key:' || b.executor || ':%'
      where b.bounds #> '{per_key}' ? 'rate' and exists (select from public.ops_mission_steps s where s.wait_reason = 'rate:' || l.key)
      union all
      select c.ends_at from public.ops_budget_caps(public.ops_policy_value('budgets'), v_now) c
      where exists (select from public.ops_mission_steps s where s.wait_reason = 'budget:' || c.budget)) t));
end $$;
comment on function public.ops_worker_idle(text, text[], uuid) is
  'A worker found nothing: raises the wake-up flag and answers {now, next_due_at}. The worker looks once more afterwards, then waits. Raises OPS_006 when another instance than p_instance has the name: stop.';

-- Renew ---------------------------------------------------------------------------------------------------------

drop function if exists public.ops_renew_leases(text, jsonb, numeric);
create or replace function public.ops_renew_leases(p_worker text, p_leases jsonb, p_lease_seconds numeric default 60, p_instance uuid default null)
returns table (step_id uuid, held boolean, cancel_requested boolean, halted boolean)
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_switches jsonb := public.ops_policy_value('switches');
  v_halts boolean := v_switches::text like '%"halt"%';
  v_was text := public.ops_engine_begin();
begin
  perform public.ops_own_name(p_worker, p_instance);
  update public.ops_workers w set seen_at = v_now where w.name = p_worker and w.seen_at < v_now - interval '5 seconds';
  return query
  with lease as materialized (
    select l.step_id, l.lease_epoch from jsonb_to_recordset(p_leases) l(step_id uuid, lease_epoch bigint)
  ), mine as materialized (
    select s.id from public.ops_mission_steps s join lease l on l.step_id = s.id and l.lease_epoch = s.lease_epoch
    where s.status || '' = 'running' and s.lease_expires_at > v_now for no key update of s skip locked
  ), renewed as (
    update public.ops_mission_steps s set lease_expires_at = v_now + p_lease_seconds * interval '1 second'
    from mine where s.id = mine.id
    returning s.id, s.lease_epoch as epoch, s.cancel_requested_at is not null as cancel, v_halts and public.ops_is_halted(v_switches, s) as halt
  )
  select l.step_id, r.id is not null, coalesce(r.cancel, false), coalesce(r.halt, false)
  from lease l left join renewed r on r.id = l.step_id and r.epoch = l.lease_epoch
  -- A step that somebody is writing at this moment is left out: neither renewed nor lost.
  where r.id is not null or not exists (
    select from public.ops_mission_steps s where s.id = l.step_id and s.lease_epoch = l.lease_epoch and s.status = 'running' and s.lease_expires_at > v_now);
  perform public.ops_engine_end(v_was);
end $$;
comment on function public.ops_renew_leases(text, jsonb, numeric, uuid) is
  'Extends live leases [{step_id, lease_epoch}] in one statement: a row each with held, cancel_requested and halted. held false means the lease is lost: stop, write nothing. A row that is missing from the answer was being written: ask again. Raises OPS_006, and renews nothing, when another instance than p_instance has the name: stop.';

create or replace function public.ops_is_halted(p_switches jsonb, p_step public.ops_mission_steps) returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return (
    select exists (select from unnest(array['all', 'dispatch', 'executor:' || p_step.executor, 'mission:' || p_step.mission_id,
      'pattern:' || p_step.pattern_id, 'role:' || p_step.role]) s(scope) where public.ops_switch_mode(p_switches, s.scope) = 'halt'));
end $$;
comment on function public.ops_is_halted(jsonb, public.ops_mission_steps) is 'Whether a running step must stop now because one of its scopes is halted.';

-- Complete ------------------------------------------------------------------------------------------------------

create or replace function public.ops_complete_steps(p_worker text, p_results jsonb)
returns table (step_id uuid, lease_epoch bigint, held boolean, status text)
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_ids uuid[];
  v_epochs bigint[];
  v_results jsonb[];
  v_metas jsonb[];
  v_was text := public.ops_engine_begin();
  v_done uuid[];
  v_ready integer;
  v_look uuid[];
  v_reserved jsonb;
  v_holds boolean := exists (select from public.ops_mission_steps s where s.wait_reason is not null);
begin
  select array_agg(r.step_id), array_agg(r.lease_epoch), array_agg(r.result), array_agg(r.meta) into v_ids, v_epochs, v_results, v_metas
  from jsonb_to_recordset(p_results) r(step_id uuid, lease_epoch bigint, result jsonb, meta jsonb);
  perform public.ops_lock_missions(v_ids);
  with input as materialized (
    select i.id, i.epoch, i.result, i.meta from unnest(v_ids, v_epochs, v_results, v_metas) i(id, epoch, result, meta)
  ), done as (
    update public.ops_mission_steps s
    set status = 'succeeded', result = i.result, last_error = null, lease_expires_at = null, updated_at = v_now
    from input i, public.ops_missions m
    where s.id = i.id and s.lease_epoch = i.epoch and s.status || '' = 'running' and m.id = s.mission_id -- by key, not by the list of all running ones
    returning s.id, s.mission_id, s.key, s.kind, s.executor, s.lease_epoch as epoch, s.result, s.dry_run, i.meta, m.root_id, m.depth, m.chain
  ), attempt as (
    update public.ops_action_runs r set status = 'succeeded', completed_at = v_now, meta = d.meta
    from done d where r.run_id = d.id::text || ':' || d.epoch returning r.run_id, r.reserved, r.meta
  ), need as (
    select n.id, count(*) as met from done d
    join public.ops_mission_steps n on n.mission_id = d.mission_id and n.status = 'blocked' and d.id = any (n.needs) group by n.id
  ), next as (
    update public.ops_mission_steps n set pending_needs = n.pending_needs - need.met, ready_at = v_now, updated_at = v_now,
      status = case when n.pending_needs = need.met and n.leaves is null and n.when_path is null and n.for_each is null then 'queued' else 'blocked' end
    from need where n.id = need.id
    returning n.id, n.status, n.pending_needs
  ), mission as (
    update public.ops_missions m
    set open_steps = m.open_steps - c.n, started_at = coalesce(m.started_at, v_now), updated_at = v_now,
      status = case when m.open_steps > c.n then 'running' when m.failed_steps > 0 then 'failed' when m.cancelled_steps > 0 then 'cancelled' else 'succeeded' end,
      completed_at = case when m.open_steps = c.n then v_now end
    from (select done.mission_id, count(*)::integer as n, bool_or(done.dry_run) as dry_run from done group by done.mission_id) c where m.id = c.mission_id
    returning m.id, m.status, m.root_id, m.depth, m.chain, c.dry_run
  ), said as (
    select 'step:' || d.kind || ':succeeded' as type, d.mission_id, d.root_id, d.depth, d.chain, d.dry_run,
      jsonb_build_object('step_id', d.id, 'mission_id', d.mission_id, 'key', d.key, 'executor', d.executor, 'lease_epoch', d.epoch, 'result', d.result) as data
    from done d
    union all
    select 'mission:' || m.status, m.id, m.root_id, m.depth, m.chain, m.dry_run, jsonb_build_object('mission_id', m.id) from mission m where m.status <> 'running'
  ), heard as materialized (
    select t.type, public.ops_can_match(t.type) as open from (select distinct said.type from said) t
  ), event as (
    insert into public.ops_agent_events (type, source, trust, data, mission_id, root_id, depth, chain, outcome, decided_at, processed_at, created_at)
    select x.type, 'ops-loop', 'loop', case when x.dry_run then x.data || '{"dry_run": true}' else x.data end, x.mission_id, x.root_id, x.depth + 1, x.chain,
      case when not h.open then 'unmatched' end, case when not h.open then v_now end, case when not h.open then v_now end, v_now
    from said x join heard h on h.type = x.type
  )
  select array(select d.id from done d), (select count(*) from next where next.status = 'queued'),
    array(select next.id from next where next.status = 'blocked' and next.pending_needs = 0),
    (select jsonb_agg(jsonb_build_object('run_id', a.run_id, 'reserved', a.reserved, 'meta', a.meta, 'outcome', 'succeeded')) from attempt a where a.reserved is not null)
  into v_done, v_ready, v_look, v_reserved;
  perform public.ops_raise_step_events(p_results, v_done);
  if cardinality(v_look) > 0 then
    perform public.ops_ready_steps(v_look);
    v_ready := v_ready + 1;
  end if;
  if v_reserved is not null then
    perform public.ops_settle_budgets(v_reserved);
  end if;
  if v_holds then
    perform public.ops_free_keys(v_done, v_now);
  end if;
  if v_ready > 0 or v_holds then
    perform public.ops_wake('ops_steps');
  end if;
  perform public.ops_engine_end(v_was);
  if cardinality(v_done) = cardinality(v_ids) then
    return query select i.id, i.epoch, true, 'succeeded' from unnest(v_ids, v_epochs) i(id, epoch);
  else
    -- Some changed nothing: lost, or said for the second time.
    return query
    select i.id, i.epoch, coalesce(s.status = 'succeeded' and s.lease_epoch = i.epoch, false), s.status
    from unnest(v_ids, v_epochs) i(id, epoch) left join public.ops_mission_steps s on s.id = i.id;
  end if;
end $$;
comment on function public.ops_complete_steps(text, jsonb) is
  'Records successes [{step_id, lease_epoch, result, events?, meta?}] with attempts, next steps, mission status and events in one transaction. A row each: held false means the lease was lost and nothing changed for that step. Said twice, it is recorded once and held both times.';

create or replace function public.ops_raise_step_events(p_results jsonb, p_done uuid[]) returns void
language plpgsql set search_path = '' as $$
begin
  if not jsonb_path_exists(p_results, '$[*].events[0]') then
    return;
  end if;
  perform case when public.ops_event_problem(b.e) is null
    then public.ops_raise_mission_event(b.e ->> 'type', b.mission_id, coalesce(b.e -> 'data', '{}') || jsonb_build_object('step_id', b.id),
      coalesce(b.e ->> 'dedupe_key', b.id::text || ':' || (b.e ->> 'type') || ':' || b.n))
    else public.ops_raise_mission_event('loop:event_refused', b.mission_id,
      jsonb_build_object('step_id', b.id, 'problem', public.ops_event_problem(b.e), 'type', left(b.e ->> 'type', 200)), b.id::text || ':refused:' || b.n) end
  from (
    select s.id, s.mission_id, x.e, x.n from jsonb_array_elements(p_results) r
    join public.ops_mission_steps s on s.id = (r ->> 'step_id')::uuid and s.id = any (p_done)
    cross join lateral jsonb_array_elements(case when jsonb_typeof(r -> 'events') = 'array' then r -> 'events' else '[]' end) with ordinality x(e, n)) b;
end $$;
comment on function public.ops_raise_step_events(jsonb, uuid[]) is 'Raises the events that steps brought with their results, once per step and place, for the steps whose results were recorded. A malformed one, or one of the loop''s own types, becomes loop:event_refused: it never costs the result.';

-- Fail ----------------------------------------------------------------------------------------------------------

create or replace function public.ops_failure_verdict(p_step public.ops_mission_steps, p_outcome text, p_retry_after numeric, p_idempotent boolean, p_policy jsonb,
  out status text, out cause text, out failures integer, out crashes integer, out delay_seconds numeric)
language plpgsql volatile set search_path = '' as $$
declare
  v_max integer := coalesce(p_step.max_retries, public.ops_integer(p_policy -> 'max_retries'), 3);
  v_base numeric := coalesce((p_policy #>> '{backoff,base_seconds}')::numeric, 2);
  v_cap numeric := coalesce((p_policy #>> '{backoff,cap_seconds}')::numeric, 900);
begin
  crashes := p_step.crash_count + (p_outcome = 'crashed')::integer;
  failures := p_step.failure_count + (p_outcome not in ('crashed', 'cancelled', 'rate_limited'))::integer;
  if p_outcome = 'cancelled' or p_step.cancel_requested_at is not null then
    status := 'cancelled';
    return;
  end if;
  cause := case
    when p_outcome = 'permanent' then 'permanent'
    when p_outcome in ('unknown', 'timed_out', 'crashed') and not p_idempotent then 'unknown'
    when crashes >= 3 then 'worker_crash'
    when failures >= v_max then 'exhausted'
  end;
  if cause is not null then
    status := 'failed';
    return;
  end if;
  delay_seconds := case when p_outcome = 'crashed' and crashes = 1 then 0
    else greatest(public.ops_backoff_seconds(greatest(failures, crashes), v_base, v_cap, random()), least(coalesce(p_retry_after, 0), 604800)) end;
  status := case when delay_seconds = 0 then 'queued' else 'scheduled' end;
end $$;
comment on function public.ops_failure_verdict(public.ops_mission_steps, text, numeric, boolean, jsonb) is
  'What an ended attempt makes of its step: its next status, the dead letter''s cause if it is out of attempts, the new counts and the wait in seconds (what the other side asked for counts up to a week). Being turned away (rate_limited) costs no attempt. A crash, a timeout or an unknown outcome is tried again only by idempotent executors, by their trait or because worker_policy declares them so; three crashes are poison.';

create or replace function public.ops_settle(p_failures jsonb, p_from text, p_expired_before timestamptz)
returns table (step_id uuid, lease_epoch bigint, status text, ready_at timestamptz, dead_lettered boolean)
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_policy jsonb := public.ops_policy_value('worker_policy');
  v_settled jsonb;
  v_reserved jsonb;
  v_item jsonb;
begin
  with input as (
    select f.* from jsonb_to_recordset(p_failures) f(step_id uuid, lease_epoch bigint, outcome text, error text, error_class text, retry_after_seconds numeric, meta jsonb, taken boolean)
  ), verdict as materialized (
    select i.*, s.status as was, v.status, v.cause, v.failures, v.crashes, v.delay_seconds, coalesce(s.max_retries, public.ops_integer(v_policy -> 'max_retries'), 3) as bound
    from input i
    join public.ops_mission_steps s on s.id = i.step_id and s.lease_epoch = i.lease_epoch and s.status || '' = p_from
      and (p_expired_before is null or s.lease_expires_at < p_expired_before)
    left join public.ops_executors x on x.name = s.executor
    cross join lateral public.ops_failure_verdict(s, i.outcome, i.retry_after_seconds,
      coalesce((v_policy #>> array['executors', s.executor, 'idempotent'])::boolean, x.idempotent, false), v_policy) v
  ), ended as (
    update public.ops_mission_steps s
    set status = v.status, lease_expires_at = null, last_error = left(v.error, 8000), updated_at = v_now,
      lease_epoch = s.lease_epoch + coalesce(v.taken, false)::integer,
      failure_count = case when v.cause is not null then greatest(v.failures, v.bound) else v.failures end, crash_count = v.crashes,
      ready_at = case when v.delay_seconds is not null then v_now + v.delay_seconds * interval '1 second' else s.ready_at end
    from verdict v where s.id = v.step_id and s.lease_epoch = v.lease_epoch and s.status || '' = p_from
      and (p_expired_before is null or s.lease_expires_at < p_expired_before)
    returning s.id, s.mission_id, s.key, s.kind, s.executor, s.params, s.series, s.on_failure, s.ready_at, s.dry_run, v.lease_epoch as epoch,
      v.status, v.cause, v.failures, v.crashes, v.outcome, v.error, v.error_class, v.meta
  ), attempt as (
    update public.ops_action_runs r
    set completed_at = v_now, meta = e.meta, error = left(e.error, 8000),
      status = case e.outcome when 'crashed' then 'crashed' when 'timed_out' then 'timed_out' when 'cancelled' then 'cancelled' when 'unknown' then 'unknown' else 'failed' end
    from ended e where r.run_id = e.id::text || ':' || e.epoch returning r.run_id, r.reserved, e.meta, e.outcome
  ), letter as (
    insert into public.ops_step_dead_letters (step_id, mission_id, series, kind, executor, cause, attempts, failure_count, crash_count, error_class, last_error, params, created_at)
    select e.id, e.mission_id, e.series, e.kind, e.executor, e.cause, e.failures + e.crashes, e.failures, e.crashes, e.error_class, left(e.error, 8000), e.params,
      v_now + row_number() over (order by e.id) * interval '1 microsecond'
    from ended e where e.cause is not null on conflict on constraint ops_step_dead_letters_once do nothing
  )
  select jsonb_agg(to_jsonb(e) order by e.id), (select jsonb_agg(to_jsonb(a)) from attempt a where a.reserved is not null) into v_settled, v_reserved from ended e;
  perform public.ops_settle_budgets(v_reserved);
  perform public.ops_free_keys(array(select (i ->> 'id')::uuid from jsonb_array_elements(coalesce(v_settled, '[]')) i), v_now);
  for v_item in select i from jsonb_array_elements(coalesce(v_settled, '[]')) i where i ->> 'status' in ('failed', 'cancelled') loop
    perform public.ops_after_end(v_item);
  end loop;
  perform public.ops_refresh_missions(array(select distinct (i ->> 'mission_id')::uuid from jsonb_array_elements(coalesce(v_settled, '[]')) i));
  return query
  select (i ->> 'id')::uuid, (i ->> 'epoch')::bigint, i ->> 'status', (i ->> 'ready_at')::timestamptz, i ->> 'cause' is not null
  from jsonb_array_elements(coalesce(v_settled, '[]')) i;
end $$;
comment on function public.ops_settle(jsonb, text, timestamptz) is
  'Ends attempts that did not succeed: retry with backoff, dead letter or cancelled, with attempts, events and mission status. Guarded by status and epoch (and an expired lease if given); `taken` raises the epoch, because the worker was not asked. Answers a row per step it changed. The caller holds the missions.';

create or replace function public.ops_after_end(p_step jsonb) returns void
language plpgsql set search_path = '' as $$
declare
  v_id uuid := p_step ->> 'id';
  v_mission uuid := p_step ->> 'mission_id';
  v_data jsonb := jsonb_build_object('step_id', v_id, 'mission_id', v_mission, 'key', p_step -> 'key', 'kind', p_step -> 'kind', 'executor', p_step -> 'executor',
    'cause', p_step -> 'cause', 'error', left(p_step ->> 'error', 2000), 'error_class', p_step -> 'error_class')
    || case when p_step -> 'dry_run' = 'true' then '{"dry_run": true}' else '{}'::jsonb end;
begin
  if p_step ->> 'status' = 'failed' then
    perform public.ops_raise_mission_event('step:' || (p_step ->> 'kind') || ':failed', v_mission, v_data);
    perform public.ops_raise_mission_event('step:dead_lettered', v_mission, v_data);
  end if;
  if p_step ->> 'status' = 'failed' and p_step ->> 'on_failure' = 'stop' then
    update public.ops_mission_steps s set status = 'skipped', skipped_for = v_id, wait_reason = null, updated_at = public.ops_clock()
    where s.mission_id = v_mission and s.status in ('blocked', 'scheduled', 'queued');
  else
    perform public.ops_unblock(v_mission);
  end if;
end $$;
comment on function public.ops_after_end(jsonb) is
  'What the end of a step without success means for the others: events; a stop failure skips what has not started, anything else is looked at need by need.';

create or replace function public.ops_unblock(p_mission_id uuid) returns void
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
begin
  loop
    update public.ops_mission_steps s set status = 'skipped', skipped_for = dead.culprit, updated_at = v_now
    from (select distinct on (b.id) b.id, coalesce(n.skipped_for, n.id) as culprit
      from public.ops_mission_steps b join public.ops_mission_steps n on n.id = any (b.needs)
      where b.mission_id = p_mission_id and b.status = 'blocked'
        and (n.status = 'cancelled' or n.status = 'failed' and n.on_failure = 'stop' or n.status = 'skipped' and n.skipped_for is not null)
      order by b.id, n.position) dead
    where s.id = dead.id;
    exit when not found;
  end loop;
  update public.ops_mission_steps s set pending_needs = public.ops_unmet_needs(s.needs), updated_at = v_now
  where s.mission_id = p_mission_id and s.status = 'blocked' and s.pending_needs <> public.ops_unmet_needs(s.needs);
  perform public.ops_ready_steps(array(select s.id from public.ops_mission_steps s
    where s.mission_id = p_mission_id and s.status = 'blocked' and s.pending_needs = 0 order by s.position));
end $$;
comment on function public.ops_unblock(uuid) is
  'Looks at every blocked step of a mission anew: one behind a cancelled, stopped or skipped step is skipped for it, one with no need left is made ready. The caller holds the mission.';

create or replace function public.ops_unmet_needs(p_needs uuid[]) returns integer
language plpgsql stable set search_path = '' as $$
begin
  return (
    select count(*)::integer from public.ops_mission_steps n where n.id = any (p_needs)
      and not (n.status = 'succeeded' or n.status = 'skipped' and n.skipped_for is null or n.status = 'failed' and n.on_failure = 'continue'));
end $$;
comment on function public.ops_unmet_needs(uuid[]) is
  'How many of these steps do not let a dependent go on: all but the succeeded, those skipped by their own condition, and failed ones whose on_failure is continue.';

create or replace function public.ops_fail_steps(p_worker text, p_failures jsonb)
returns table (step_id uuid, lease_epoch bigint, held boolean, status text, ready_at timestamptz, dead_lettered boolean)
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_was text := public.ops_engine_begin();
  v_bad text;
begin
  select coalesce(f ->> 'outcome', 'null') into v_bad from jsonb_array_elements(p_failures) f
  where coalesce(f ->> 'outcome', '') not in ('retryable', 'permanent', 'rate_limited', 'timed_out', 'cancelled', 'unknown') limit 1;
  if found then
    perform public.ops_raise('OPS_011', format('outcome %s is not known', v_bad), null, 'Use retryable, permanent, rate_limited, timed_out, cancelled or unknown.');
  end if;
  perform public.ops_lock_missions(array(select (f ->> 'step_id')::uuid from jsonb_array_elements(p_failures) f));
  return query
  with input as (select f.step_id, f.lease_epoch from jsonb_to_recordset(p_failures) f(step_id uuid, lease_epoch bigint)),
  settled as materialized (select s.* from public.ops_settle(p_failures, 'running', null) s)
  select i.step_id, i.lease_epoch,
    s.step_id is not null or coalesce(r.status in ('failed', 'timed_out', 'cancelled', 'unknown') and t.lease_epoch = i.lease_epoch, false),
    coalesce(s.status, t.status), s.ready_at, coalesce(s.dead_lettered, false)
  from input i
  left join settled s on s.step_id = i.step_id and s.lease_epoch = i.lease_epoch
  left join public.ops_mission_steps t on t.id = i.step_id
  left join public.ops_action_runs r on r.run_id = i.step_id::text || ':' || i.lease_epoch;
  perform public.ops_wake('ops_steps');
  perform public.ops_engine_end(v_was);
end $$;
comment on function public.ops_fail_steps(text, jsonb) is
  'Records attempts that did not succeed [{step_id, lease_epoch, outcome, error, error_class?, retry_after_seconds?, meta?}]; outcome is retryable, permanent, rate_limited, timed_out, cancelled or unknown. A row each; held false means the lease was lost and nothing changed. Raises OPS_011 for an unknown outcome.';

create or replace function public.ops_release_steps(p_worker text, p_leases jsonb)
returns table (step_id uuid, lease_epoch bigint, held boolean, status text)
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_was text := public.ops_engine_begin();
begin
  perform public.ops_lock_missions(array(select (l ->> 'step_id')::uuid from jsonb_array_elements(p_leases) l));
  return query
  with lease as (select l.step_id, l.lease_epoch from jsonb_to_recordset(p_leases) l(step_id uuid, lease_epoch bigint)),
  freed as (
    update public.ops_mission_steps s
    set status = case when s.cancel_requested_at is not null then 'cancelled' when stop.id is not null then 'skipped' else 'queued' end,
      skipped_for = stop.id, lease_expires_at = null, updated_at = v_now
    from lease l
    left join public.ops_mission_steps mine on mine.id = l.step_id
    left join lateral (select f.id from public.ops_mission_steps f
      where f.mission_id = mine.mission_id and f.status = 'failed' and f.on_failure = 'stop' limit 1) stop on true
    where s.id = l.step_id and s.lease_epoch = l.lease_epoch and s.status = 'running'
    returning s.id, s.status, s.mission_id, l.lease_epoch as epoch
  ), attempt as (
    update public.ops_action_runs r set status = 'released', completed_at = v_now from freed f where r.run_id = f.id::text || ':' || f.epoch
    returning r.run_id, r.reserved, 'released' as outcome
  ), settled as (
    select public.ops_settle_budgets(jsonb_agg(to_jsonb(a))) from attempt a where a.reserved is not null)
  select l.step_id, l.lease_epoch, f.id is not null, f.status from lease l left join freed f on f.id = l.step_id and f.epoch = l.lease_epoch cross join settled;
  perform public.ops_free_keys(array(select (l ->> 'step_id')::uuid from jsonb_array_elements(p_leases) l), v_now);
  -- A step may have been retried behind one that was asked to stop: it waits for a step that has ended by now.
  perform public.ops_unblock(e.mission_id) from (select distinct s.mission_id from public.ops_mission_steps s
    where s.id in (select (l ->> 'step_id')::uuid from jsonb_array_elements(p_leases) l) and s.status in ('cancelled', 'skipped')) e;
  perform public.ops_refresh_missions(array(select distinct s.mission_id from public.ops_mission_steps s
    where s.id in (select (l ->> 'step_id')::uuid from jsonb_array_elements(p_leases) l)));
  perform public.ops_wake('ops_steps');
  perform public.ops_engine_end(v_was);
end $$;
comment on function public.ops_release_steps(text, jsonb) is
  'Gives back steps [{step_id, lease_epoch}] that have not started; no attempt is counted. A row each; held false means the lease was lost.';

-- Recovery: by anyone, needs no leader ---------------------------------------------------------------------------

create or replace function public.ops_within_reach(p_failures jsonb) returns jsonb
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_missions uuid[];
begin
  v_missions := array(select m.id from public.ops_missions m where m.id = any (array(
    select s.mission_id from public.ops_mission_steps s where s.id in (select (f ->> 'step_id')::uuid from jsonb_array_elements(p_failures) f)))
    for no key update skip locked);
  return (select coalesce(jsonb_agg(f), '[]') from jsonb_array_elements(p_failures) f
    where (select s.mission_id from public.ops_mission_steps s where s.id = (f ->> 'step_id')::uuid) = any (v_missions));
end $$;
comment on function public.ops_within_reach(jsonb) is
  'Of these steps the ones whose missions nobody else holds; they are locked now. The rest is the next call''s: recovery waits for nobody, so that a beat, which recovers twice, keeps the lock order.';

create or replace function public.ops_settle_one(p_failure jsonb, p_expired_before timestamptz)
returns table (step_id uuid, status text)
language plpgsql set search_path = '' as $$
begin
  return query select s.step_id, s.status from public.ops_settle(jsonb_build_array(p_failure), 'running', p_expired_before) s;
exception when others then
  if public.ops_is_transient(sqlstate) then
    raise;
  end if;
  perform public.ops_raise_event('loop:recovery_failed', jsonb_build_object('step_id', p_failure -> 'step_id', 'lease_epoch', p_failure -> 'lease_epoch', 'error', left(sqlerrm, 1000)),
    format('recovery_failed:%s:%s', p_failure ->> 'step_id', p_failure ->> 'lease_epoch'));
end $$;
comment on function public.ops_settle_one(jsonb, timestamptz) is
  'Ends one attempt whose lease is over; if that fails, says so in an event and holds up nobody.';

create or replace function public.ops_settle_lost(p_failures jsonb, p_expired_before timestamptz)
returns table (step_id uuid, status text)
language plpgsql set search_path = '' as $$
declare
  v_failures jsonb := public.ops_within_reach(p_failures);
begin
  return query select s.step_id, s.status from public.ops_settle(v_failures, 'running', p_expired_before) s;
exception when others then
  if public.ops_is_transient(sqlstate) then
    raise;
  end if;
  return query select o.step_id, o.status from jsonb_array_elements(v_failures) f cross join lateral public.ops_settle_one(f, p_expired_before) o;
end $$;
comment on function public.ops_settle_lost(jsonb, timestamptz) is
  'Ends attempts whose workers are not asked, those of missions that nobody else holds: together, or one by one when one of them cannot be ended.';

create or replace function public.ops_recover_expired_leases(p_limit integer default 200) returns jsonb
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_was text := public.ops_engine_begin();
  v_ids uuid[];
  v_crashed jsonb;
  v_requeued integer := 0;
  v_failed integer := 0;
begin
  select array_agg(l.id), jsonb_agg(jsonb_build_object('step_id', l.id, 'lease_epoch', l.lease_epoch, 'outcome', 'crashed', 'taken', true,
      'error', format('lease of worker %s ended without a sign of life', l.worker_id), 'error_class', 'LeaseExpired'))
  into v_ids, v_crashed
  from (select s.id, s.lease_epoch, s.worker_id from public.ops_mission_steps s
    where s.status = 'running' and s.lease_expires_at < v_now order by s.lease_expires_at limit p_limit) l;
  if v_ids is not null then
    select count(*) filter (where s.status in ('queued', 'scheduled')) as requeued, count(*) filter (where s.status in ('failed', 'cancelled')) as failed
    into v_requeued, v_failed from public.ops_settle_lost(v_crashed, v_now) s;
    perform public.ops_wake('ops_steps');
  end if;
  perform public.ops_engine_end(v_was);
  return jsonb_build_object('requeued_steps', v_requeued, 'failed_steps', v_failed,
    'more', coalesce(cardinality(v_ids) >= p_limit and v_requeued + v_failed > 0, false));
end $$;
comment on function public.ops_recover_expired_leases(integer) is
  'Phase, also called by every worker: ends leases that ran out, up to p_limit: {requeued_steps, failed_steps, more}. Idempotent executors run again, others become dead letters of cause unknown. The state is rechecked in the write.';

create or replace function public.ops_recover_stale_steps(p_minutes numeric default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_policy jsonb := public.ops_policy_value('worker_policy');
  v_minutes numeric := coalesce(p_minutes, (v_policy ->> 'stale_minutes')::numeric, 15);
  v_was text := public.ops_engine_begin();
  v_stale jsonb;
  v_found integer;
  v_recovered integer := 0;
  v_missions uuid[];
begin
  select jsonb_agg(jsonb_build_object('step_id', t.id, 'lease_epoch', t.lease_epoch, 'taken', true, 'outcome', t.outcome, 'error', t.error, 'error_class', 'Stale')), count(*)
  into v_stale, v_found
  from (
    select s.id, s.lease_epoch, case when s.lease_expires_at > v_now then 'timed_out' else 'crashed' end as outcome,
      case when s.lease_expires_at > v_now then 'ran past its timeout and its worker did not end it' else format('running without a live lease for over %s minutes', v_minutes) end as error
    from public.ops_mission_steps s where s.status = 'running' and (
      s.lease_expires_at < v_now - v_minutes * interval '1 minute'
      or s.lease_expires_at > v_now and s.reserved_at < v_now - interval '1 minute' - coalesce(s.timeout_seconds, (v_policy -> 'executors' -> s.executor ->> 'timeout_seconds')::numeric,
        (v_policy ->> 'timeout_seconds')::numeric, 600) * interval '1 second')
    order by s.reserved_at limit 201) t;
  if v_found > 200 then
    perform public.ops_raise_event('heartbeat:stale_over_limit', jsonb_build_object('code', 'OPS_010', 'limit', 200),
      'stale_over_limit:' || date_trunc('hour', v_now));
  end if;
  if v_found > 0 then
    -- The lease is looked at again in the write: a renewal may have come in between.
    select count(*) into v_recovered from (
      select s.step_id from public.ops_settle_lost(jsonb_path_query_array(v_stale, '$[*] ? (@.outcome == "crashed")'), v_now - v_minutes * interval '1 minute') s
      union all
      select s.step_id from public.ops_settle_lost(jsonb_path_query_array(v_stale, '$[*] ? (@.outcome == "timed_out")'), null) s) settled;
  end if;
  select array_agg(m.mission_id) into v_missions from (
    select distinct b.mission_id from public.ops_mission_steps b where b.status = 'blocked' and b.updated_at < v_now - v_minutes * interval '1 minute'
      and not exists (select from public.ops_mission_steps s where s.mission_id = b.mission_id and s.status in ('scheduled', 'queued', 'running'))
    limit 200) m;
  if v_missions is not null then
    v_recovered := v_recovered + public.ops_repair_missions(v_missions);
  end if;
  perform public.ops_engine_end(v_was);
  return jsonb_build_object('recovered', v_recovered);
end $$;
comment on function public.ops_recover_stale_steps(numeric) is
  'Phase: steps running without a live lease for longer than p_minutes (worker_policy.stale_minutes, else 15) or past their timeout under a live one, and missions whose state their steps contradict: {recovered}. Over 200 at once raises an event with OPS_010.';

create or replace function public.ops_repair_missions(p_ids uuid[]) returns integer
language plpgsql set search_path = '' as $$
declare
  v_ids uuid[] := array(select m.id from public.ops_missions m where m.id = any (p_ids) for no key update skip locked);
  v_id uuid;
begin
  foreach v_id in array v_ids loop
    perform public.ops_unblock(v_id);
  end loop;
  perform public.ops_refresh_missions(v_ids);
  return cardinality(v_ids);
end $$;
comment on function public.ops_repair_missions(uuid[]) is 'Looks at the blocked steps of missions anew and counts them; answers how many it could; one that somebody holds is left to the next beat.';

-- An operator's verbs -------------------------------------------------------------------------------------------

create or replace function public.ops_check_step(p_step public.ops_mission_steps) returns void
language plpgsql set search_path = '' as $$
declare
  v_problem text := case
    when jsonb_typeof(p_step.params) is distinct from 'object' then 'params must be an object'
    when p_step.kind !~ '^[A-Za-z0-9_.-]{1,100}$' then 'kind must be a word'
    when p_step.executor !~ '^[A-Za-z0-9_.-]{1,100}$' then 'executor must be a word'
    when p_step.timeout_seconds not between 0.001 and 604800 then 'timeout_seconds must be above 0 and up to 604800'
    when p_step.max_retries not between 1 and 100 then 'max_retries must be 1 to 100'
    when p_step.failure_count not between 0 and 1000 or p_step.crash_count not between 0 and 1000 then 'counts of tries must be 0 to 1000' end;
begin
  if v_problem is not null then
    perform public.ops_raise('OPS_011', v_problem, jsonb_build_object('step_id', p_step.id), 'Correct the value; as it is, no worker could run this step or any beside it.');
  end if;
end $$;
comment on function public.ops_check_step(public.ops_mission_steps) is
  'Raises OPS_011 for a step as somebody typed it that a claim, a worker or recovery could not handle.';

create or replace function public.ops_step_edited() returns trigger
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_revived boolean := old.status in ('failed', 'cancelled') and new.status = 'queued';
begin
  if (old.id, old.mission_id, old.key, old.kind, old.executor, old.params, old.status, old.priority, old.ready_at, old.lease_epoch, old.max_retries, old.timeout_seconds, old.on_failure, old.failure_count, old.crash_count, old.last_error, old.result, old.reserved_at, old.lease_expires_at, old.worker_id)
    is not distinct from (new.id, new.mission_id, new.key, new.kind, new.executor, new.params, new.status, new.priority, new.ready_at, new.lease_epoch, new.max_retries, new.timeout_seconds, new.on_failure, new.failure_count, new.crash_count, new.last_error, new.result, new.reserved_at, new.lease_expires_at, new.worker_id) then
    return new; -- a column that an operator added is a note
  end if;
  if old.status is distinct from new.status and not v_revived
    and not (new.status = 'queued' and old.status = 'scheduled')
    and not (new.status = 'cancelled' and old.status in ('blocked', 'scheduled', 'queued')) then
    perform public.ops_raise('OPS_015', format('a step cannot go from %s to %s by hand', old.status, new.status),
      jsonb_build_object('step_id', old.id, 'from', old.status, 'to', new.status),
      'A failed or cancelled step may be set to queued, a scheduled one to queued, one that has not started to cancelled. A running one ends with its lease, or by ops_cancel_mission.');
  end if;
  if (old.id, old.mission_id, old.lease_epoch) is distinct from (new.id, new.mission_id, new.lease_epoch) then
    perform public.ops_raise('OPS_015', 'id, mission_id and lease_epoch of a step never change by hand', jsonb_build_object('step_id', old.id));
  end if;
  perform public.ops_check_step(new);
  new.updated_at := v_now;
  if new.status <> 'scheduled' then
    new.wait_reason := null;
  end if;
  if v_revived then
    new.series := old.series + 1;
    new.lease_epoch := old.lease_epoch + 1;
    new.failure_count := 0;
    new.crash_count := 0;
    new.last_error := null;
    new.reserved_at := null;
    new.lease_expires_at := null;
    new.cancel_requested_at := null;
    new.result := null;
    new.ready_at := v_now;
    new.pending_needs := public.ops_unmet_needs(new.needs);
    if new.pending_needs > 0 or old.leaves is not null or old.when_path is not null or old.for_each is not null then
      new.status := 'blocked';
    end if;
  end if;
  if old.status is distinct from new.status then
    perform set_config('ops.edited', coalesce(current_setting('ops.edited', true), '') || ',' || new.id, true);
  end if;
  return new;
end $$;
comment on function public.ops_step_edited() is
  'Trigger: what an operator may change on a step. Reviving a failed or cancelled one opens a new series with a new lease epoch. Raises OPS_015 for anything else.';

create or replace function public.ops_operators_lock() returns void
language plpgsql set search_path = '' as $$
begin
  perform pg_advisory_xact_lock(hashtext('public.ops_mission_steps by hand'));
end $$;
comment on function public.ops_operators_lock() is
  'One at a time for changes of steps by hand, and for the functions that make them: a typed statement locks steps before it can know their missions.';

create or replace function public.ops_steps_edit() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform public.ops_operators_lock();
  perform set_config('ops.edited', '', true);
  return null;
end $$;
comment on function public.ops_steps_edit() is 'Trigger: a statement by hand begins.';

create or replace function public.ops_after_revival(p_id uuid, p_mission_id uuid) returns void
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_stop uuid := (select f.id from public.ops_mission_steps f where f.mission_id = p_mission_id and f.status = 'failed' and f.on_failure = 'stop' order by f.position limit 1);
begin
  update public.ops_mission_steps s
  set status = case when v_stop is null then 'blocked' else 'skipped' end, skipped_for = v_stop, updated_at = v_now
  where s.mission_id = p_mission_id and s.skipped_for = p_id;
  update public.ops_step_dead_letters d
  set state = 'requeued', resolved_at = v_now, resolution = coalesce(nullif(current_setting('ops.reason', true), ''), 'step was queued again')
  where d.step_id = p_id and d.state = 'open';
end $$;
comment on function public.ops_after_revival(uuid, uuid) is
  'What reviving a step leads to: steps skipped for it wait again (unless another stop failure still stands), its dead letter is closed.';

create or replace function public.ops_steps_edited() returns trigger
language plpgsql set search_path = '' as $$
declare
  v_was text := public.ops_engine_begin();
  v_edited uuid[] := string_to_array(trim(leading ',' from coalesce(current_setting('ops.edited', true), '')), ',')::uuid[];
  v_missions uuid[] := public.ops_lock_missions(v_edited);
  v_step record;
begin
  perform set_config('ops.edited', '', true);
  for v_step in select s.id, s.mission_id from public.ops_mission_steps s where s.id = any (v_edited) and s.status in ('queued', 'blocked') and s.series > 1 order by s.id loop
    perform public.ops_after_revival(v_step.id, v_step.mission_id);
  end loop;
  perform public.ops_unblock(m.id) from unnest(v_missions) m(id);
  perform public.ops_refresh_missions(v_missions);
  perform public.ops_engine_end(v_was);
  perform public.ops_wake('ops_steps');
  return null;
end $$;
comment on function public.ops_steps_edited() is
  'Trigger: what a statement by hand leads to, for all its steps together, their missions locked in id order: revivals, dependents, missions counted anew.';

-- A condition is read anew by every statement, the engine's too: what is to be compared is compared in the function.
create or replace trigger ops_step_edited before update on public.ops_mission_steps
  for each row when (coalesce(current_setting('ops.engine', true), '') <> 'on') execute function public.ops_step_edited();
create or replace trigger ops_steps_edit before update of status on public.ops_mission_steps
  for each statement when (coalesce(current_setting('ops.engine', true), '') <> 'on') execute function public.ops_steps_edit();
create or replace trigger ops_steps_edited after update of status on public.ops_mission_steps
  for each statement when (coalesce(current_setting('ops.engine', true), '') <> 'on') execute function public.ops_steps_edited();

create or replace function public.ops_refuse_row() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform public.ops_raise('OPS_015', format('%s of a row of %s by hand is refused', lower(tg_op), tg_table_name), jsonb_build_object('id', coalesce(to_jsonb(new), to_jsonb(old)) -> 'id'),
    case tg_op when 'INSERT' then 'Create a proposal: ops_create_proposal(template). Copies of existing rows, with their created_at, are let in.'
      when 'DELETE' then 'Only finished steps, and missions finished 90 days ago, may be deleted; to end one now: ops_cancel_mission(id).'
      else 'A mission''s status follows from its steps: ops_cancel_mission(id), ops_retry_mission(id).' end);
  return null;
end $$;
comment on function public.ops_refuse_row() is 'Trigger: refuses with OPS_015 and the way out what only the engine may do.';
create or replace trigger ops_step_inserted before insert on public.ops_mission_steps
  for each row when (coalesce(current_setting('ops.engine', true), '') <> 'on' and new.created_at >= now())
  execute function public.ops_refuse_row();
create or replace trigger ops_step_deleted before delete on public.ops_mission_steps
  for each row when (coalesce(current_setting('ops.engine', true), '') <> 'on' and old.status in ('blocked', 'scheduled', 'queued', 'running'))
  execute function public.ops_refuse_row();
create or replace trigger ops_mission_inserted before insert on public.ops_missions
  for each row when (coalesce(current_setting('ops.engine', true), '') <> 'on' and new.created_at >= now())
  execute function public.ops_refuse_row();
create or replace trigger ops_mission_deleted before delete on public.ops_missions
  for each row when (coalesce(current_setting('ops.engine', true), '') <> 'on' and coalesce(old.completed_at > now() - interval '90 days', true))
  execute function public.ops_refuse_row();
-- After, not before: a row trigger before an update locks every row it sees, the engine's own too.
drop trigger if exists ops_mission_edited on public.ops_missions;
create trigger ops_mission_edited after update of status on public.ops_missions
  for each row when (coalesce(current_setting('ops.engine', true), '') <> 'on' and old.status is distinct from new.status)
  execute function public.ops_refuse_row();

create or replace function public.ops_retry_step(p_id uuid, p_reason text default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_was text := coalesce(current_setting('ops.engine', true), ''); -- the triggers do the work: it is not the engine's own write
  v_step public.ops_mission_steps;
  v_dead text;
  v_revived integer;
begin
  perform set_config('ops.reason', coalesce(p_reason, ''), true);
  perform set_config('ops.engine', '', true);
  perform public.ops_operators_lock();
  perform public.ops_lock_missions(array[p_id]);
  select n.key || ', which is ' || n.status into v_dead from public.ops_mission_steps s join public.ops_mission_steps n on n.id = any (s.needs)
  where s.id = p_id and s.status in ('failed', 'cancelled')
    and (n.status = 'cancelled' or n.status = 'failed' and n.on_failure = 'stop' or n.status = 'skipped' and n.skipped_for is not null) limit 1;
  if v_dead is not null then
    perform public.ops_raise('OPS_015', format('step %s waits for %s', p_id, v_dead), null, 'Retry that one, or the whole mission: ops_retry_mission(id).');
  end if;
  update public.ops_mission_steps s
  set status = 'queued', reserved_at = null, lease_expires_at = null, failure_count = 0, last_error = null
  where s.id = p_id and s.status in ('failed', 'cancelled');
  get diagnostics v_revived = row_count;
  select * into v_step from public.ops_mission_steps s where s.id = p_id;
  perform set_config('ops.reason', '', true);
  perform public.ops_engine_end(v_was);
  if v_step.id is null then
    perform public.ops_raise('OPS_012', format('there is no step %s', p_id));
  elsif v_revived = 0 and not public.ops_is_open(v_step.status) then
    perform public.ops_raise('OPS_015', format('step %s is %s, only a failed or cancelled one can be retried', p_id, v_step.status));
  end if;
  return jsonb_build_object('id', v_step.id, 'status', v_step.status, 'mission_id', v_step.mission_id);
end $$;
comment on function public.ops_retry_step(uuid, text) is
  'Runs a failed or cancelled step again in a new series: {id, status, mission_id} as it is then (it may have ended at once); on an open step it changes nothing. Raises OPS_012, OPS_015.';

create or replace function public.ops_retry_mission(p_id uuid, p_reason text default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_was text := coalesce(current_setting('ops.engine', true), ''); -- the triggers do the work: it is not the engine's own write
  v_mission public.ops_missions;
  v_count integer;
begin
  perform public.ops_operators_lock();
  select * into v_mission from public.ops_missions m where m.id = p_id for no key update;
  if v_mission.id is null then
    perform public.ops_raise('OPS_012', format('there is no mission %s', p_id));
  end if;
  perform set_config('ops.reason', coalesce(p_reason, ''), true);
  perform set_config('ops.engine', '', true);
  update public.ops_mission_steps s
  set status = 'queued', reserved_at = null, lease_expires_at = null, failure_count = 0, last_error = null
  where s.mission_id = p_id and s.status in ('failed', 'cancelled');
  get diagnostics v_count = row_count;
  perform set_config('ops.reason', '', true);
  perform public.ops_engine_end(v_was);
  if v_count = 0 and v_mission.completed_at is not null then
    perform public.ops_raise('OPS_015', format('mission %s has no failed or cancelled step', p_id));
  end if;
  return (select jsonb_build_object('id', m.id, 'status', m.status, 'steps', v_count) from public.ops_missions m where m.id = p_id);
end $$;
comment on function public.ops_retry_mission(uuid, text) is
  'Runs a mission on from its last good step: its failed and cancelled steps open again, finished ones stand: {id, status, steps}. Raises OPS_012, OPS_015.';

create or replace function public.ops_cancel_mission(p_id uuid, p_reason text default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_was text := public.ops_engine_begin();
  v_mission public.ops_missions;
  v_count integer;
begin
  perform public.ops_operators_lock();
  select * into v_mission from public.ops_missions m where m.id = p_id for no key update;
  if v_mission.id is null then
    perform public.ops_raise('OPS_012', format('there is no mission %s', p_id));
  end if;
  update public.ops_mission_steps s
  set status = case when s.status = 'running' then s.status else 'cancelled' end, wait_reason = null, updated_at = v_now,
    cancel_requested_at = coalesce(s.cancel_requested_at, v_now), last_error = coalesce(s.last_error, p_reason)
  where s.mission_id = p_id and public.ops_is_open(s.status) and (s.status <> 'running' or s.cancel_requested_at is null);
  get diagnostics v_count = row_count;
  perform public.ops_refresh_missions(array[p_id]);
  perform public.ops_engine_end(v_was);
  return (select jsonb_build_object('id', m.id, 'status', m.status, 'steps', v_count) from public.ops_missions m where m.id = p_id);
end $$;
comment on function public.ops_cancel_mission(uuid, text) is
  'Cancels what has not started at once and asks running steps to stop with their next renewal: {id, status, steps}. A second call changes nothing. Raises OPS_012.';

create or replace function public.ops_cancel_step(p_id uuid, p_reason text default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_was text := public.ops_engine_begin();
  v_step public.ops_mission_steps;
begin
  perform public.ops_operators_lock();
  perform public.ops_lock_missions(array[p_id]);
  update public.ops_mission_steps s set status = case when s.status = 'running' then s.status else 'cancelled' end, wait_reason = null, updated_at = v_now,
    cancel_requested_at = coalesce(s.cancel_requested_at, v_now), last_error = coalesce(s.last_error, p_reason)
  where s.id = p_id and public.ops_is_open(s.status) returning s.* into v_step;
  if v_step.id is null then
    select * into v_step from public.ops_mission_steps s where s.id = p_id;
  elsif v_step.status = 'cancelled' then
    -- Cancelling the step of a list ends its items too.
    update public.ops_mission_steps s set status = case when s.status = 'running' then s.status else 'cancelled' end, wait_reason = null, updated_at = v_now,
      cancel_requested_at = coalesce(s.cancel_requested_at, v_now) where s.parent_id = p_id and public.ops_is_open(s.status);
    perform public.ops_unblock(v_step.mission_id);
    perform public.ops_refresh_missions(array[v_step.mission_id]);
  end if;
  perform public.ops_engine_end(v_was);
  if v_step.id is null then
    perform public.ops_raise('OPS_012', format('there is no step %s', p_id));
  end if;
  return jsonb_build_object('id', v_step.id, 'status', v_step.status, 'mission_id', v_step.mission_id);
end $$;
comment on function public.ops_cancel_step(uuid, text) is
  'Cancels a step that has not started at once, with what waits for it, and asks a running one to stop with its next renewal: {id, status, mission_id}. On an ended step it changes nothing. Raises OPS_012.';

create or replace function public.ops_list_dead_letters(p_state text default 'open', p_limit integer default 50, p_before timestamptz default null)
returns setof public.ops_step_dead_letters language sql stable set search_path = '' as $$
  select d.* from public.ops_step_dead_letters d
  where (p_state is null or d.state = p_state) and (p_before is null or d.created_at < p_before)
  order by d.created_at desc limit least(p_limit, 1000)
$$;
comment on function public.ops_list_dead_letters(text, integer, timestamptz) is 'Dead letters, newest first, of one state (open unless told); p_before is the cursor.';

create or replace function public.ops_requeue_dead_letter(p_id uuid, p_reason text default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_letter public.ops_step_dead_letters;
begin
  select * into v_letter from public.ops_step_dead_letters d where d.id = p_id;
  if v_letter.id is null then
    perform public.ops_raise('OPS_012', format('there is no dead letter %s', p_id), null, 'ops-loop dlq lists the open ones.');
  end if;
  if v_letter.state = 'open' then
    perform public.ops_retry_step(v_letter.step_id, p_reason);
  elsif v_letter.state = 'discarded' then
    perform public.ops_raise('OPS_015', format('dead letter %s was discarded: %s', p_id, v_letter.resolution));
  end if;
  return jsonb_build_object('id', p_id, 'state', 'requeued', 'step_id', v_letter.step_id);
end $$;
comment on function public.ops_requeue_dead_letter(uuid, text) is
  'Runs the step of a dead letter again in a new series: {id, state, step_id}. Twice at once is one series. Raises OPS_012, OPS_015.';

create or replace function public.ops_requeue_dead_letters(p_filter jsonb default '{}', p_limit integer default 100, p_per_minute integer default null, p_reason text default null)
returns jsonb language plpgsql set search_path = '' as $$
declare
  v_letter record;
  v_was text;
  v_count integer := 0;
  v_stranger text := (select k from jsonb_object_keys(coalesce(p_filter, '{}')) k where k not in ('executor', 'kind', 'cause', 'error_class', 'mission_id') limit 1);
begin
  if v_stranger is not null then
    perform public.ops_raise('OPS_011', format('%s is no filter of dead letters', v_stranger), null, 'Use executor, kind, cause, error_class or mission_id.');
  end if;
  if p_per_minute <= 0 then
    perform public.ops_raise('OPS_011', 'p_per_minute must be above 0', null, 'Leave it out to requeue all at once.');
  end if;
  perform public.ops_operators_lock();
  for v_letter in
    select o.id, o.step_id from (
      select d.id, d.step_id, d.mission_id, d.created_at from public.ops_step_dead_letters d
      join public.ops_mission_steps s on s.id = d.step_id -- a letter outlives a step that was cleaned away
      where d.state = 'open' and (p_filter ->> 'executor' is null or d.executor = p_filter ->> 'executor') and (p_filter ->> 'kind' is null or d.kind = p_filter ->> 'kind')
      and (p_filter ->> 'cause' is null or d.cause = p_filter ->> 'cause') and (p_filter ->> 'error_class' is null or d.error_class = p_filter ->> 'error_class')
      and (p_filter ->> 'mission_id' is null or d.mission_id = (p_filter ->> 'mission_id')::uuid)
      order by d.created_at, d.id limit p_limit) o
    order by o.mission_id, o.created_at -- missions are locked in this order
  loop
    perform public.ops_requeue_dead_letter(v_letter.id, p_reason);
    if p_per_minute is not null and v_count > 0 then
      v_was := public.ops_engine_begin();
      update public.ops_mission_steps s set status = 'scheduled', ready_at = public.ops_clock() + v_count * interval '1 minute' / p_per_minute
      where s.id = v_letter.step_id and s.status = 'queued';
      perform public.ops_engine_end(v_was);
    end if;
    v_count := v_count + 1;
  end loop;
  return jsonb_build_object('requeued', v_count, 'more', v_count >= p_limit);
end $$;
comment on function public.ops_requeue_dead_letters(jsonb, integer, integer, text) is
  'Requeues open dead letters, oldest first, that match {executor?, kind?, cause?, error_class?, mission_id?}, spread over time when p_per_minute is given: {requeued, more}. Raises OPS_011.';

create or replace function public.ops_discard_dead_letter(p_id uuid, p_reason text) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_letter public.ops_step_dead_letters;
begin
  if coalesce(trim(p_reason), '') = '' then
    perform public.ops_raise('OPS_011', 'discarding needs a reason', null, 'Say why nobody has to look at it again.');
  end if;
  update public.ops_step_dead_letters d set state = 'discarded', resolution = p_reason, resolved_at = public.ops_clock()
  where d.id = p_id and d.state = 'open' returning * into v_letter;
  if v_letter.id is null then
    select * into v_letter from public.ops_step_dead_letters d where d.id = p_id;
    perform public.ops_raise(case when v_letter.id is null then 'OPS_012' else 'OPS_015' end,
      coalesce(format('dead letter %s is %s already', p_id, v_letter.state), format('there is no dead letter %s', p_id)));
  end if;
  return jsonb_build_object('id', p_id, 'state', 'discarded', 'step_id', v_letter.step_id);
end $$;
comment on function public.ops_discard_dead_letter(uuid, text) is 'Closes a dead letter for good, with a reason: {id, state, step_id}. Raises OPS_011, OPS_012, OPS_015.';

-- Switches and limits change ------------------------------------------------------------------------------------

create or replace function public.ops_policy_changed(p_key text, p_old jsonb, p_new jsonb) returns void
language plpgsql set search_path = '' as $$
declare
  v_was text := public.ops_engine_begin();
begin
  if p_key in ('switches', 'worker_policy', 'budgets') then
    perform public.ops_review_holds(case p_key when 'budgets' then 'budget' end);
    perform public.ops_wake('ops_steps');
  elsif p_key = 'schedules' then
    perform public.ops_schedules_changed();
  elsif p_key in ('proposal_caps', 'auto_approve') then
    update public.ops_mission_proposals p set next_gate_at = '-infinity' where p.status = 'pending' and p.gated_at is null;
    perform public.ops_wake('ops_events');
  end if;
  perform public.ops_engine_end(v_was);
end $$;
comment on function public.ops_policy_changed(text, jsonb, jsonb) is
  'What a policy change sets free: steps whose hold no longer stands are queued, proposals waiting for a cap are gated at the next beat.';

-- Workers -------------------------------------------------------------------------------------------------------

create or replace function public.ops_register_worker(p_name text, p_instance uuid, p_host text, p_pid integer, p_executors jsonb, p_takeover boolean default false)
returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_holder public.ops_workers;
  v_bad record;
begin
  select x ->> 'name' as name, public.ops_schema_unsupported(x -> 'params_schema') as keywords into v_bad
  from jsonb_array_elements(p_executors) x where public.ops_schema_unsupported(x -> 'params_schema') <> '{}' limit 1;
  if found then
    perform public.ops_raise('OPS_011', format('the params schema of executor %s uses what is not interpreted: %s', v_bad.name, array_to_string(v_bad.keywords, ', ')),
      null, 'Write the schema in the subset that ops_schema_problems describes.');
  end if;
  insert into public.ops_workers as w (name, instance, host, pid, executors, started_at, seen_at)
  values (p_name, p_instance, p_host, p_pid, array(select x ->> 'name' from jsonb_array_elements(p_executors) x), v_now, v_now)
  on conflict (name) do update set instance = excluded.instance, host = excluded.host, pid = excluded.pid, executors = excluded.executors,
    started_at = excluded.started_at, seen_at = excluded.seen_at
  where p_takeover or w.instance = excluded.instance or w.seen_at < v_now - interval '1 minute'
  returning w.* into v_holder;
  if v_holder.name is null then
    select * into v_holder from public.ops_workers w where w.name = p_name;
    return jsonb_build_object('accepted', false, 'schema_version', public.ops_schema_version(),
      'holder', jsonb_build_object('instance', v_holder.instance, 'host', v_holder.host, 'pid', v_holder.pid, 'seen_at', v_holder.seen_at));
  end if;
  insert into public.ops_executors as o (name, idempotent, risk, local_limit, needs, touches, exclusive, fixed, params_schema, result_schema, updated_at)
  select x ->> 'name', (x #>> '{traits,idempotent}')::boolean, x #>> '{traits,risk}', public.ops_integer(x #> '{traits,local_limit}'),
    array(select jsonb_array_elements_text(coalesce(nullif(x #> '{traits,needs}', 'null'), '[]'))),
    array(select jsonb_array_elements_text(coalesce(nullif(x #> '{traits,touches}', 'null'), '[]'))), x #>> '{traits,exclusive}', public.ops_text_list(coalesce(nullif(x #> '{traits,fixed}', 'null'), '[]')), x -> 'params_schema', nullif(x -> 'result_schema', 'null'), v_now
  from jsonb_array_elements(p_executors) x order by x ->> 'name'
  on conflict (name) do update set
    idempotent = o.idempotent and excluded.idempotent or not o.builtin and excluded.idempotent,
    risk = case when o.builtin and public.ops_risk_rank(o.risk) > public.ops_risk_rank(excluded.risk) then o.risk else excluded.risk end,
    local_limit = excluded.local_limit, needs = excluded.needs,
    touches = array(select distinct t from unnest(excluded.touches || case when o.builtin then o.touches else '{}' end) t order by t),
    exclusive = coalesce(excluded.exclusive, case when o.builtin then o.exclusive end),
    fixed = array(select distinct t from unnest(excluded.fixed || case when o.builtin then o.fixed else '{}' end) t order by t), params_schema = excluded.params_schema, result_schema = excluded.result_schema, updated_at = v_now
  where (o.params_schema, o.result_schema, o.local_limit, o.needs, o.touches, o.exclusive, o.fixed)
      is distinct from (excluded.params_schema, excluded.result_schema, excluded.local_limit, excluded.needs, excluded.touches, excluded.exclusive, excluded.fixed)
    or o.risk <> excluded.risk or o.idempotent <> excluded.idempotent;
  delete from public.ops_workers w where w.seen_at < v_now - interval '1 day';
  return jsonb_build_object('accepted', true, 'schema_version', public.ops_schema_version(), 'holder', null);
end $$;
comment on function public.ops_register_worker(text, uuid, text, integer, jsonb, boolean) is
  'Registers a worker and its executors: {accepted, schema_version, holder}. Not accepted while another instance of that name was seen in the last minute, unless p_takeover. A built-in executor''s risk may rise, never sink. Raises OPS_011 for a schema outside of the interpreted subset.';

create or replace function public.ops_unregister_worker(p_name text, p_instance uuid) returns jsonb
language plpgsql set search_path = '' as $$
begin
  delete from public.ops_workers w where w.name = p_name and w.instance = p_instance;
  return jsonb_build_object('removed', found);
end $$;
comment on function public.ops_unregister_worker(text, uuid) is 'A worker says goodbye, so that its name is free at once: {removed}.';

create or replace function public.ops_worker_config() returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return (
    select jsonb_build_object('worker_policy', public.ops_policy_value('worker_policy'), 'agent_roles', public.ops_policy_value('agent_roles'),
      'switches', public.ops_policy_value('switches')));
end $$;
comment on function public.ops_worker_config() is 'The policies a worker needs: {worker_policy, agent_roles, switches}.';

insert into public.ops_migrations (version, name) values ('0007', 'ops_steps') on conflict do nothing;
