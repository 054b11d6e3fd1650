-- 0010 Budgets and bounds per key: what a claim has to ask, step by step, before work starts that costs something.
--
-- Why so: a claim reserves what a step may cost in the rows of its budgets, under their locks, before the step starts;
-- what it did cost is settled afterwards. The end of an attempt only leaves a settlement: it takes no lock on a
-- budget, since it holds missions by then. The next claim or beat books the settlements. Until then the
-- reserve counts, so a budget errs on the safe side.
-- Locks: a claim takes budget rows by key before it takes steps; keys by advisory locks that it never waits for.
-- Undo: rollbacks/0010_ops_budgets.sql.

create table if not exists public.ops_budgets (
  key text primary key,
  budget text not null,
  unit text not null constraint ops_budgets_unit check (unit in ('usd', 'tokens', 'runs')),
  cap numeric not null,
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  reserved numeric not null default 0 constraint ops_budgets_reserved check (reserved >= 0),
  spent numeric not null default 0 constraint ops_budgets_spent check (spent >= 0),
  announced integer not null default 0,
  updated_at timestamptz not null default public.ops_clock()
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 200);
comment on table public.ops_budgets is 'One row per budget of the policy and period: what is reserved for running attempts and what ended ones cost. Kept as the record of what was spent.';
comment on column public.ops_budgets.key is '<budget>:<date its period starts>.';
comment on column public.ops_budgets.budget is 'global:usd:day, role:<role>:tokens:month, executor:<name>:runs:day, pattern:<id>:usd:month.';
comment on column public.ops_budgets.unit is 'usd, tokens or runs.';
comment on column public.ops_budgets.cap is 'The bound, as the policy said when the row was last used.';
comment on column public.ops_budgets.starts_at is 'Start of the day or month, in the time zone of the policy.';
comment on column public.ops_budgets.ends_at is 'Its end.';
comment on column public.ops_budgets.reserved is 'Set aside for attempts that run, and for ended ones that are not booked yet.';
comment on column public.ops_budgets.spent is 'Cost of ended attempts.';
comment on column public.ops_budgets.announced is 'Highest share announced by an event: 0, 80 or 100.';
comment on column public.ops_budgets.updated_at is 'Last change.';
create index if not exists ops_budgets_period on public.ops_budgets (budget, starts_at desc);

create table if not exists public.ops_budget_settlements (
  run_id text collate "C" primary key,
  reserved jsonb not null,
  usd numeric not null,
  tokens numeric not null,
  runs numeric not null,
  created_at timestamptz not null default public.ops_clock()
);
comment on table public.ops_budget_settlements is 'Ended attempts that are not booked in their budgets yet. The next claim or beat books and removes them.';
comment on column public.ops_budget_settlements.run_id is 'The attempt.';
comment on column public.ops_budget_settlements.reserved is 'What was reserved for it: {keys, usd, tokens}.';
comment on column public.ops_budget_settlements.usd is 'What it cost, in US dollars.';
comment on column public.ops_budget_settlements.tokens is 'Tokens it used.';
comment on column public.ops_budget_settlements.runs is '1; 0 when it was given back before it started.';
comment on column public.ops_budget_settlements.created_at is 'When the attempt ended.';

-- What the policy bounds ----------------------------------------------------------------------------------------

create or replace function public.ops_budget_caps(p_policy jsonb, p_now timestamptz)
returns table (key text, budget text, scope text, name text, unit text, cap numeric, starts_at timestamptz, ends_at timestamptz)
language plpgsql stable set search_path = '' as $$
begin
  return query
  with scoped as (
    select 'global' as scope, null::text as name, p_policy -> 'global' as caps where p_policy ? 'global'
    union all
    select s.scope, n.key, n.value from unnest(array['executor', 'pattern', 'role']) s(scope) cross join lateral jsonb_each(coalesce(p_policy -> s.scope, '{}')) n
  ), capped as (
    select s.scope, s.name, split_part(c.key, '_per_', 1) as unit, split_part(c.key, '_per_', 2) as period, c.value::numeric as cap
    from scoped s cross join lateral jsonb_each_text(s.caps) c
  ), timed as (
    select c.*, date_trunc(c.period, p_now, coalesce(p_policy ->> 'time_zone', 'UTC')) as start, concat_ws(':', c.scope, c.name, c.unit, c.period) as budget from capped c
  )
  select t.budget || ':' || to_char(t.start at time zone coalesce(p_policy ->> 'time_zone', 'UTC'), 'YYYY-MM-DD'), t.budget, t.scope, t.name, t.unit, t.cap, t.start,
    ((t.start at time zone coalesce(p_policy ->> 'time_zone', 'UTC')) + ('1 ' || t.period)::interval) at time zone coalesce(p_policy ->> 'time_zone', 'UTC')
  from timed t order by 1;
end $$;
comment on function public.ops_budget_caps(jsonb, timestamptz) is 'The budgets of a policy with their present periods, a row each, by key.';

create or replace function public.ops_budget_reserve(p_policy jsonb, p_executor text, p_role text, p_unit text) returns numeric
language plpgsql stable set search_path = '' as $$
begin
  return coalesce((p_policy #>> array['reserve', p_role, p_unit])::numeric, (p_policy #>> array['reserve', p_executor, p_unit])::numeric,
    -- What neither holds a secret nor reaches outside has nobody to pay.
    (select 0 from public.ops_executors x where x.name = p_executor and x.touches = '{}'));
end $$;
comment on function public.ops_budget_reserve(jsonb, text, text, text) is
  'How much usd or tokens a step of this executor and role may cost: the reserve of the role, else of the executor, 0 for executors that touch neither secrets nor the outside, else null: not known.';

-- Book and announce ---------------------------------------------------------------------------------------------

create or replace function public.ops_book_settlements() returns integer
language plpgsql set search_path = '' as $$
declare
  v_count integer;
begin
  with ended as (
    delete from public.ops_budget_settlements s where s.run_id in (
      select o.run_id from public.ops_budget_settlements o order by o.run_id limit 1000 for update skip locked) returning s.*
  ), sums as (
    select k.key, sum(case b.unit when 'usd' then (e.reserved ->> 'usd')::numeric when 'tokens' then (e.reserved ->> 'tokens')::numeric else 1 end) as freed,
      sum(case b.unit when 'usd' then e.usd when 'tokens' then e.tokens else e.runs end) as cost
    from ended e cross join lateral jsonb_array_elements_text(e.reserved -> 'keys') k(key) join public.ops_budgets b on b.key = k.key group by k.key
  ), booked as (
    update public.ops_budgets b set reserved = greatest(b.reserved - s.freed, 0), spent = b.spent + s.cost, updated_at = public.ops_clock() from sums s where b.key = s.key
  )
  select count(*) into v_count from ended;
  return v_count;
end $$;
comment on function public.ops_book_settlements() is 'Turns the reserves of up to 1,000 ended attempts into what they cost; answers how many. The caller holds the rows of today''s budgets.';

create or replace function public.ops_open_budgets(p_policy jsonb, p_now timestamptz) returns void
language plpgsql set search_path = '' as $$
begin
  insert into public.ops_budgets (key, budget, unit, cap, starts_at, ends_at)
  select c.key, c.budget, c.unit, c.cap, c.starts_at, c.ends_at from public.ops_budget_caps(p_policy, p_now) c
  where not exists (select from public.ops_budgets b where b.key = c.key) on conflict do nothing;
  perform from public.ops_budgets b where b.key in (select c.key from public.ops_budget_caps(p_policy, p_now) c) order by b.key for update;
  update public.ops_budgets b set cap = c.cap, announced = 0 from public.ops_budget_caps(p_policy, p_now) c where b.key = c.key and b.cap <> c.cap;
  perform public.ops_book_settlements();
  perform public.ops_announce_budgets(p_now);
end $$;
comment on function public.ops_open_budgets(jsonb, timestamptz) is 'Makes and locks the rows of today''s budgets in key order and books what has ended since.';

create or replace function public.ops_announce_budgets(p_now timestamptz, p_exhausted text[] default '{}') returns void
language plpgsql set search_path = '' as $$
declare
  v_row record;
begin
  for v_row in
    with level as (
      select b.key, case when b.reserved + b.spent >= b.cap or b.budget = any (p_exhausted) then 100 when b.reserved + b.spent >= 0.8 * b.cap then 80 else 0 end as reached
      from public.ops_budgets b where b.starts_at <= p_now and b.ends_at > p_now
    )
    update public.ops_budgets b set announced = l.reached from level l where b.key = l.key and l.reached > b.announced returning b.*
  loop
    perform public.ops_raise_event(case v_row.announced when 100 then 'budget:exhausted' else 'budget:warning' end,
      jsonb_build_object('budget', v_row.budget, 'cap', v_row.cap, 'spent', v_row.spent, 'reserved', v_row.reserved, 'starts_at', v_row.starts_at, 'ends_at', v_row.ends_at),
      format('budget:%s:%s:%s', v_row.key, v_row.announced, v_row.cap));
  end loop;
end $$;
comment on function public.ops_announce_budgets(timestamptz, text[]) is 'Raises budget:warning at 80 % and budget:exhausted at 100 % or when a step had to wait, once per budget, period and cap.';

-- Reserve at the claim ------------------------------------------------------------------------------------------

create or replace function public.ops_has_budgets(p_policy jsonb) returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return p_policy ?| array['global', 'role', 'executor', 'pattern'];
end $$;
comment on function public.ops_has_budgets(jsonb) is 'Whether a budgets policy bounds anything.';

create or replace function public.ops_budget_room(p_policy jsonb, p_step public.ops_mission_steps, p_now timestamptz, out blocker text, out reserved jsonb)
language plpgsql stable set search_path = '' as $$
declare
  v_usd numeric := public.ops_budget_reserve(p_policy, p_step.executor, p_step.role, 'usd');
  v_tokens numeric := public.ops_budget_reserve(p_policy, p_step.executor, p_step.role, 'tokens');
  v_keys jsonb;
begin
  if p_step.dry_run then
    return;
  end if;
  select min(case when n.need is null then format('budget:unpriced:%s:%s', p_step.executor, c.unit) else 'budget:' || c.budget end)
      filter (where n.need is null or n.need > 0 and b.reserved + b.spent + n.need > b.cap), jsonb_agg(c.key)
  into blocker, v_keys
  from public.ops_budget_caps(p_policy, p_now) c join public.ops_budgets b on b.key = c.key
  cross join lateral (select case c.unit when 'usd' then v_usd when 'tokens' then v_tokens else 1 end as need) n
  where c.scope = 'global' or c.scope = 'executor' and c.name = p_step.executor or c.scope = 'role' and c.name = p_step.role or c.scope = 'pattern' and c.name = p_step.pattern_id;
  if blocker is null and v_keys is not null then
    reserved := jsonb_build_object('keys', v_keys, 'usd', coalesce(v_usd, 0), 'tokens', coalesce(v_tokens, 0));
  end if;
end $$;
comment on function public.ops_budget_room(jsonb, public.ops_mission_steps, timestamptz) is
  'Whether the budgets of a step have room for its reserve: the wait_reason of the first that has not, else what to reserve (null when nothing bounds it). The caller has opened the budgets.';

create or replace function public.ops_reserve_budgets(p_ids uuid[], p_policy jsonb, p_now timestamptz, out ids uuid[], out reserved jsonb)
language plpgsql set search_path = '' as $$
declare
  v_step public.ops_mission_steps;
  v_room record;
  v_blockers text[] := '{}';
begin
  ids := '{}';
  reserved := '{}';
  -- One after the other: what the first reserves is not there for the second. Only claims under budgets come here.
  for v_step in select s.* from public.ops_mission_steps s where s.id = any (p_ids) order by s.priority, s.ready_at, s.id loop
    v_room := public.ops_budget_room(p_policy, v_step, p_now);
    if v_room.blocker is null then
      ids := ids || v_step.id;
      if v_room.reserved is not null then
        reserved := reserved || jsonb_build_object(v_step.id::text, v_room.reserved);
        update public.ops_budgets b set updated_at = p_now,
          reserved = b.reserved + case b.unit when 'usd' then (v_room.reserved ->> 'usd')::numeric when 'tokens' then (v_room.reserved ->> 'tokens')::numeric else 1 end
        where b.key in (select jsonb_array_elements_text(v_room.reserved -> 'keys'));
      end if;
    else
      v_blockers := v_blockers || substr(v_room.blocker, 8);
      update public.ops_mission_steps s set status = 'scheduled', wait_reason = v_room.blocker, updated_at = p_now where s.id = v_step.id;
    end if;
  end loop;
  perform public.ops_announce_budgets(p_now, v_blockers);
end $$;
comment on function public.ops_reserve_budgets(uuid[], jsonb, timestamptz) is
  'Reserves for each of these queued steps, in order, what it may cost; a step without room leaves the queue with its wait_reason. Answers who may start, and the reserves by step.';

create or replace function public.ops_free_budget_holds(p_policy jsonb, p_limit integer, p_now timestamptz) returns void
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_budget text;
  v_step public.ops_mission_steps;
begin
  for v_budget in select c.budget from public.ops_budget_caps(p_policy, p_now) c loop
    select s.* into v_step from public.ops_mission_steps s where s.wait_reason = 'budget:' || v_budget order by s.priority, s.ready_at, s.id limit 1;
    -- Only when the first in line would start: otherwise a poll would take all of them out and put them back.
    if found and (public.ops_budget_room(p_policy, v_step, p_now)).blocker is null then
      perform public.ops_let_go('budget:' || v_budget, p_limit, p_now);
    end if;
  end loop;
end $$;
comment on function public.ops_free_budget_holds(jsonb, integer, timestamptz) is 'Queues steps that waited for a budget which has room again for the first of them.';

create or replace function public.ops_settlement_usd(p_meta jsonb, p_reserved jsonb, p_outcome text, p_unit text) returns numeric
language plpgsql immutable set search_path = '' as $$
begin
  return case
    when p_outcome = 'released' then 0
    when jsonb_typeof(p_meta -> p_unit) = 'number' then greatest((p_meta ->> p_unit)::numeric, 0)
    when p_outcome = 'rate_limited' then 0 -- the other side did not take it
    else coalesce((p_reserved ->> p_unit)::numeric, 0) end;
end $$;
comment on function public.ops_settlement_usd(jsonb, jsonb, text, text) is
  'What an ended attempt is settled at, in usd or tokens: what its executor reported, else its reserve (a crash reports nothing); nothing when it was given back or turned away.';

create or replace function public.ops_settle_budgets(p_ended jsonb) returns void
language plpgsql set search_path = '' as $$
begin
  insert into public.ops_budget_settlements (run_id, reserved, usd, tokens, runs)
  select e.run_id, e.reserved, public.ops_settlement_usd(e.meta, e.reserved, e.outcome, 'usd'), public.ops_settlement_usd(e.meta, e.reserved, e.outcome, 'tokens'),
    case e.outcome when 'released' then 0 else 1 end
  from jsonb_to_recordset(p_ended) e(run_id text, reserved jsonb, meta jsonb, outcome text) on conflict do nothing;
end $$;
comment on function public.ops_settle_budgets(jsonb) is 'Leaves the settlements of ended attempts [{run_id, reserved, meta, outcome}] for the next booking.';

create or replace function public.ops_list_budgets() returns table (budget text, unit text, cap numeric, spent numeric, reserved numeric, remaining numeric, waiting bigint, starts_at timestamptz, ends_at timestamptz)
language plpgsql stable set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
begin
  return query
  select c.budget, c.unit, c.cap, coalesce(b.spent, 0) + coalesce(u.cost, 0), coalesce(b.reserved, 0) - coalesce(u.freed, 0),
    c.cap - coalesce(b.spent, 0) - coalesce(b.reserved, 0) - coalesce(u.cost, 0) + coalesce(u.freed, 0),
    (select count(*) from public.ops_mission_steps s where s.wait_reason = 'budget:' || c.budget), c.starts_at, c.ends_at
  from public.ops_budget_caps(public.ops_policy_value('budgets'), v_now) c left join public.ops_budgets b on b.key = c.key
  left join lateral (
    select sum(case c.unit when 'usd' then (s.reserved ->> 'usd')::numeric when 'tokens' then (s.reserved ->> 'tokens')::numeric else 1 end) as freed,
      sum(case c.unit when 'usd' then s.usd when 'tokens' then s.tokens else s.runs end) as cost
    from public.ops_budget_settlements s where s.reserved -> 'keys' ? c.key) u on true
  order by c.budget;
end $$;
comment on function public.ops_list_budgets() is 'Today''s budgets: cap, what is spent and reserved, what remains, and how many steps wait for each.';

create or replace function public.ops_check_budgets() returns table (invariant text, entity text, id text, detail jsonb)
language sql stable set search_path = '' as $$
  with held as (
    select r.reserved from public.ops_mission_steps s join public.ops_action_runs r on r.run_id = s.id::text || ':' || s.lease_epoch
    where s.status = 'running' and r.reserved is not null and exists (select from public.ops_budgets b)
    union all
    select u.reserved from public.ops_budget_settlements u
  ), sums as (
    select k.key, sum((h.reserved ->> 'usd')::numeric) as usd, sum((h.reserved ->> 'tokens')::numeric) as tokens, count(*) as runs
    from held h cross join lateral jsonb_array_elements_text(h.reserved -> 'keys') k(key) group by k.key
  )
  select 'budget_reserve_adrift', 'budget', b.key, jsonb_build_object('reserved', b.reserved, 'held', coalesce(case b.unit when 'usd' then s.usd when 'tokens' then s.tokens else s.runs end, 0))
  from public.ops_budgets b left join sums s on s.key = b.key
  where b.reserved <> coalesce(case b.unit when 'usd' then s.usd when 'tokens' then s.tokens else s.runs end, 0)
$$;
comment on function public.ops_check_budgets() is 'Budgets whose reserve is not the sum of what running and unbooked attempts hold.';

-- Bounds per key ------------------------------------------------------------------------------------------------

create or replace function public.ops_key_bounds(p_policy jsonb, p_executor text) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return coalesce(p_policy #> array['executors', p_executor, 'per_key'],
    (select jsonb_build_object('param', x.exclusive, 'max_running', 1) from public.ops_executors x where x.name = p_executor and x.exclusive is not null));
end $$;
comment on function public.ops_key_bounds(jsonb, text) is
  'The bound per key of an executor, {param, max_running?, rate?}: worker_policy says so, else the executor''s own trait (one at a time per value of that parameter), else null.';

create or replace function public.ops_plain_quotas(p_executors text[], p_quotas integer[], p_policy jsonb) returns integer[]
language plpgsql stable set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_keyed text[] := array(select b.name from unnest(p_executors) b(name)
    where p_policy #> array['executors', b.name, 'per_key'] is not null
      or exists (select from public.ops_executors x where x.name = b.name and x.exclusive is not null));
begin
  if v_keyed = '{}' then
    return p_quotas;
  elsif exists (select from public.ops_mission_steps s where s.status = 'queued' and s.executor = any (v_keyed))
    or exists (select from public.ops_mission_steps s where s.wait_reason is not null) then
    return null;
  end if;
  return array(select case when q.executor = any (v_keyed) then 0 else q.quota end from unnest(p_executors, p_quotas) with ordinality q(executor, quota, n) order by q.n);
end $$;
comment on function public.ops_plain_quotas(text[], integer[], jsonb) is
  'The quotas of a claim that need not look at keys, because no executor with a bound per key has anything to do: theirs are 0, should something come meanwhile. Null when there is something to look at.';

create or replace function public.ops_step_key(p_bounds jsonb, p_step public.ops_mission_steps) returns text
language plpgsql immutable set search_path = '' as $$
begin
  return p_step.executor || ':' || left(p_step.params #>> string_to_array(p_bounds ->> 'param', '.'), 200);
end $$;
comment on function public.ops_step_key(jsonb, public.ops_mission_steps) is 'The key of a step under its executor''s bound: <executor>:<value of the parameter>; null when it has no such parameter.';

create or replace function public.ops_key_quota(p_key text, p_bounds jsonb, p_executor text, p_chosen uuid[], p_now timestamptz, out quota integer, out reason text)
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_minutes numeric := p_bounds #>> '{rate,per_minutes}';
  v_left integer;
begin
  if p_bounds ? 'max_running' then
    quota := greatest(public.ops_integer(p_bounds -> 'max_running') - (select count(*) from public.ops_mission_steps s
      where (s.status = 'running' and s.executor = p_executor and s.lease_expires_at > p_now or s.id = any (p_chosen)) and public.ops_step_key(p_bounds, s) = p_key), 0);
    reason := 'limit:key:' || p_key;
  end if;
  if v_minutes is not null then
    insert into public.ops_limits as l (key, window_start) values ('key:' || p_key, p_now)
    on conflict (key) do update set window_start = p_now, used = 0, updated_at = p_now where l.window_start + v_minutes * interval '1 minute' <= p_now;
    select greatest(public.ops_integer(p_bounds #> '{rate,count}') - l.used, 0)::integer into v_left from public.ops_limits l where l.key = 'key:' || p_key;
    if quota is null or v_left < quota then
      quota := v_left;
      reason := 'rate:key:' || p_key;
    end if;
  end if;
end $$;
comment on function public.ops_key_quota(text, jsonb, text, uuid[], timestamptz) is
  'How many more steps of a key may start now (running ones counted from live leases, with those this claim has chosen), and which bound binds. The caller holds the key''s advisory lock.';

create or replace function public.ops_keep_within_keys(p_ids uuid[], p_chosen uuid[], p_policy jsonb, p_now timestamptz, out kept uuid[], out busy uuid[])
language plpgsql set search_path = '' as $$
declare
  v_key record;
  v_quota record;
begin
  kept := '{}';
  busy := '{}';
  for v_key in
    select k.key, b.executor, b.bounds, array_agg(s.id order by s.priority, s.ready_at, s.id) as ids
    from public.ops_mission_steps s join (select x.executor, public.ops_key_bounds(p_policy, x.executor) as bounds
      from (select distinct e.executor from public.ops_mission_steps e where e.id = any (p_ids)) x) b on b.executor = s.executor
    cross join lateral (select public.ops_step_key(b.bounds, s) as key) k
    where s.id = any (p_ids) group by k.key, b.executor, b.bounds order by k.key
  loop
    if v_key.key is null then
      kept := kept || v_key.ids;
    elsif not pg_try_advisory_xact_lock(hashtextextended('ops key ' || v_key.key, 0)) then
      busy := busy || v_key.ids; -- another claim counts this key now: it is looked at again next time
    else
      v_quota := public.ops_key_quota(v_key.key, v_key.bounds, v_key.executor, p_chosen, p_now);
      kept := kept || v_key.ids[:v_quota.quota];
      update public.ops_mission_steps s set status = 'scheduled', wait_reason = v_quota.reason, updated_at = p_now where s.id = any (v_key.ids[v_quota.quota + 1:]);
      update public.ops_limits l set used = l.used + least(v_quota.quota, cardinality(v_key.ids)), updated_at = p_now where l.key = 'key:' || v_key.key and v_key.bounds ? 'rate';
    end if;
  end loop;
end $$;
comment on function public.ops_keep_within_keys(uuid[], uuid[], jsonb, timestamptz) is
  'Which of these queued steps may start under the bounds per key; those beyond a bound leave the queue with their wait_reason. Waits for nobody: steps of a key that another claim looks at are busy.';

create or replace function public.ops_free_keys(p_ended uuid[], p_now timestamptz) returns void
language plpgsql set search_path = '' as $$
declare
  v_policy jsonb := public.ops_policy_value('worker_policy');
  v_key text;
begin
  for v_key in select distinct public.ops_step_key(b.bounds, s) from public.ops_mission_steps s
    cross join lateral (select public.ops_key_bounds(v_policy, s.executor) as bounds) b where s.id = any (p_ended) and b.bounds ? 'max_running'
  loop
    perform public.ops_let_go('limit:key:' || v_key, 1, p_now);
  end loop;
end $$;
comment on function public.ops_free_keys(uuid[], timestamptz) is 'Steps have ended: the next one in line for each of their keys is queued.';

create or replace function public.ops_free_key_holds(p_policy jsonb, p_now timestamptz) returns integer
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_reason text := 'limit:key:';
  v_step public.ops_mission_steps;
  v_bounds jsonb;
  v_freed integer := 0;
begin
  -- From one reason to the next in the index; limit:key: and rate:key: are two stretches of it.
  loop
    select s.* into v_step from public.ops_mission_steps s where s.wait_reason > v_reason order by s.wait_reason, s.priority, s.ready_at, s.id limit 1;
    exit when not found;
    v_reason := v_step.wait_reason;
    continue when v_reason !~ '^(limit|rate):key:';
    v_bounds := public.ops_key_bounds(p_policy, v_step.executor);
    if v_bounds is null then
      v_freed := v_freed + public.ops_let_go(v_reason, 1000, p_now);
    elsif v_reason like 'limit:%' and not exists (select from public.ops_mission_steps s where s.status = 'running' and s.executor = v_step.executor
        and s.lease_expires_at > p_now and public.ops_step_key(v_bounds, s) = substr(v_reason, 11))
      or v_reason like 'rate:%' and exists (select from public.ops_limits l where l.key = substr(v_reason, 6)
        and l.window_start + (v_bounds #>> '{rate,per_minutes}')::numeric * interval '1 minute' <= p_now) then
      v_freed := v_freed + public.ops_let_go(v_reason, coalesce(public.ops_integer(v_bounds -> 'max_running'), public.ops_integer(v_bounds #> '{rate,count}'), 1), p_now);
    end if;
  end loop;
  return v_freed;
end $$;
comment on function public.ops_free_key_holds(jsonb, timestamptz) is
  'Queues steps held for a key that nothing runs under any more, or whose window has turned; answers how many. The ends of steps do so at once: this is for ends nobody reported, and for windows.';

-- The choice of a claim under such bounds -----------------------------------------------------------------------

create or replace function public.ops_pick_bounded(p_executors text[], p_quotas integer[], p_limit integer, p_policy jsonb, p_budgets jsonb, p_now timestamptz, out ids uuid[], out reserved jsonb)
language plpgsql set search_path = '' as $$
declare
  v_seen uuid[] := '{}';
  v_new uuid[];
  v_keys record;
  v_start uuid[];
  v_reserved jsonb;
  v_left integer[] := p_quotas;
begin
  ids := '{}';
  reserved := '{}';
  if public.ops_has_budgets(p_budgets) then
    perform public.ops_open_budgets(p_budgets, p_now);
    perform public.ops_free_budget_holds(p_budgets, p_limit, p_now);
  end if;
  perform public.ops_free_key_holds(p_policy, p_now);
  -- Each pass drops what may not start; the next fills up behind it.
  for v_pass in 1 .. 20 loop
    v_new := public.ops_pick_steps(p_executors, v_left, p_limit - cardinality(ids), v_seen);
    exit when cardinality(v_new) = 0;
    v_keys := public.ops_keep_within_keys(v_new, ids, p_policy, p_now);
    v_start := v_keys.kept;
    if public.ops_has_budgets(p_budgets) then
      select r.ids, r.reserved into v_start, v_reserved from public.ops_reserve_budgets(v_keys.kept, p_budgets, p_now) r;
      reserved := reserved || v_reserved;
    end if;
    ids := ids || v_start;
    v_seen := v_seen || v_new;
    exit when cardinality(v_start) = cardinality(v_new) or cardinality(ids) >= p_limit;
    v_left := array(select greatest(q.quota - (select count(*) from public.ops_mission_steps s where s.id = any (ids) and s.executor = q.executor)::integer, 0)
      from unnest(p_executors, p_quotas) with ordinality q(executor, quota, n) order by q.n);
  end loop;
end $$;
comment on function public.ops_pick_bounded(text[], integer[], integer, jsonb, jsonb, timestamptz) is
  'Like ops_pick_steps, with budgets and bounds per key asked for each step: who may start, and what is reserved for whom.';

insert into public.ops_migrations (version, name) values ('0010', 'ops_budgets') on conflict do nothing;
