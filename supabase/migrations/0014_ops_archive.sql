-- 0014 Archive: finished rows go once their retention has passed, a bounded batch at a time.
--
-- Why so: rows are found by walking the pages of a table, so that no table of the hot path needs an index by age, and
-- one batch costs the same however large the table is and however many rows have to stay. What belongs together goes
-- together: a mission with its steps, an event with its decisions and reactions, all attempts of a step. What
-- unfinished work may still ask for stays, however old. Rows are deleted, not moved: who wants to keep them copies
-- them first, into a table of their own.
-- Locks: waits for no row (skip locked), so its order can be part of no circle; whatever somebody holds stays for the
-- next time. Hash and merge joins are off: they would read whole tables for a few rows.
-- Undo: rollbacks/0014_ops_archive.sql.

create or replace function public.ops_retention_cutoffs(p_now timestamptz) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_policy jsonb := public.ops_policy_value('retention');
  v_breaker numeric := coalesce((public.ops_policy_value('worker_policy') #>> '{breaker,window_minutes}')::numeric, 60);
begin
  return (
    select jsonb_object_agg(k.name, least(
      p_now - greatest(coalesce((v_policy ->> (k.name || '_days'))::numeric, (v_policy ->> 'days')::numeric, 90), 1) * interval '1 day',
      -- A breaker counts dead letters, and looks for a success among the events since then.
      case when k.name in ('events', 'dead_letters') then p_now - v_breaker * interval '1 minute' end))
    from unnest(array['events', 'missions', 'runs', 'dead_letters', 'heartbeats']) k(name));
end $$;
comment on function public.ops_retention_cutoffs(timestamptz) is
  'What finished before these times may go, by member of the retention policy: {events, missions, runs, dead_letters, heartbeats}. 90 days unless it says otherwise, never less than a day, nor than the window of the breakers.';

-- One chunk of one table ------------------------------------------------------------------------------------------
-- Each looks at the rows between two places of its table and takes those that may go, up to a limit. Answers how many
-- rows are gone of which table, and where it stopped when the limit stopped it.

create or replace function public.ops_mission_is_asked_for(p_mission public.ops_missions) returns boolean
language plpgsql stable set search_path = '' set enable_seqscan = off set jit = off as $$
begin
  return (
    select p_mission.completed_at is null
      or exists (select from public.ops_mission_steps s where s.mission_id = p_mission.id and (s.status in ('blocked', 'scheduled', 'queued', 'running')
        or exists (select from public.ops_step_dead_letters d where d.step_id = s.id and d.state = 'open')))
      or exists (select from public.ops_agent_events e where e.mission_id = p_mission.id and e.processed_at is null));
end $$;
comment on function public.ops_mission_is_asked_for(public.ops_missions) is
  'Whether a mission, or anything open that points at it, has yet to end: a step, a dead letter, an event that is not decided.';

create or replace function public.ops_archive_missions(p_from tid, p_to tid, p_limit integer, p_before timestamptz, p_dry boolean, out last tid, out gone jsonb)
language plpgsql set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
  v_ids uuid[];
begin
  select array_agg(c.id), case when count(*) = p_limit then (array_agg(c.ctid order by c.ctid desc))[1] end into v_ids, last
  from (select m.id, m.ctid from public.ops_missions m
    where m.ctid > p_from and m.ctid < p_to and m.completed_at < p_before and not public.ops_mission_is_asked_for(m)
    order by m.ctid limit p_limit) c;
  if v_ids is null then
    return;
  end if;
  if not p_dry then
    v_ids := array(select m.id from public.ops_missions m where m.id = any (v_ids) and m.completed_at < p_before for update skip locked);
    -- Somebody may be reviving a step by hand: it must not come back without its mission.
    with locked as materialized (
      select s.mission_id from public.ops_mission_steps s
      where s.mission_id = any (v_ids) and s.status not in ('blocked', 'scheduled', 'queued', 'running') for update skip locked
    ), counted as (select l.mission_id, count(*) as n from locked l group by l.mission_id)
    select coalesce(array_agg(whole.id), '{}') into v_ids from (
      select c.mission_id as id from counted c where c.n = (select count(*) from public.ops_mission_steps s where s.mission_id = c.mission_id)
      union all
      select i.id from unnest(v_ids) i(id) where not exists (select from public.ops_mission_steps s where s.mission_id = i.id)) whole;
  end if;
  gone := jsonb_build_object('ops_missions', cardinality(v_ids),
    'ops_mission_steps', (select count(*) from public.ops_mission_steps s where s.mission_id = any (v_ids)));
  if not p_dry then
    delete from public.ops_mission_steps s where s.mission_id = any (v_ids);
    delete from public.ops_missions m where m.id = any (v_ids);
  end if;
end $$;
comment on function public.ops_archive_missions(tid, tid, integer, timestamptz, boolean) is
  'Finished missions with their steps, all of a mission or nothing. Those with an open dead letter, or an event that is not decided, stay.';

create or replace function public.ops_archive_proposals(p_from tid, p_to tid, p_limit integer, p_before timestamptz, p_dry boolean, out last tid, out gone jsonb)
language plpgsql set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
  -- Caps count the proposals of a day, in whatever time zone.
  v_counted timestamptz := public.ops_clock() - interval '2 days';
  v_ids uuid[];
begin
  select array_agg(c.id), case when count(*) = p_limit then (array_agg(c.ctid order by c.ctid desc))[1] end into v_ids, last
  from (select p.id, p.ctid from public.ops_mission_proposals p
    where p.ctid > p_from and p.ctid < p_to and p.status not in ('pending', 'voting')
      and coalesce(p.approved_at, p.updated_at) < p_before and coalesce(p.gated_at, '-infinity') < v_counted
      -- In a dry run its mission is still there.
      and not exists (select from public.ops_missions m where m.proposal_id = p.id and not (p_dry and coalesce(m.completed_at < p_before, false) and not public.ops_mission_is_asked_for(m)))
      and p.id not in (select w.revises from public.ops_mission_proposals w where w.status in ('pending', 'voting') and w.revises is not null)
    order by p.ctid limit p_limit) c;
  if v_ids is null then
    return;
  end if;
  if not p_dry then
    v_ids := array(select p.id from public.ops_mission_proposals p where p.id = any (v_ids) and p.status not in ('pending', 'voting') for update skip locked);
  end if;
  gone := jsonb_build_object('ops_mission_proposals', cardinality(v_ids),
    'ops_proposal_votes', (select count(*) from public.ops_proposal_votes v where v.proposal_id = any (v_ids)));
  if not p_dry then
    delete from public.ops_proposal_votes v where v.proposal_id = any (v_ids);
    delete from public.ops_mission_proposals p where p.id = any (v_ids);
  end if;
end $$;
comment on function public.ops_archive_proposals(tid, tid, integer, timestamptz, boolean) is
  'Decided proposals whose mission is gone or never was, with their votes. Those that caps may still count, or that a waiting one revises, stay.';

create or replace function public.ops_archive_events(p_from tid, p_to tid, p_limit integer, p_before timestamptz, p_dry boolean, out last tid, out gone jsonb)
language plpgsql set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
  v_ids uuid[];
begin
  select array_agg(c.id), case when count(*) = p_limit then (array_agg(c.ctid order by c.ctid desc))[1] end into v_ids, last
  from (select e.id, e.ctid from public.ops_agent_events e
    where e.ctid > p_from and e.ctid < p_to and e.processed_at < p_before
      and not exists (select from public.ops_agent_reactions r where r.event_id = e.id and (r.status in ('queued', 'processing') or r.updated_at >= p_before))
      and not exists (select from public.ops_mission_proposals p left join public.ops_missions m on m.proposal_id = p.id
        where p.event_id = e.id and (p.status in ('pending', 'voting') or m.id is not null and public.ops_mission_is_asked_for(m)))
      -- The whole chain of its root: reactions count against loop_limits, and a chain is trusted by the event that began it.
      and not exists (select from public.ops_agent_reactions o join public.ops_agent_reactions r on r.root_id = o.root_id
        where o.event_id = e.id and (r.status in ('queued', 'processing')
          or exists (select from public.ops_mission_proposals p left join public.ops_missions m on m.proposal_id = p.id
            where p.event_id = r.event_id and (p.status in ('pending', 'voting') or m.id is not null and public.ops_mission_is_asked_for(m)))))
    order by e.ctid limit p_limit) c;
  if v_ids is null then
    return;
  end if;
  if not p_dry then
    v_ids := array(select e.id from public.ops_agent_events e where e.id = any (v_ids) and e.processed_at < p_before for update skip locked);
    with locked as materialized (
      select r.event_id from public.ops_agent_reactions r where r.event_id = any (v_ids) and r.status in ('done', 'failed') for update skip locked
    ), counted as (select l.event_id, count(*) as n from locked l group by l.event_id)
    select coalesce(array_agg(whole.id), '{}') into v_ids from (
      select c.event_id as id from counted c where c.n = (select count(*) from public.ops_agent_reactions r where r.event_id = c.event_id)
      union all
      select i.id from unnest(v_ids) i(id) where not exists (select from public.ops_agent_reactions r where r.event_id = i.id)) whole;
  end if;
  gone := jsonb_build_object('ops_agent_events', cardinality(v_ids),
    'ops_event_decisions', (select count(*) from public.ops_event_decisions d where d.event_id = any (v_ids)),
    'ops_agent_reactions', (select count(*) from public.ops_agent_reactions r where r.event_id = any (v_ids)));
  if not p_dry then
    delete from public.ops_event_decisions d where d.event_id = any (v_ids);
    delete from public.ops_agent_reactions r where r.event_id = any (v_ids);
    delete from public.ops_agent_events e where e.id = any (v_ids);
  end if;
end $$;
comment on function public.ops_archive_events(tid, tid, integer, timestamptz, boolean) is
  'Closed events with their decisions and reactions. Those of a chain in which anything waits, runs or is an open dead letter stay.';

create or replace function public.ops_archive_attempts(p_from tid, p_to tid, p_limit integer, p_before timestamptz, p_dry boolean, out last tid, out gone jsonb)
language plpgsql set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
  v_steps uuid[];
  v_count integer;
begin
  select array_agg(distinct c.step_id), count(*), case when count(*) = p_limit then (array_agg(c.ctid order by c.ctid desc))[1] end into v_steps, v_count, last
  from (select r.step_id, r.ctid from public.ops_action_runs r
    where r.ctid > p_from and r.ctid < p_to and coalesce(r.completed_at, r.started_at) < p_before
      and not exists (select from public.ops_mission_steps s where s.id = r.step_id and (r.completed_at is null or s.status in ('blocked', 'scheduled', 'queued', 'running')))
      and not exists (select from public.ops_step_dead_letters d where d.step_id = r.step_id and d.state = 'open')
      and not exists (select from public.ops_action_runs o where o.run_id >= r.step_id::text || ':' and o.run_id < r.step_id::text || ';'
        and (coalesce(o.completed_at, o.started_at) >= p_before
          or o.completed_at is null and exists (select from public.ops_mission_steps s where s.id = r.step_id)))
    order by r.ctid limit p_limit) c;
  if v_steps is null then
    return;
  end if;
  if not p_dry then
    with locked as materialized (
      select r.step_id from unnest(v_steps) i(id)
      join public.ops_action_runs r on r.run_id >= i.id::text || ':' and r.run_id < i.id::text || ';' for update of r skip locked
    ), counted as (select l.step_id, count(*) as n from locked l group by l.step_id)
    select array_agg(c.step_id) into v_steps from counted c
    where c.n = (select count(*) from public.ops_action_runs r where r.run_id >= c.step_id::text || ':' and r.run_id < c.step_id::text || ';');
    delete from public.ops_action_runs r using unnest(v_steps) i(id) where r.run_id >= i.id::text || ':' and r.run_id < i.id::text || ';';
    get diagnostics v_count = row_count;
  end if;
  gone := jsonb_build_object('ops_action_runs', v_count);
end $$;
comment on function public.ops_archive_attempts(tid, tid, integer, timestamptz, boolean) is
  'Ended attempts, all of a step or none. Those of a step that is open, or has an open dead letter, stay.';

create or replace function public.ops_archive_letters(p_from tid, p_to tid, p_before timestamptz, p_dry boolean) returns jsonb
language plpgsql set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
  v_ids uuid[] := array(select d.id from public.ops_step_dead_letters d
    where d.ctid > p_from and d.ctid < p_to and d.state <> 'open' and d.resolved_at < p_before
      and not exists (select from public.ops_mission_steps s where s.id = d.step_id and s.status in ('blocked', 'scheduled', 'queued', 'running')));
begin
  if not p_dry then
    v_ids := array(select d.id from public.ops_step_dead_letters d where d.id = any (v_ids) for update skip locked);
    delete from public.ops_step_dead_letters d where d.id = any (v_ids);
  end if;
  return jsonb_build_object('ops_step_dead_letters', cardinality(v_ids));
end $$;
comment on function public.ops_archive_letters(tid, tid, timestamptz, boolean) is
  'Dead letters that were requeued or discarded. Open ones, and those of a step that runs again, stay.';

create or replace function public.ops_archive_heartbeats(p_from tid, p_to tid, p_before timestamptz, p_dry boolean) returns jsonb
language plpgsql set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
  -- Health looks at the latest ones, also long after the last beat.
  v_tenth timestamptz := (select h.completed_at from public.ops_heartbeats h order by h.completed_at desc offset 9 limit 1);
  v_ids uuid[] := array(select h.id from public.ops_heartbeats h
    where h.ctid > p_from and h.ctid < p_to and h.completed_at < p_before and h.completed_at < v_tenth);
begin
  if not p_dry then
    v_ids := array(select h.id from public.ops_heartbeats h where h.id = any (v_ids) for update skip locked);
    delete from public.ops_heartbeats h where h.id = any (v_ids);
  end if;
  return jsonb_build_object('ops_heartbeats', cardinality(v_ids));
end $$;
comment on function public.ops_archive_heartbeats(tid, tid, timestamptz, boolean) is 'Rows of beats, but for the latest ten.';

create or replace function public.ops_archive_slots(p_from tid, p_to tid, p_before timestamptz, p_dry boolean) returns jsonb
language plpgsql set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
  -- An edited schedule is planned anew from its look back on: what it has fired since then must be known.
  v_before timestamptz := least(p_before, (select public.ops_clock() - max(s.look_back) from public.ops_enabled_schedules() s));
  v_slots jsonb := (select jsonb_agg(jsonb_build_object('schedule_id', t.schedule_id, 'slot_at', t.slot_at)) from public.ops_schedule_slots t
    where t.ctid > p_from and t.ctid < p_to and t.state <> 'planned' and t.handled_at < p_before and t.slot_at < v_before
      and t.slot_at < (select max(l.slot_at) from public.ops_schedule_slots l where l.schedule_id = t.schedule_id and l.state = 'fired'));
  v_count integer := coalesce(jsonb_array_length(v_slots), 0);
begin
  if not p_dry then
    delete from public.ops_schedule_slots t where (t.schedule_id, t.slot_at) in (
      select o.schedule_id, o.slot_at from jsonb_to_recordset(v_slots) s(schedule_id text, slot_at timestamptz)
      join public.ops_schedule_slots o on o.schedule_id = s.schedule_id and o.slot_at = s.slot_at for update of o skip locked);
    get diagnostics v_count = row_count;
  end if;
  return jsonb_build_object('ops_schedule_slots', v_count);
end $$;
comment on function public.ops_archive_slots(tid, tid, timestamptz, boolean) is
  'Fired and missed slots of schedules, but for the latest that fired, and for those within any look back.';

create or replace function public.ops_archive_orphans(p_table text, p_from tid, p_to tid, p_before timestamptz, p_dry boolean) returns jsonb
language plpgsql set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
  v_ids uuid[];
begin
  case p_table
    when 'ops_mission_steps' then
      v_ids := array(select s.id from public.ops_mission_steps s
        where s.ctid > p_from and s.ctid < p_to and s.updated_at < p_before and s.status not in ('blocked', 'scheduled', 'queued', 'running')
          and not exists (select from public.ops_missions m where m.id = s.mission_id)
          and not exists (select from public.ops_step_dead_letters d where d.step_id = s.id and d.state = 'open'));
      if not p_dry then
        v_ids := array(select s.id from public.ops_mission_steps s where s.id = any (v_ids) and s.status not in ('blocked', 'scheduled', 'queued', 'running') for update skip locked);
        delete from public.ops_mission_steps s where s.id = any (v_ids);
      end if;
    when 'ops_agent_reactions' then
      v_ids := array(select r.id from public.ops_agent_reactions r
        where r.ctid > p_from and r.ctid < p_to and r.updated_at < p_before and r.status in ('done', 'failed')
          and not exists (select from public.ops_agent_events e where e.id = r.event_id));
      if not p_dry then
        v_ids := array(select r.id from public.ops_agent_reactions r where r.id = any (v_ids) and r.status in ('done', 'failed') for update skip locked);
        delete from public.ops_agent_reactions r where r.id = any (v_ids);
      end if;
    when 'ops_event_decisions' then
      v_ids := array(select d.event_id from public.ops_event_decisions d
        where d.ctid > p_from and d.ctid < p_to and d.decided_at < p_before
          and not exists (select from public.ops_agent_events e where e.id = d.event_id));
      if not p_dry then
        delete from public.ops_event_decisions d where d.event_id = any (v_ids) and d.ctid > p_from and d.ctid < p_to;
      end if;
    when 'ops_proposal_votes' then
      v_ids := array(select v.proposal_id from public.ops_proposal_votes v
        where v.ctid > p_from and v.ctid < p_to and v.created_at < p_before
          and not exists (select from public.ops_mission_proposals p where p.id = v.proposal_id));
      if not p_dry then
        delete from public.ops_proposal_votes v where v.proposal_id = any (v_ids) and v.ctid > p_from and v.ctid < p_to;
      end if;
  end case;
  return jsonb_build_object(p_table, cardinality(v_ids));
end $$;
comment on function public.ops_archive_orphans(text, tid, tid, timestamptz, boolean) is
  'Finished steps without their mission, reactions and decisions without their event, votes without their proposal: what stays when owners are deleted by hand.';

create or replace function public.ops_archive_chunk(p_table text, p_from tid, p_to tid, p_limit integer, p_before jsonb, p_dry boolean, out last tid, out gone jsonb)
language plpgsql set search_path = '' as $$
declare
  v_chunk record;
begin
  case p_table
    when 'ops_missions' then v_chunk := public.ops_archive_missions(p_from, p_to, p_limit, (p_before ->> 'missions')::timestamptz, p_dry);
    when 'ops_mission_proposals' then v_chunk := public.ops_archive_proposals(p_from, p_to, p_limit, (p_before ->> 'missions')::timestamptz, p_dry);
    when 'ops_agent_events' then v_chunk := public.ops_archive_events(p_from, p_to, p_limit, (p_before ->> 'events')::timestamptz, p_dry);
    when 'ops_action_runs' then v_chunk := public.ops_archive_attempts(p_from, p_to, p_limit, (p_before ->> 'runs')::timestamptz, p_dry);
    when 'ops_step_dead_letters' then gone := public.ops_archive_letters(p_from, p_to, (p_before ->> 'dead_letters')::timestamptz, p_dry);
    when 'ops_heartbeats' then gone := public.ops_archive_heartbeats(p_from, p_to, (p_before ->> 'heartbeats')::timestamptz, p_dry);
    when 'ops_schedule_slots' then gone := public.ops_archive_slots(p_from, p_to, (p_before ->> 'events')::timestamptz, p_dry);
    when 'ops_mission_steps', 'ops_proposal_votes' then gone := public.ops_archive_orphans(p_table, p_from, p_to, (p_before ->> 'missions')::timestamptz, p_dry);
    when 'ops_agent_reactions', 'ops_event_decisions' then gone := public.ops_archive_orphans(p_table, p_from, p_to, (p_before ->> 'events')::timestamptz, p_dry);
  end case;
  if gone is null then
    last := v_chunk.last;
    gone := v_chunk.gone;
  end if;
end $$;
comment on function public.ops_archive_chunk(text, tid, tid, integer, jsonb, boolean) is
  'What may go of one table between two places: {table: rows} that are gone (or would be, p_dry), null for none; last is the place where p_limit stopped it.';

-- The walk --------------------------------------------------------------------------------------------------------

create or replace function public.ops_archive_walk(p_place bigint, p_rows integer, p_milliseconds numeric, p_dry boolean) returns jsonb
language plpgsql set search_path = '' as $$
declare
  -- Owners before what they own: what loses its owner here is found in the same walk.
  v_tables constant text[] := array['ops_missions', 'ops_mission_proposals', 'ops_agent_events', 'ops_mission_steps', 'ops_agent_reactions',
    'ops_event_decisions', 'ops_proposal_votes', 'ops_action_runs', 'ops_step_dead_letters', 'ops_heartbeats', 'ops_schedule_slots'];
  v_pages bigint[] := array(select coalesce(pg_relation_size(to_regclass('public.' || t.name)) / current_setting('block_size')::bigint, 0) from unnest(v_tables) with ordinality t(name, n) order by t.n);
  v_before jsonb := public.ops_retention_cutoffs(public.ops_clock());
  -- The wall's time: how long this takes does not depend on what the loop holds for the time.
  v_end timestamptz := clock_timestamp() + p_milliseconds * interval '1 millisecond';
  v_table integer := (p_place >> 48)::integer + 1;
  v_page bigint := (p_place >> 16) & 4294967295;
  v_row bigint := p_place & 65535;
  v_chunk record;
  v_gone jsonb := '{}';
  v_rows bigint := 0;
  v_chunks integer := 0;
begin
  -- At least one chunk, however slow the machine: a walk always comes on.
  while v_table <= cardinality(v_tables) and (v_chunks = 0 or v_rows < p_rows and clock_timestamp() < v_end) loop
    if v_page >= v_pages[v_table] then
      v_table := v_table + 1;
      v_page := 0;
      v_row := 0;
      continue;
    end if;
    v_chunks := v_chunks + 1;
    v_chunk := public.ops_archive_chunk(v_tables[v_table], format('(%s,%s)', v_page, v_row)::tid, format('(%s,0)', v_page + 64)::tid,
      least(p_rows - v_rows, greatest(p_rows / 10, 1))::integer, v_before, p_dry);
    if v_chunk.gone is not null then
      v_rows := v_rows + (select sum(g.value::bigint) from jsonb_each_text(v_chunk.gone) g);
      v_gone := v_gone || (select jsonb_object_agg(g.key, g.value::bigint + coalesce((v_gone ->> g.key)::bigint, 0)) from jsonb_each_text(v_chunk.gone) g);
    end if;
    v_page := coalesce(split_part(trim(both '()' from v_chunk.last::text), ',', 1)::bigint, v_page + 64);
    v_row := coalesce(split_part(trim(both '()' from v_chunk.last::text), ',', 2)::bigint, 0);
  end loop;
  return jsonb_build_object('rows', v_rows, 'tables', (select coalesce(jsonb_object_agg(g.key, g.value), '{}') from jsonb_each(v_gone) g where g.value <> '0'),
    'before', v_before, 'more', v_table <= cardinality(v_tables),
    'cursor', case when v_table <= cardinality(v_tables) then ((v_table - 1)::bigint << 48) + (v_page << 16) + v_row end,
    'pages', jsonb_build_object(
      'walked', (select coalesce(sum(p), 0) from unnest(v_pages) with ordinality p(p, n) where n < v_table) + least(v_page, coalesce(v_pages[v_table], 0)),
      'all', (select sum(p) from unnest(v_pages) p)));
end $$;
comment on function public.ops_archive_walk(bigint, integer, numeric, boolean) is
  'Walks the tables from a place on and takes what may go, until p_rows rows are gone, the time is up, or the end is reached. A place is table number (from 0) << 48 | page << 16 | row.';

create or replace function public.ops_archive(p_limit integer default 5000, p_dry_run boolean default false, p_cursor bigint default 0) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_was text := public.ops_engine_begin();
  v_answer jsonb;
begin
  if p_limit is null or p_limit < 1 or p_limit > 100000 then
    perform public.ops_raise('OPS_011', format('p_limit is %s', coalesce(p_limit::text, 'null')), null, 'Give a number from 1 to 100000; call again while more is true.');
  elsif p_cursor < 0 or p_cursor >> 48 > 10 then
    perform public.ops_raise('OPS_011', format('%s is no cursor', p_cursor), null, 'Pass on the cursor of the last answer, or leave it out to begin anew.');
  end if;
  -- Two seconds: far below the eight after which Supabase ends a statement of its API roles.
  v_answer := public.ops_archive_walk(coalesce(p_cursor, 0), p_limit, 2000, coalesce(p_dry_run, false));
  perform public.ops_engine_end(v_was);
  return v_answer || jsonb_build_object('dry_run', coalesce(p_dry_run, false));
end $$;
comment on function public.ops_archive(integer, boolean, bigint) is
  'Deletes finished rows whose retention has passed (policy retention, 90 days unless it says otherwise), about p_limit at a time: {rows, tables, before, more, cursor, pages, dry_run}. While more is true call again with the cursor. p_dry_run only counts. Open work, open dead letters, what they refer to and the history of policies stay. Any number at once. Raises OPS_011.';

create or replace function public.ops_archive_some() returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_was text;
  v_walk jsonb;
  v_hand public.ops_limits;
begin
  -- Without a policy nobody has said that rows may go by themselves: operators copy theirs at 90 days, too.
  if not exists (select from public.ops_policy p where p.key = 'retention') then
    return jsonb_build_object('archived', 0);
  end if;
  select * into v_hand from public.ops_limits l where l.key = 'archive';
  -- A walk begins an hour after the last began; its beats are ten seconds apart, however often there are beats.
  if v_hand.updated_at > v_now - interval '10 seconds' or v_hand.used = 0 and v_hand.window_start > v_now - interval '1 hour'
    or not pg_try_advisory_xact_lock(hashtext('public.ops_archive_some')) then
    return jsonb_build_object('archived', 0);
  end if;
  v_was := public.ops_engine_begin();
  v_walk := public.ops_archive_walk(coalesce(v_hand.used, 0)::bigint, 500, 20, false);
  insert into public.ops_limits as l (key, used, window_start, updated_at) values ('archive', coalesce((v_walk ->> 'cursor')::bigint, 0), v_now, v_now)
  on conflict (key) do update set used = excluded.used, updated_at = v_now, window_start = case when l.used = 0 then v_now else l.window_start end;
  perform public.ops_engine_end(v_was);
  return jsonb_build_object('archived', v_walk -> 'rows');
end $$;
comment on function public.ops_archive_some() is
  'Phase: with a policy under retention, walks on where the last beat stopped, for about 20 ms or 500 rows: {archived}. Its place is the limit row archive.';

insert into public.ops_migrations (version, name) values ('0014', 'ops_archive') on conflict do nothing;
