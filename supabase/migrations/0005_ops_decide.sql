-- 0005 Events and decisions: what happened, which patterns it fires, and why the others said no.
--
-- Why so: one evaluator, over a set of events and a set of compiled patterns, serves heartbeat, explanation,
-- simulation and tests alike; it has no clock, no randomness and no writes, so a replay gives the same answer.
-- Locks: events (oldest first, skip locked) → limit rows (by key). Undo: rollbacks/0005_ops_decide.sql.

-- Taking events in ----------------------------------------------------------------------------------------------

create or replace function public.ops_emit_events(p_events jsonb)
returns table ("position" integer, id uuid, created boolean, duplicate_of text)
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_ids uuid[];
  v_bad record;
begin
  if jsonb_typeof(p_events) is distinct from 'array' then
    perform public.ops_raise('OPS_011', 'events must be a list', null, 'Send [{"type": "…", "data": {…}}].');
  end if;
  select e.n - 1 as n, public.ops_event_problem(e.item) as problem into v_bad
  from jsonb_array_elements(p_events) with ordinality e(item, n)
  where public.ops_event_problem(e.item) is not null order by e.n limit 1;
  if found then
    perform public.ops_raise('OPS_011', format('event %s: %s', v_bad.n, v_bad.problem), jsonb_build_object('position', v_bad.n),
      'Nothing was stored. Correct this event and send the list again.');
  end if;
  v_ids := array(select public.ops_new_id() from generate_series(1, jsonb_array_length(p_events)));
  return query
  with sent as materialized (
    select e.n::integer - 1 as n, v_ids[e.n] as new_id, e.item from jsonb_array_elements(p_events) with ordinality e(item, n)
  ), stored as (
    insert into public.ops_agent_events (id, type, source, trust, data, dedupe_key, body_digest, traceparent, created_at)
    select s.new_id, s.item ->> 'type', coalesce(s.item ->> 'source', 'api'), coalesce(s.item ->> 'trust', 'verified'),
      coalesce(s.item -> 'data', '{}'), s.item ->> 'dedupe_key', s.item ->> 'body_digest', s.item ->> 'traceparent',
      v_now + s.n * interval '1 microsecond'
    from sent s order by s.item ->> 'dedupe_key', s.n
    on conflict do nothing
    returning ops_agent_events.id
  )
  select s.n, s.new_id, true, null::text from sent s join stored on stored.id = s.new_id;
  -- A second statement, because only a new snapshot sees the rows that others have just committed.
  return query
  select s.n, known.id, false, known.why
  from (select e.n::integer - 1 as n, v_ids[e.n] as new_id, e.item from jsonb_array_elements(p_events) with ordinality e(item, n)
        where e.item ? 'dedupe_key' or e.item ? 'body_digest') s
  cross join lateral (
    select d.id, d.why from (
      select a.id, 'dedupe_key' as why from public.ops_agent_events a where a.dedupe_key = s.item ->> 'dedupe_key'
      union all
      select a.id, 'body_digest' from public.ops_agent_events a where a.body_digest = s.item ->> 'body_digest'
    ) d order by d.why desc limit 1
  ) known
  where known.id <> s.new_id and not exists (select from public.ops_agent_events a where a.id = s.new_id);
end $$;
comment on function public.ops_emit_events(jsonb) is
  'Stores a list of events, each once by dedupe_key and body_digest; answers a row per event with its place from 0. A duplicate answers the first one''s id. Raises OPS_011 and stores nothing if one is malformed.';

create or replace function public.ops_event_problem(p_event jsonb) returns text
language plpgsql immutable set search_path = '' as $$
begin
  return (
    select case
      when jsonb_typeof(p_event) is distinct from 'object' then 'is not an object'
      when coalesce(p_event ->> 'type', '') !~ '^[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)*$' or length(p_event ->> 'type') > 200
        then 'type must be words joined by colons, at most 200 characters'
      when (p_event ->> 'type') ~ '^(step|mission|proposal|schedule|heartbeat|alert|budget|radar|loop|switch|policy):'
        then format('type %s is the loop''s own', p_event ->> 'type')
      when jsonb_typeof(coalesce(p_event -> 'data', '{}')) <> 'object' then 'data must be an object'
      when p_event ->> 'trust' not in ('verified', 'unverified') then 'trust must be verified or unverified'
      when p_event ->> 'source' = 'ops-loop' then 'source ops-loop is the loop''s own'
      when '' in (p_event ->> 'dedupe_key', p_event ->> 'body_digest') then 'a key must not be empty: leave it out'
      when length(p_event ->> 'dedupe_key') > 500 or length(p_event ->> 'body_digest') > 200 then 'a key is too long'
    end);
end $$;
comment on function public.ops_event_problem(jsonb) is 'What is wrong with an event that somebody sends; null if nothing.';

create or replace function public.ops_emit_event(p_type text, p_data jsonb default '{}', p_source text default 'manual', p_dedupe_key text default null)
returns jsonb language sql set search_path = '' as $$
  select jsonb_build_object('id', e.id, 'created', e.created)
  from public.ops_emit_events(jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
    'type', p_type, 'source', p_source, 'dedupe_key', p_dedupe_key)) || jsonb_build_object('data', coalesce(p_data, '{}')))) e
$$;
comment on function public.ops_emit_event(text, jsonb, text, text) is
  'Stores one event: {id, created}. With a dedupe key that is known, answers the first one. Raises OPS_011.';

create or replace function public.ops_raise_event(p_type text, p_data jsonb, p_dedupe_key text default null, p_mission_id uuid default null,
  p_root_id uuid default null, p_depth integer default 0, p_chain text[] default '{}')
returns void language sql set search_path = '' as $$
  insert into public.ops_agent_events (type, source, trust, data, dedupe_key, mission_id, root_id, depth, chain, outcome, decided_at, processed_at, created_at)
  select p_type, 'ops-loop', 'loop', p_data, p_dedupe_key, p_mission_id, p_root_id, p_depth, p_chain,
    case when not o.open then 'unmatched' end, case when not o.open then n.now end, case when not o.open then n.now end, n.now
  from (select public.ops_clock() as now) n cross join (select public.ops_can_match(p_type) as open) o
  on conflict do nothing
$$;
comment on function public.ops_raise_event(text, jsonb, text, uuid, uuid, integer, text[]) is
  'Raises an event of the loop itself at a place in its chain; born closed when no enabled pattern can match it.';

create or replace function public.ops_raise_mission_event(p_type text, p_mission_id uuid, p_data jsonb, p_dedupe_key text default null) returns void
language sql set search_path = '' as $$
  select public.ops_raise_event(p_type, p_data, p_dedupe_key, m.id, m.root_id, m.depth + 1, m.chain) from public.ops_missions m where m.id = p_mission_id
$$;
comment on function public.ops_raise_mission_event(text, uuid, jsonb, text) is 'Raises an event that a mission caused, one deeper than that.';

create or replace function public.ops_raise_proposal_event(p_type text, p_proposal_id uuid, p_data jsonb) returns void
language sql set search_path = '' as $$
  select public.ops_raise_event(p_type, p_data || jsonb_build_object('proposal_id', p.id, 'title', p.title), null, null,
    coalesce(p.root_id, p.id), p.depth + 1, p.chain) from public.ops_mission_proposals p where p.id = p_proposal_id
$$;
comment on function public.ops_raise_proposal_event(text, uuid, jsonb) is 'Raises an event that a proposal caused, one deeper than that, so that loop limits see chains of proposals too.';

create or replace function public.ops_events_wake() returns trigger
language plpgsql set search_path = '' as $$
begin
  -- Most events are born closed, and a beat inserts none more often than not: neither may wake the beat that it came from.
  if exists (select from fresh f where f.processed_at is null) then
    perform public.ops_wake('ops_events');
  end if;
  return null;
end $$;
comment on function public.ops_events_wake() is 'Trigger: new events that somebody has to decide wake a reactive heartbeat that waits.';
create or replace trigger ops_events_wake after insert on public.ops_agent_events referencing new table as fresh
  for each statement execute function public.ops_events_wake();

create or replace function public.ops_proposals_wake() returns trigger
language plpgsql set search_path = '' as $$
begin
  if exists (select from fresh f where f.status = 'pending') then
    perform public.ops_wake('ops_events');
  end if;
  return null;
end $$;
comment on function public.ops_proposals_wake() is 'Trigger: new proposals, which a beat gates if nobody else does, wake a reactive heartbeat that waits.';
create or replace trigger ops_proposals_wake after insert on public.ops_mission_proposals referencing new table as fresh
  for each statement execute function public.ops_proposals_wake();

create or replace function public.ops_event_reopened() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.outcome := null;
  new.decided_at := null;
  new.failure_count := 0;
  new.last_error := null;
  return new;
end $$;
comment on function public.ops_event_reopened() is 'Trigger: an operator set processed_at to null, so the event is decided again under today''s matrix.';
create or replace trigger ops_event_reopened before update of processed_at on public.ops_agent_events
  for each row when (old.processed_at is not null and new.processed_at is null)
  execute function public.ops_event_reopened();

-- It had no cursor.
drop function if exists public.ops_replay_events(timestamptz, text, integer);
create or replace function public.ops_replay_events(p_since timestamptz, p_pattern text default null, p_limit integer default 1000, p_cursor text default null)
returns jsonb language plpgsql set search_path = '' as $$
declare
  v_after record := public.ops_page_cursor(p_cursor);
  v_count integer;
  v_last timestamptz;
  v_cursor text;
begin
  if p_pattern is not null and not exists (select from public.ops_policy_patterns p where p.pattern_id = p_pattern) then
    perform public.ops_raise('OPS_012', format('there is no enabled pattern %s', left(p_pattern, 100)), null,
      coalesce((select 'Use one of: ' || string_agg(p.pattern_id, ', ' order by p.position) from public.ops_policy_patterns p) || '.', 'The reaction matrix has no enabled pattern.'));
  end if;
  with past as (
    select e.id, e.created_at from public.ops_agent_events e
    where e.created_at > p_since and e.processed_at is not null and e.trust <> 'loop'
      -- The first half is the index's, the second tells rows of one microsecond apart.
      and (p_cursor is null or e.created_at >= v_after.at and (e.created_at, e.id) > (v_after.at, v_after.id))
      and (p_pattern is null or exists (
        select from public.ops_policy_patterns p where p.pattern_id = p_pattern
          and (e.type = any (p.types) or exists (select from unnest(p.likes) l where e.type like l))))
      and not exists (select from public.ops_agent_reactions r where r.event_id = e.id and (p_pattern is null or r.pattern_id = p_pattern))
    order by e.created_at, e.id limit p_limit for update skip locked
  ), reopened as (
    update public.ops_agent_events e set processed_at = null from past where e.id = past.id returning e.created_at, e.id)
  select count(*), max(r.created_at), (array_agg(concat_ws(' ', (extract(epoch from r.created_at) * 1000000)::bigint, r.id) order by r.created_at desc, r.id desc))[1]
    into v_count, v_last, v_cursor from reopened r;
  perform public.ops_wake('ops_events');
  return jsonb_build_object('reopened', v_count, 'until', v_last, 'more', v_count >= p_limit, 'cursor', v_cursor);
end $$;
comment on function public.ops_replay_events(timestamptz, text, integer, text) is
  'Opens past events from outside again, those after p_since, oldest first: {reopened, until, more, cursor}; pass the cursor for the next page, with the same p_since. They are decided under today''s matrix; what has fired stays fired. Raises OPS_012 for a pattern that is not there or not enabled, OPS_011.';

-- The evaluator -------------------------------------------------------------------------------------------------

create or replace function public.ops_event_document(p_event public.ops_agent_events) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return jsonb_build_object('id', p_event.id, 'type', p_event.type, 'source', p_event.source, 'trust', p_event.trust,
    'mission_id', p_event.mission_id, 'depth', p_event.depth, 'created_at', p_event.created_at, 'data', p_event.data);
end $$;
comment on function public.ops_event_document(public.ops_agent_events) is
  'The event as conditions and templates see it: {id, type, source, trust, mission_id, depth, created_at, data}.';

create or replace function public.ops_candidates(p_events public.ops_agent_events[], p_patterns public.ops_policy_patterns[])
returns table (event_id uuid, pattern_id text)
language sql immutable set search_path = '' as $$
  with event as materialized (
    select e.id, e.type, e.trust = 'loop' as system from unnest(p_events) e
  ), pattern as materialized (
    select p.pattern_id, p.types, p.likes, p.system_likes from unnest(p_patterns) p
  )
  select event.id, named.pattern_id
  from event join (select p.pattern_id, unnest(p.types) as type from pattern p) named using (type)
  union
  select event.id, globbed.pattern_id from event
  join (select p.pattern_id, false as system, unnest(p.likes) as glob from pattern p
        union all select p.pattern_id, true, unnest(p.system_likes) from pattern p) globbed
    on globbed.system = event.system and event.type like globbed.glob
$$;
comment on function public.ops_candidates(public.ops_agent_events[], public.ops_policy_patterns[]) is
  'Pairs (event, pattern) whose types match.';

create or replace function public.ops_evaluate(p_events public.ops_agent_events[], p_patterns public.ops_policy_patterns[], p_switches jsonb)
returns setof public.ops_event_decisions
language sql immutable set search_path = '' as $$
  with candidate as materialized (
    select c.event_id, c.pattern_id from public.ops_candidates(p_events, p_patterns) c
  ), subject as materialized (
    select e.id, e.source, e.data -> 'tags' as tags, z.bytes, case when z.bytes <= 65536 then public.ops_event_document(e) end as document
    from unnest(p_events) e
    cross join lateral (select case when pg_column_size(e.data) <= 65536 then octet_length(e.data::text) end as bytes offset 0) z
    where e.id in (select c.event_id from candidate c)
  ), tested as (
    select s.id, p.pattern_id, p.revision, p.position, p.probability,
      public.ops_switch_mode(p_switches, 'pattern:' || p.pattern_id) as switched,
      p.sources is null or s.source = any (p.sources) as source_ok,
      p.tags is null or coalesce(jsonb_typeof(s.tags) = 'array' and s.tags ?& p.tags, false) as tags_ok,
      b.error, p.where_path is null as always,
      case when b.error is null and p.where_path is not null then jsonb_path_query_first_tz(s.document, p.where_path, '{}', true) end as verdict,
      case when p.probability is not null then public.ops_roll(s.id, p.pattern_id) end as roll
    from candidate c
    join subject s on s.id = c.event_id
    join unnest(p_patterns) p on p.pattern_id = c.pattern_id
    cross join lateral (select case
      when p.where_path is null then null
      when s.document is null then 'event data over 64 kB cannot be tested'
      -- Each item is compared with each.
      when s.bytes > 2048 and public.ops_compares_paths(p.where_path) and public.ops_list_items(s.document) > 100
        then 'event data with over 100 list items cannot be tested by a condition that compares two paths; begin it with strict'
      end as error offset 0) b
  ), judged as (
    select t.*, case
      when t.switched in ('drain', 'halt') then 'switch'
      when not t.source_ok then 'source'
      when not t.tags_ok then 'tags'
      when t.error is not null then 'size'
      when not t.always and coalesce(t.verdict, 'null') in ('null', 'false') then 'where'
      when t.roll >= t.probability then 'probability'
    end as clause
    from tested t
  )
  select j.id, j.pattern_id, j.revision,
    case when j.clause is null then 'fired' when j.clause = 'switch' then 'suppressed' when j.clause = 'size' then 'failed' else 'unmatched' end,
    case when j.clause = 'size' then 'where' else j.clause end,
    case j.clause
      when 'switch' then jsonb_build_object('mode', j.switched)
      when 'size' then jsonb_build_object('error', j.error)
      when 'where' then jsonb_build_object('value', j.verdict)
      when 'probability' then jsonb_build_object('roll', j.roll, 'probability', j.probability)
    end,
    null::timestamptz
  from judged j
$$;
comment on function public.ops_evaluate(public.ops_agent_events[], public.ops_policy_patterns[], jsonb) is
  'What each candidate pattern says about each event as far as event and pattern alone decide: switch, source, tags, where, probability. Pure: no clock, no writes, never raises. fired means it passed so far.';

-- Bounds: what a pattern may do in time -------------------------------------------------------------------------

create or replace function public.ops_bound_keys(p_pattern public.ops_policy_patterns, p_event public.ops_agent_events,
  out cooldown_key text, out limit_key text, out fanout_key text, out error text)
language plpgsql immutable set search_path = '' as $$
declare
  v_context jsonb;
  v_text record;
begin
  if p_pattern.cooldown_key is not null or p_pattern.limit_key is not null then
    v_context := jsonb_build_object('event', public.ops_event_document(p_event));
  end if;
  if p_pattern.cooldown_minutes is not null then
    v_text := public.ops_render_text(coalesce(p_pattern.cooldown_key, '[]'), v_context);
    cooldown_key := 'cooldown:' || p_pattern.pattern_id || ':' || left(coalesce(v_text.rendered, ''), 300);
    error := v_text.error;
  end if;
  if p_pattern.limit_count is not null then
    v_text := public.ops_render_text(coalesce(p_pattern.limit_key, '[]'), v_context);
    limit_key := 'limit:' || p_pattern.pattern_id || ':' || left(coalesce(v_text.rendered, ''), 300);
    error := coalesce(error, v_text.error);
  end if;
  if p_event.depth > 0 then
    fanout_key := 'fanout:' || p_event.root_id;
  end if;
end $$;
comment on function public.ops_bound_keys(public.ops_policy_patterns, public.ops_agent_events) is
  'The limit rows that a firing would touch, null where it touches none; error when a key could not be rendered.';

create or replace function public.ops_fan_out(p_root_id uuid) returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return greatest((select l.used from public.ops_limits l where l.key = 'fanout:' || p_root_id),
    (select count(*) from public.ops_agent_reactions r where r.root_id = p_root_id));
end $$;
comment on function public.ops_fan_out(uuid) is 'How many reactions a root event has led to so far.';

create or replace function public.ops_loop_bound(p_pattern_id text, p_event public.ops_agent_events, p_limits jsonb, p_fan_out bigint) returns text
language plpgsql immutable set search_path = '' as $$
begin
  return case
    when p_event.depth = 0 then null
    when p_event.depth >= coalesce(public.ops_integer(p_limits -> 'max_depth'), 8) then 'max_depth'
    when cardinality(array_positions(p_event.chain, p_pattern_id)) >= coalesce(public.ops_integer(p_limits -> 'max_repeats'), 3) then 'max_repeats'
    when p_fan_out >= coalesce(public.ops_integer(p_limits -> 'max_fan_out'), 100) then 'max_fan_out'
  end;
end $$;
comment on function public.ops_loop_bound(text, public.ops_agent_events, jsonb, bigint) is
  'Which of loop_limits a chain of missions has grown past (depth 8, 100 reactions per root event, one pattern 3 times in a chain, unless the policy says otherwise); null when none.';

create or replace function public.ops_weigh_bounds(p_pattern public.ops_policy_patterns, p_event public.ops_agent_events, p_limits jsonb, p_now timestamptz,
  p_fan_out bigint, p_limit_start timestamptz, p_limit_used numeric, p_cooldown_start timestamptz, out clause text, out detail jsonb, out used numeric)
language plpgsql immutable set search_path = '' as $$
declare
  v_keys record := public.ops_bound_keys(p_pattern, p_event);
  v_loop text := public.ops_loop_bound(p_pattern.pattern_id, p_event, p_limits, p_fan_out);
  v_until timestamptz := p_limit_start + p_pattern.limit_minutes * interval '1 minute';
begin
  if v_keys.error is not null then
    clause := 'render';
    detail := jsonb_build_object('error', v_keys.error);
    return;
  elsif v_loop is not null then
    clause := 'loop_limits';
    detail := jsonb_build_object('limit', v_loop, 'depth', p_event.depth, 'root_id', p_event.root_id, 'chain', to_jsonb(p_event.chain));
    return;
  end if;
  if v_keys.limit_key is not null then
    used := coalesce(case when v_until > p_now then p_limit_used end, 0);
    if used >= p_pattern.limit_count then
      clause := 'limit';
      detail := jsonb_build_object('key', v_keys.limit_key, 'count', p_pattern.limit_count, 'until', v_until);
      return;
    end if;
  end if;
  if p_cooldown_start + p_pattern.cooldown_minutes * interval '1 minute' > p_now then
    clause := 'cooldown';
    detail := jsonb_build_object('key', v_keys.cooldown_key, 'until', p_cooldown_start + p_pattern.cooldown_minutes * interval '1 minute');
  end if;
end $$;
comment on function public.ops_weigh_bounds(public.ops_policy_patterns, public.ops_agent_events, jsonb, timestamptz, bigint, timestamptz, numeric, timestamptz) is
  'What loop limits, limit and cooldown say to one firing, in this order, given their counters: the clause that says no with its numbers, or null; used is what counts in the limit''s window. Pure: the heartbeat, explanations and simulation ask the same.';

create or replace function public.ops_ask_bounds(p_pattern public.ops_policy_patterns, p_event public.ops_agent_events, p_limits jsonb, p_now timestamptz,
  out clause text, out detail jsonb, out used numeric, out fan_out bigint)
language plpgsql stable set search_path = '' as $$
declare
  v_keys record := public.ops_bound_keys(p_pattern, p_event);
  v_limit record;
  v_cooldown timestamptz := (select l.window_start from public.ops_limits l where l.key = v_keys.cooldown_key);
begin
  fan_out := case when p_event.depth > 0 then public.ops_fan_out(p_event.root_id) end;
  select l.window_start, l.used into v_limit from public.ops_limits l where l.key = v_keys.limit_key;
  select w.clause, w.detail, w.used into clause, detail, used
  from public.ops_weigh_bounds(p_pattern, p_event, p_limits, p_now, fan_out, v_limit.window_start, v_limit.used, v_cooldown) w;
end $$;
comment on function public.ops_ask_bounds(public.ops_policy_patterns, public.ops_agent_events, jsonb, timestamptz) is
  'ops_weigh_bounds with the counters as they stand now; used and fan_out are the counts so far. Takes nothing.';

create or replace function public.ops_take_bounds(p_pattern public.ops_policy_patterns, p_event public.ops_agent_events, p_limits jsonb, p_now timestamptz,
  out clause text, out detail jsonb)
language plpgsql set search_path = '' as $$
declare
  v_keys record := public.ops_bound_keys(p_pattern, p_event);
  v_asked record := public.ops_ask_bounds(p_pattern, p_event, p_limits, p_now);
begin
  clause := v_asked.clause;
  detail := v_asked.detail;
  if clause = 'loop_limits' then
    perform public.ops_raise_event('loop:suppressed', detail || jsonb_build_object('pattern_id', p_pattern.pattern_id, 'event_id', p_event.id),
      format('loop:%s:%s:%s', p_event.root_id, p_pattern.pattern_id, detail ->> 'limit'), null, p_event.root_id, p_event.depth + 1, p_event.chain || p_pattern.pattern_id);
  elsif clause is null then
    update public.ops_limits l
    set used = case l.key when v_keys.fanout_key then v_asked.fan_out + 1 when v_keys.limit_key then v_asked.used + 1 else 1 end,
      window_start = case when l.key = v_keys.limit_key and v_asked.used > 0 then l.window_start else p_now end,
      updated_at = p_now
    where l.key in (v_keys.limit_key, v_keys.cooldown_key, v_keys.fanout_key);
  end if;
end $$;
comment on function public.ops_take_bounds(public.ops_policy_patterns, public.ops_agent_events, jsonb, timestamptz) is
  'Asks the bounds of one firing and takes them if all allow it; otherwise answers the clause that did not, a chain past its limits with one event per root, pattern and limit. The caller holds the limit rows.';

create or replace function public.ops_apply_bounds(p_events public.ops_agent_events[], p_patterns public.ops_policy_patterns[],
  p_decisions public.ops_event_decisions[], p_now timestamptz)
returns public.ops_event_decisions[]
language plpgsql set search_path = '' as $$
declare
  v_limits jsonb := public.ops_policy_value('loop_limits');
  v_keys text[];
  v_row record;
  v_bound record;
begin
  select array_agg(distinct k.key order by k.key) into v_keys
  from unnest(p_decisions) d
  join unnest(p_events) e on e.id = d.event_id
  join unnest(p_patterns) p on p.pattern_id = d.pattern_id
  cross join lateral public.ops_bound_keys(p, e) b
  cross join lateral (values (b.cooldown_key), (b.limit_key), (b.fanout_key)) k(key)
  where d.outcome = 'fired' and k.key is not null;
  if v_keys is null then
    return p_decisions;
  end if;
  insert into public.ops_limits (key, updated_at) select k, p_now from unnest(v_keys) k order by k on conflict do nothing;
  perform from public.ops_limits l where l.key = any (v_keys) order by l.key for update;
  for v_row in
    select d.ordinality as place, e, p from unnest(p_decisions) with ordinality d
    join unnest(p_events) e on e.id = d.event_id
    join unnest(p_patterns) p on p.pattern_id = d.pattern_id
    where d.outcome = 'fired' and (p.cooldown_minutes is not null or p.limit_count is not null or e.depth > 0)
    order by e.created_at, e.id, p.position
  loop
    v_bound := public.ops_take_bounds(v_row.p, v_row.e, v_limits, p_now);
    if v_bound.clause is not null then
      p_decisions[v_row.place].outcome := case v_bound.clause when 'render' then 'failed' else 'suppressed' end;
      p_decisions[v_row.place].clause := v_bound.clause;
      p_decisions[v_row.place].detail := v_bound.detail;
    end if;
  end loop;
  return p_decisions;
end $$;
comment on function public.ops_apply_bounds(public.ops_agent_events[], public.ops_policy_patterns[], public.ops_event_decisions[], timestamptz) is
  'Takes limits and cooldowns for the decisions that would fire, oldest event first, and turns those that get none into suppressed ones. Locks the limit rows in key order.';

-- Deciding ------------------------------------------------------------------------------------------------------

create or replace function public.ops_render_reaction(p_pattern public.ops_policy_patterns, p_event public.ops_agent_events,
  out payload jsonb, out error text)
language plpgsql stable set search_path = '' as $$
declare
  v_context jsonb := jsonb_build_object('event', public.ops_event_document(p_event));
  v_tree record;
  v_key record;
begin
  v_tree := public.ops_render_tree(p_pattern.template, p_pattern.leaves, v_context);
  error := v_tree.error;
  if error is null and p_pattern.dedupe_key is not null then
    v_key := public.ops_render_text(p_pattern.dedupe_key, v_context);
    error := v_key.error;
  end if;
  if error is null and p_pattern.leaves <> '[]' then
    error := public.ops_params_problem(v_tree.tree, v_tree.leaves);
  end if;
  if error is null then
    -- Another roll than that of probability, and like it the same whenever it is asked.
    payload := jsonb_build_object('template', v_tree.tree || case when public.ops_roll(p_event.id, p_pattern.pattern_id || ':canary') >= p_pattern.canary
      then '{"dry_run": true}' else '{}'::jsonb end, 'leaves', coalesce(v_tree.leaves, '[]'));
    if p_pattern.dedupe_key is not null then
      payload := payload || jsonb_build_object('dedupe_key', left(p_pattern.pattern_id || ':' || v_key.rendered, 500));
    end if;
  end if;
end $$;
comment on function public.ops_render_reaction(public.ops_policy_patterns, public.ops_agent_events) is
  'The template of a pattern rendered for an event: {template, leaves, dedupe_key?}; error with its path when something is missing or no longer fits the executor.';

create or replace function public.ops_params_problem(p_template jsonb, p_leaves jsonb) returns text
language plpgsql stable set search_path = '' as $$
begin
  return (
    select format('%s: %s', problem.path, problem.message)
    from jsonb_array_elements(p_template -> 'steps') with ordinality s(step, n)
    join public.ops_executors x on x.name = coalesce(s.step ->> 'executor', s.step ->> 'kind') and x.params_schema is not null
    cross join lateral public.ops_schema_problems(x.params_schema, coalesce(s.step -> 'params', '{}'), format('$.steps[%s].params', s.n - 1),
      exists (select from jsonb_array_elements(coalesce(p_leaves, '[]')) l where l #>> '{path,0}' = 'steps' and l #>> '{path,1}' = (s.n - 1)::text)) problem
    order by s.n limit 1);
end $$;
comment on function public.ops_params_problem(jsonb, jsonb) is
  'The first step whose params do not fit its executor''s schema, with the path; null if all fit. A leaf still to be rendered fits anything.';

create or replace function public.ops_decide_batch(p_events public.ops_agent_events[]) returns integer
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_patterns public.ops_policy_patterns[] := array(select p from public.ops_policy_patterns p);
  -- From the patterns themselves: a policy written between two statements must not lend them its number.
  v_revision bigint := coalesce((select p.revision from unnest(v_patterns) p limit 1), (select p.version from public.ops_policy p where p.key = 'reaction_matrix'), 0);
  v_decisions public.ops_event_decisions[];
  v_queued integer;
begin
  v_decisions := array(select d from public.ops_evaluate(p_events, v_patterns, public.ops_policy_value('switches')) d
    where not exists (select from public.ops_agent_reactions r where r.event_id = d.event_id and r.pattern_id = d.pattern_id));
  v_decisions := public.ops_apply_bounds(p_events, v_patterns, v_decisions, v_now);
  with fired as materialized (
    select d.event_id, d.pattern_id, r.payload, r.error, coalesce(e.root_id, e.id) as root_id,
      v_now + row_number() over (order by e.created_at, e.id, p.position) * interval '1 microsecond' as fired_at
    from unnest(v_decisions) d
    join unnest(p_events) e on e.id = d.event_id
    join unnest(v_patterns) p on p.pattern_id = d.pattern_id
    cross join lateral public.ops_render_reaction(p, e) r
    where d.outcome = 'fired'
  ), decided as (
    insert into public.ops_event_decisions as o (event_id, pattern_id, revision, outcome, clause, detail, decided_at)
    select d.event_id, d.pattern_id, v_revision,
      case when f.error is not null then 'failed' else d.outcome end,
      case when f.error is not null then 'render' else d.clause end,
      case when f.error is not null then jsonb_build_object('error', f.error) else d.detail end, v_now
    from unnest(v_decisions) d left join fired f using (event_id, pattern_id)
    on conflict (event_id, pattern_id) do update set revision = excluded.revision, outcome = excluded.outcome,
      clause = excluded.clause, detail = excluded.detail, decided_at = excluded.decided_at
    returning o.event_id, o.outcome
  ), queued as (
    insert into public.ops_agent_reactions (event_id, pattern_id, payload, root_id, revision, created_at, updated_at)
    select f.event_id, f.pattern_id, f.payload, f.root_id, v_revision, f.fired_at, v_now from fired f where f.error is null
    on conflict do nothing returning event_id
  ), closed as (
    update public.ops_agent_events e
    set outcome = coalesce(o.outcome, 'unmatched'), decided_at = v_now, processed_at = v_now, revision = v_revision
    from unnest(p_events) given
    left join (
      select d.event_id, (array['fired', 'failed', 'suppressed', 'unmatched'])[min(array_position(array['fired', 'failed', 'suppressed', 'unmatched'], d.outcome))] as outcome
      from (select event_id, outcome from decided
            union all select r.event_id, 'fired' from public.ops_agent_reactions r
              where r.event_id in (select g.id from unnest(p_events) g where g.revision is not null)) d
      group by d.event_id) o on o.event_id = given.id
    where e.id = given.id
  )
  select count(*) into v_queued from queued;
  return v_queued;
end $$;
comment on function public.ops_decide_batch(public.ops_agent_events[]) is
  'Decides a set of events: decisions, reactions and the events'' outcomes in one transaction; answers how many reactions it queued. The caller holds the event rows.';

create or replace function public.ops_decide_one(p_event public.ops_agent_events) returns integer
language plpgsql set search_path = '' as $$
begin
  return public.ops_decide_batch(array[p_event]);
exception when others then
  if public.ops_is_transient(sqlstate) then
    raise;
  end if;
  update public.ops_agent_events e
  set outcome = 'failed', failure_count = e.failure_count + 1, last_error = left(sqlerrm, 2000),
    decided_at = public.ops_clock(), processed_at = public.ops_clock()
  where e.id = p_event.id;
  return 0;
end $$;
comment on function public.ops_decide_one(public.ops_agent_events) is
  'Decides one event by itself; if that fails too, closes it as failed with the error, so that it holds up nobody.';

create or replace function public.ops_type_weight(p_type text) returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return (
    select coalesce(sum(150 + 200 * jsonb_array_length(p.leaves)), 0) from public.ops_policy_patterns p
    where p_type = any (p.types) or exists (select from unnest(p.likes) l where p_type like l));
end $$;
comment on function public.ops_type_weight(text) is
  'What an event of this type costs before its data is looked at, in units of about 0.2 microseconds: 150 for each pattern that could match, 200 for each of its placeholders.';

create or replace function public.ops_take_batch(p_limit integer) returns public.ops_agent_events[]
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_taken public.ops_agent_events[] := '{}';
  v_event public.ops_agent_events;
  v_types jsonb := '{}';
  v_weight bigint := 0;
begin
  for v_event in
    select e.* from public.ops_agent_events e where e.processed_at is null
    order by e.created_at, e.id limit p_limit for update skip locked
  loop
    v_taken := v_taken || v_event;
    if not v_types ? v_event.type then
      v_types := v_types || jsonb_build_object(v_event.type, public.ops_type_weight(v_event.type));
    end if;
    -- Concatenation unpacks what is stored compressed, so these are the bytes that conditions will see.
    v_weight := v_weight + (v_types ->> v_event.type)::bigint + 4 * pg_column_size(v_event.data || '{}');
    exit when v_weight > 2000000;
  end loop;
  return v_taken;
end $$;
comment on function public.ops_take_batch(integer) is
  'Locks open events, oldest first, skipping those another beat holds: up to p_limit, and no more than can be decided in about half a second (500 kB of data, 10,000 candidates, or 8,000 placeholders); one event at least.';

create or replace function public.ops_decide_taken(p_events public.ops_agent_events[]) returns integer
language plpgsql set search_path = '' as $$
declare
  v_event public.ops_agent_events;
  v_queued integer := 0;
begin
  return public.ops_decide_batch(p_events);
exception when others then
  if public.ops_is_transient(sqlstate) then
    raise;
  end if;
  foreach v_event in array p_events loop
    v_queued := v_queued + public.ops_decide_one(v_event);
  end loop;
  return v_queued;
end $$;
comment on function public.ops_decide_taken(public.ops_agent_events[]) is 'Decides a batch as one; when that fails, event by event. Answers how many reactions it queued.';

create or replace function public.ops_decide_events(p_limit integer default 500) returns jsonb
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_started timestamptz := clock_timestamp();
  v_taken public.ops_agent_events[];
  v_events integer := 0;
  v_queued integer := 0;
begin
  loop
    v_taken := public.ops_take_batch(p_limit - v_events);
    exit when cardinality(v_taken) = 0;
    v_queued := v_queued + public.ops_decide_taken(v_taken);
    v_events := v_events + cardinality(v_taken);
    -- Real time, since this is about the caller's patience: a beat has 5 s, the API's role 8 s.
    exit when v_events >= p_limit or clock_timestamp() > v_started + interval '1 second';
  end loop;
  return jsonb_build_object('events', v_events, 'queued', v_queued, 'more', v_events >= p_limit or cardinality(v_taken) > 0);
end $$;
comment on function public.ops_decide_events(integer) is
  'Phase: decides up to p_limit open events, oldest first, skipping those another beat holds, for about a second at most: {events, queued, more}. A batch that fails is decided event by event.';

insert into public.ops_migrations (version, name) values ('0005', 'ops_decide') on conflict do nothing;
