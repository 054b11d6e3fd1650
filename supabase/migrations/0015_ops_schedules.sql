-- 0015 Schedules: events by the clock, one per slot, whoever beats first.
--
-- Why so: a library computes the slots, in the client, a day ahead; they are rows, so that any beat raises what is due,
-- also one that SQL alone drives. What passed while nobody beat is told from what is on time by its age.
-- Locks: an advisory lock that firing never waits for, so that slots come in their order; due slots, skip locked.
-- Undo: rollbacks/0015_ops_schedules.sql.

create table if not exists public.ops_schedule_slots (
  schedule_id text not null,
  slot_at timestamptz not null,
  state text not null default 'planned' constraint ops_schedule_slots_state check (state in ('planned', 'fired', 'missed')),
  event_id uuid,
  handled_at timestamptz,
  primary key (schedule_id, slot_at)
) with (autovacuum_vacuum_cost_delay = 0);
comment on table public.ops_schedule_slots is 'Times at which schedules raise their events: planned ahead, then fired or missed. Each at most once, whatever happens to the policy.';
comment on column public.ops_schedule_slots.schedule_id is 'Id of the schedule in the policy.';
comment on column public.ops_schedule_slots.slot_at is 'When it is due.';
comment on column public.ops_schedule_slots.state is 'planned, fired, or missed: it passed while nobody beat, and the policy lets it go.';
comment on column public.ops_schedule_slots.event_id is 'The event that was raised.';
comment on column public.ops_schedule_slots.handled_at is 'When it was fired or let go.';
create index if not exists ops_schedule_slots_planned on public.ops_schedule_slots (slot_at) where state = 'planned';

create table if not exists public.ops_schedule_plans (
  schedule_id text primary key,
  revision bigint not null,
  planned_until timestamptz not null
);
comment on table public.ops_schedule_plans is 'How far ahead the slots of each schedule are planned.';
comment on column public.ops_schedule_plans.schedule_id is 'Id of the schedule.';
comment on column public.ops_schedule_plans.revision is 'Version of the policy it was planned under.';
comment on column public.ops_schedule_plans.planned_until is 'Every slot up to here is there.';
alter table public.ops_schedule_plans add column if not exists problem text;
alter table public.ops_schedule_plans add column if not exists tried_at timestamptz;
comment on column public.ops_schedule_plans.problem is 'Why whoever tried last could not plan it; null: it was planned.';
comment on column public.ops_schedule_plans.tried_at is 'When somebody planned it last, or tried to.';

create or replace function public.ops_enabled_schedules()
returns table (id text, cron text, time_zone text, missed text, look_back interval, event jsonb, revision bigint, since timestamptz)
language plpgsql stable set search_path = '' as $$
begin
  return query
  select s.value ->> 'id', s.value ->> 'cron', coalesce(s.value ->> 'time_zone', 'UTC'), coalesce(s.value ->> 'missed', 'one'),
    coalesce((s.value ->> 'look_back_minutes')::numeric, 1440) * interval '1 minute', s.value -> 'event', p.version, p.updated_at
  from public.ops_policy p cross join lateral jsonb_array_elements(p.value -> 'schedules') s
  where p.key = 'schedules' and s.value -> 'enabled' is distinct from 'false';
end $$;
comment on function public.ops_enabled_schedules() is 'The schedules of the policy that are not switched off, with their defaults: missed one, a look back of a day.';

create or replace function public.ops_schedules_to_plan()
returns table (id text, cron text, time_zone text, revision bigint, from_at timestamptz, until_at timestamptz)
language plpgsql stable set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
begin
  return query
  select s.id, s.cron, s.time_zone, s.revision,
    -- An edited schedule begins with its edit; one that nobody planned for long looks back as far as it may.
    greatest(case when p.revision = s.revision then p.planned_until else s.since end, v_now - s.look_back), v_now + interval '1 day'
  from public.ops_enabled_schedules() s left join public.ops_schedule_plans p on p.schedule_id = s.id
  where (p.revision is distinct from s.revision or p.planned_until < v_now + interval '1 hour')
    -- What cannot be planned is tried again now and then: the next to try may have newer zone data.
    and (p.revision = s.revision and p.problem is not null and p.tried_at > v_now - interval '10 minutes') is not true
  order by 5, s.id; -- who is furthest behind
end $$;
comment on function public.ops_schedules_to_plan() is
  'Schedules whose slots are not planned for the coming hour: compute those after from_at up to until_at and hand them to ops_plan_slots. One that could not be planned is left out for 10 minutes.';

create or replace function public.ops_plan_slots(p_plans jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_count integer;
begin
  insert into public.ops_schedule_slots (schedule_id, slot_at)
  select s.id, t.slot::timestamptz from jsonb_to_recordset(p_plans) x(id text, revision bigint, until timestamptz, slots jsonb)
  join public.ops_enabled_schedules() s on s.id = x.id and s.revision = x.revision -- planned under a policy that is no more
  cross join lateral jsonb_array_elements_text(x.slots) t(slot) order by 1, 2 on conflict do nothing;
  get diagnostics v_count = row_count;
  insert into public.ops_schedule_plans as p (schedule_id, revision, planned_until, problem, tried_at)
  select s.id, s.revision, x.until, left(x.problem, 500), v_now from jsonb_to_recordset(p_plans) x(id text, revision bigint, until timestamptz, problem text)
  join public.ops_enabled_schedules() s on s.id = x.id and s.revision = x.revision order by s.id
  on conflict (schedule_id) do update set revision = excluded.revision, problem = excluded.problem, tried_at = excluded.tried_at,
    planned_until = case when p.revision = excluded.revision then greatest(p.planned_until, excluded.planned_until) else excluded.planned_until end;
  perform public.ops_raise_event('schedule:unplannable', jsonb_build_object('schedule_id', s.id, 'cron', s.cron, 'time_zone', s.time_zone, 'problem', left(x.problem, 500)),
    format('schedule:unplannable:%s:%s', s.id, s.revision))
  from jsonb_to_recordset(p_plans) x(id text, revision bigint, problem text)
  join public.ops_enabled_schedules() s on s.id = x.id and s.revision = x.revision where x.problem is not null;
  return jsonb_build_object('planned', v_count);
end $$;
comment on function public.ops_plan_slots(jsonb) is
  'Takes in slots [{id, revision, until, slots: [time], problem?}]; what was planned under another version of the policy is dropped: {planned}. A problem says why there can be none; schedule:unplannable tells it, once per version. A second call changes nothing.';

create or replace function public.ops_fire_schedules(p_limit integer default 1000) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz;
  v_fired integer := 0;
  v_total integer := 0;
  v_gone jsonb;
begin
  -- One at a time: of two, the one with the later slots could commit first. Whoever holds the lock has found work and comes again.
  if exists (select from public.ops_schedule_slots d where d.state = 'planned' and d.slot_at <= public.ops_clock())
    and pg_try_advisory_xact_lock(hashtext('public.ops_fire_schedules')) then
    v_now := public.ops_clock();
    with known as materialized (
      select s.*, v_now - s.look_back as back_to, coalesce(p.planned_until >= v_now or p.problem is not null, false) as complete
      from public.ops_enabled_schedules() s left join public.ops_schedule_plans p on p.schedule_id = s.id and p.revision = s.revision
    ), due as materialized (
      select d.schedule_id, d.slot_at, f.followed from public.ops_schedule_slots d
      -- By any later slot that is due, in whatever state, so that nothing depends on how many are judged at once.
      cross join lateral (select exists (select from public.ops_schedule_slots l
        where l.schedule_id = d.schedule_id and l.slot_at > d.slot_at and l.slot_at <= v_now) as followed) f
      where d.state = 'planned' and d.slot_at <= v_now
        -- The latest of a schedule that is planned on first: a later one may turn up.
        and (f.followed or d.slot_at >= v_now - interval '10 minutes' or not exists (
          select from known k where k.id = d.schedule_id and k.missed = 'one' and not k.complete and d.slot_at >= k.back_to))
      order by d.slot_at limit p_limit for update of d skip locked
    ), judged as (
      -- Late is what a beat every few minutes would have seen: it passed while nobody looked.
      select d.schedule_id, d.slot_at, k.event, case
        when k.id is null or d.slot_at < k.back_to then 'missed'
        when d.slot_at >= v_now - interval '10 minutes' or k.missed = 'all' or k.missed = 'one' and not d.followed then 'fired'
        else 'missed' end as state
      from due d left join known k on k.id = d.schedule_id
    ), raised as (
      insert into public.ops_agent_events (type, source, trust, data, dedupe_key, created_at)
      select j.event ->> 'type', 'schedule', 'loop', coalesce(j.event -> 'data', '{}') || jsonb_build_object('schedule_id', j.schedule_id, 'slot_at', j.slot_at),
        format('schedule:%s:%s', j.schedule_id, extract(epoch from j.slot_at)::bigint), v_now + row_number() over (order by j.slot_at, j.schedule_id) * interval '1 microsecond'
      from judged j where j.state = 'fired' on conflict do nothing returning id, data ->> 'schedule_id' as schedule_id, data ->> 'slot_at' as slot_at
    ), handled as (
      update public.ops_schedule_slots t set state = j.state, event_id = r.id, handled_at = v_now
      from judged j left join raised r on r.schedule_id = j.schedule_id and r.slot_at::timestamptz = j.slot_at
      where t.schedule_id = j.schedule_id and t.slot_at = j.slot_at returning t.schedule_id, t.slot_at, t.state
    ), gone as (
      select h.schedule_id, count(*) as n, min(h.slot_at) as first, max(h.slot_at) as last from handled h where h.state = 'missed' group by h.schedule_id
    )
    select (select count(*) from handled h where h.state = 'fired'), (select count(*) from handled h), (select jsonb_agg(to_jsonb(g) order by g.schedule_id) from gone g)
    into v_fired, v_total, v_gone;
    perform public.ops_raise_event('schedule:missed', jsonb_build_object('schedule_id', g.schedule_id, 'missed', g.n, 'from', g.first, 'until', g.last),
      format('schedule:missed:%s:%s', g.schedule_id, extract(epoch from g.last)::bigint))
    from jsonb_to_recordset(v_gone) g(schedule_id text, n bigint, first timestamptz, last timestamptz);
    if v_fired > 0 then
      perform public.ops_wake('ops_events');
    end if;
  end if;
  return jsonb_build_object('fired', v_fired, 'missed', v_total - v_fired, 'unplanned', (select count(*) from public.ops_schedules_to_plan()), 'more', v_total > 0);
end $$;
comment on function public.ops_fire_schedules(integer) is
  'Phase: raises the events of due slots, each once and in their order: {fired, missed, unplanned, more}. Of slots over 10 minutes late, missed says what happens: skip none, one the latest if none is due after it, all each, none older than the look back; what is let go leaves schedule:missed. The latest of one waits until nothing before now is unplanned. unplanned: schedules whose slots somebody has to compute.';

-- It answered without the problem before.
drop function if exists public.ops_list_schedules();
create or replace function public.ops_list_schedules()
returns table (id text, enabled boolean, cron text, time_zone text, missed text, event_type text, next_at timestamptz, last_fired_at timestamptz, last_event_id uuid, missed_today bigint, problem text)
language plpgsql stable set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
begin
  return query
  select s.value ->> 'id', s.value -> 'enabled' is distinct from 'false', s.value ->> 'cron', coalesce(s.value ->> 'time_zone', 'UTC'), coalesce(s.value ->> 'missed', 'one'), s.value #>> '{event,type}',
    (select min(t.slot_at) from public.ops_schedule_slots t where t.schedule_id = s.value ->> 'id' and t.state = 'planned'), f.slot_at, f.event_id,
    (select count(*) from public.ops_schedule_slots t where t.schedule_id = s.value ->> 'id' and t.state = 'missed' and t.slot_at > v_now - interval '1 day'),
    (select t.problem from public.ops_schedule_plans t where t.schedule_id = s.value ->> 'id' and t.revision = p.version)
  from public.ops_policy p cross join lateral jsonb_array_elements(p.value -> 'schedules') with ordinality s(value, n)
  left join lateral (select t.slot_at, t.event_id from public.ops_schedule_slots t where t.schedule_id = s.value ->> 'id' and t.state = 'fired' order by t.slot_at desc limit 1) f on true
  where p.key = 'schedules' order by s.n;
end $$;
comment on function public.ops_list_schedules() is 'The schedules of the policy with their next and last slot, how many were missed within a day, and why one cannot be planned.';

create or replace function public.ops_schedules_changed() returns void
language plpgsql set search_path = '' as $$
begin
  delete from public.ops_schedule_slots t where t.state = 'planned' and t.slot_at > public.ops_clock();
  delete from public.ops_schedule_plans p where not exists (select from public.ops_enabled_schedules() s where s.id = p.schedule_id);
end $$;
comment on function public.ops_schedules_changed() is 'The policy changed: what was planned ahead is planned anew by the next beat; what has fired stays fired.';

insert into public.ops_migrations (version, name) values ('0015', 'ops_schedules') on conflict do nothing;
