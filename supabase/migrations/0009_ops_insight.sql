-- 0009 Insight: why, the causal tree, status, health, and the invariants.
--
-- Why so: one command must say why an event did or did not fire, why a proposal waits, why a step is not claimed. The
-- answers come from the evaluator and the rows that the engine itself goes by, so they cannot disagree with it; every
-- function here only reads, and works in a read-only transaction. Locks: none. Undo: rollbacks/0009_ops_insight.sql.

-- Words -----------------------------------------------------------------------------------------------------------

create or replace function public.ops_say_span(p_seconds numeric) returns text
language sql immutable set search_path = '' as $$
  select case when p_seconds < 1 then 'less than a second' when p_seconds >= 1 then format('%s %s%s', s.n, s.unit, case when s.n <> 1 then 's' end) end
  from (select case when p_seconds < 90 then floor(p_seconds) when p_seconds < 5400 then round(p_seconds / 60)
      when p_seconds < 172800 then round(p_seconds / 3600) else round(p_seconds / 86400) end as n,
    case when p_seconds < 90 then 'second' when p_seconds < 5400 then 'minute' when p_seconds < 172800 then 'hour' else 'day' end as unit) s
$$;
comment on function public.ops_say_span(numeric) is 'Seconds in words: 45 seconds, 3 minutes, 2 hours, 5 days; null for null.';

create or replace function public.ops_say_time(p_at timestamptz, p_now timestamptz) returns text
language sql stable set search_path = '' as $$
  select to_char(p_at at time zone 'UTC', case when abs(extract(epoch from p_at - p_now)) < 120 then 'HH24:MI:SS'
    when date_trunc('day', p_at, 'UTC') = date_trunc('day', p_now, 'UTC') then 'HH24:MI' else 'YYYY-MM-DD HH24:MI' end) || ' UTC'
$$;
comment on function public.ops_say_time(timestamptz, timestamptz) is 'A time in UTC: with its day when that is not today, with seconds when it is near.';

create or replace function public.ops_say_when(p_at timestamptz, p_now timestamptz) returns text
language sql stable set search_path = '' as $$
  select format('%s (%s)', public.ops_say_time(p_at, p_now), case when abs(d.seconds) < 0.1 then 'just now'
    when d.seconds > 0 then public.ops_say_span(d.seconds) || ' left' else public.ops_say_span(-d.seconds) || ' ago' end)
  from (select extract(epoch from p_at - p_now) as seconds) d
$$;
comment on function public.ops_say_when(timestamptz, timestamptz) is 'A time with its distance from now: 12:04 UTC (3 minutes left).';

create or replace function public.ops_say_list(p_items text[], p_limit integer default 10) returns text
language sql immutable set search_path = '' as $$
  select coalesce(array_to_string(p_items[1:p_limit], ', '), '') || case when cardinality(p_items) > p_limit
    then format(' and %s more', cardinality(p_items) - p_limit) else '' end
$$;
comment on function public.ops_say_list(text[], integer) is 'Up to p_limit items with commas, and how many more there are.';

create or replace function public.ops_say_error(p_error text) returns text
language sql immutable set search_path = '' as $$
  select case when length(e.line) > 300 then left(e.line, 300) || ' …' else rtrim(e.line, '. ') end
  from (select regexp_replace(coalesce(nullif(trim(p_error), ''), 'no message'), '\s+', ' ', 'g') as line) e
$$;
comment on function public.ops_say_error(text) is 'An error message on one line, at most 300 characters, without its full stop.';

create or replace function public.ops_not_found(p_what text, p_id uuid) returns void
language plpgsql stable set search_path = '' as $$
begin
  perform public.ops_raise('OPS_012', format('there is no %s %s', p_what, coalesce(p_id::text, 'without an id')), jsonb_build_object('id', p_id),
    'Give the full id of a row that is still kept: finished rows are archived after the days that the retention policy says. `ops-loop status` shows what there is.');
end $$;
comment on function public.ops_not_found(text, uuid) is 'Raises OPS_012 for an id that is not there.';

-- Why: an event -----------------------------------------------------------------------------------------------------

create or replace function public.ops_event_matrix(p_event public.ops_agent_events, out revision bigint, out matrix jsonb)
language plpgsql stable set search_path = '' as $$
begin
  if p_event.processed_at is null then
    select p.version, p.value into revision, matrix from public.ops_policy p where p.key = 'reaction_matrix';
  elsif p_event.revision is null or p_event.last_error is not null then
    select h.version, h.value into revision, matrix from public.ops_policy_history h
    where h.key = 'reaction_matrix' and h.updated_at <= coalesce(p_event.decided_at, p_event.created_at) order by h.version desc limit 1;
  else
    select h.version, h.value into revision, matrix from public.ops_policy_history h where h.key = 'reaction_matrix' and h.version = p_event.revision;
  end if;
  revision := coalesce(revision, 0);
end $$;
comment on function public.ops_event_matrix(public.ops_agent_events) is
  'The reaction matrix that an event is held against: today''s while it is open, then the recorded revision; the one in force at the time for events that were born closed or could not be decided. Revision 0 means there was none.';

create or replace function public.ops_path_error(p_document jsonb, p_path jsonpath) returns text
language plpgsql stable set search_path = '' as $$
begin
  perform jsonb_path_query_first_tz(p_document, p_path);
  return null;
exception when data_exception or invalid_parameter_value then
  return sqlerrm;
end $$;
comment on function public.ops_path_error(jsonb, jsonpath) is
  'Why a condition cannot be evaluated over a document; null if it can.';

create or replace function public.ops_expected_verdicts(p_event public.ops_agent_events, p_patterns public.ops_policy_patterns[], p_revision bigint,
  p_now timestamptz)
returns setof public.ops_event_decisions
language sql stable set search_path = '' as $$
  with said as materialized (
    select d.pattern_id, d.outcome, d.clause, d.detail from public.ops_evaluate(array[p_event], p_patterns, public.ops_policy_value('switches')) d
  ), bound as materialized (
    select p as pattern, p.pattern_id, b.clause, b.detail from said s join unnest(p_patterns) p on p.pattern_id = s.pattern_id
    cross join lateral public.ops_ask_bounds(p, p_event, public.ops_policy_value('loop_limits'), p_now) b where s.outcome = 'fired'
  ), rendered as materialized (
    select b.pattern_id, r.error from bound b cross join lateral public.ops_render_reaction(b.pattern, p_event) r where b.clause is null
  )
  select p_event.id, p.pattern_id, p_revision,
    case when r.id is not null then 'fired' when s.pattern_id is null then 'unmatched' when t.error is not null or b.clause = 'render' then 'failed'
      when b.clause is not null then 'suppressed' else s.outcome end,
    case when r.id is not null then null when s.pattern_id is null then 'type' when t.error is not null then 'render' else coalesce(b.clause, s.clause) end,
    case when r.id is not null then null when t.error is not null then jsonb_build_object('error', t.error) else coalesce(b.detail, s.detail) end,
    null::timestamptz
  from unnest(p_patterns) p
  left join said s on s.pattern_id = p.pattern_id
  left join bound b on b.pattern_id = p.pattern_id
  left join rendered t on t.pattern_id = p.pattern_id
  left join public.ops_agent_reactions r on r.event_id = p_event.id and r.pattern_id = p.pattern_id
$$;
comment on function public.ops_expected_verdicts(public.ops_agent_events, public.ops_policy_patterns[], bigint, timestamptz) is
  'What the next beat will decide about an open event, a row per pattern, as far as nothing else takes the same limit first. Clause type marks patterns that do not listen to it.';

create or replace function public.ops_recorded_verdicts(p_event public.ops_agent_events, p_patterns public.ops_policy_patterns[], p_revision bigint)
returns setof public.ops_event_decisions
language sql stable set search_path = '' as $$
  with candidate as materialized (
    select c.pattern_id from public.ops_candidates(array[p_event], p_patterns) c
  ), known as materialized (
    select d.* from public.ops_event_decisions d where d.event_id = p_event.id
  )
  select p_event.id, p.pattern_id, coalesce(d.revision, p_revision),
    case when d.pattern_id is not null then d.outcome when r.id is not null then 'fired'
      when c.pattern_id is not null and p_event.outcome = 'failed' then 'failed' else 'unmatched' end,
    case when d.pattern_id is not null then d.clause when r.id is not null then null when c.pattern_id is null then 'type'
      when p_event.outcome = 'failed' then 'error' else 'unrecorded' end,
    case when d.pattern_id is not null then d.detail when c.pattern_id is not null and p_event.outcome = 'failed' then jsonb_build_object('error', p_event.last_error) end,
    d.decided_at
  from unnest(p_patterns) p
  left join candidate c on c.pattern_id = p.pattern_id
  -- An earlier decision holds on only if it fired: what fired stays fired, the rest was asked again.
  left join known d on d.pattern_id = p.pattern_id and (d.revision = p_revision or d.outcome = 'fired')
  left join public.ops_agent_reactions r on r.event_id = p_event.id and r.pattern_id = p.pattern_id
  union all
  select k.* from known k where k.outcome = 'fired' and not exists (select from unnest(p_patterns) p where p.pattern_id = k.pattern_id)
$$;
comment on function public.ops_recorded_verdicts(public.ops_agent_events, public.ops_policy_patterns[], bigint) is
  'What was decided about a closed event, a row per pattern of that revision and per pattern that fired earlier. Clause type: it did not listen to this type; error: deciding failed; unrecorded: its decision is no longer kept.';

create or replace function public.ops_say_bound(p_pattern public.ops_policy_patterns, p_clause text, p_detail jsonb, p_now timestamptz) returns text
language plpgsql stable set search_path = '' as $$
declare
  v_until timestamptz := p_detail ->> 'until';
  v_is text := case when v_until > p_now then 'is' else 'was' end;
  v_limits jsonb := public.ops_policy_value('loop_limits');
  v_undo text := case when v_until > p_now then format('; `delete from ops_limits where key = %L` ends that now', p_detail ->> 'key') else '' end;
begin
  return case
    when p_clause = 'cooldown' then format('it %s in cooldown until %s%s', v_is, public.ops_say_when(v_until, p_now), v_undo)
    when p_clause = 'limit' and p_pattern.limit_count = 0 then 'its limit is 0'
    when p_clause = 'limit' then format('its limit of %s per %s %s used up until %s%s', p_detail ->> 'count',
      public.ops_say_span(coalesce(p_pattern.limit_minutes, 0) * 60), v_is, public.ops_say_when(v_until, p_now), v_undo)
    when p_detail ->> 'limit' = 'max_depth' then format('its chain is %s missions deep, loop_limits.max_depth is %s', p_detail ->> 'depth', coalesce(v_limits ->> 'max_depth', '8'))
    when p_detail ->> 'limit' = 'max_repeats' then format('it has fired %s times in this chain, loop_limits.max_repeats is %s',
      (select count(*) from jsonb_array_elements_text(p_detail -> 'chain') c where c = p_pattern.pattern_id), coalesce(v_limits ->> 'max_repeats', '3'))
    else format('the root event %s has led to as many reactions as loop_limits.max_fan_out (%s) allows', p_detail ->> 'root_id', coalesce(v_limits ->> 'max_fan_out', '100'))
  end;
end $$;
comment on function public.ops_say_bound(public.ops_policy_patterns, text, jsonb, timestamptz) is 'Why a cooldown, a limit or a loop limit keeps a pattern from firing, in words.';

create or replace function public.ops_say_clause(p_event public.ops_agent_events, p_pattern public.ops_policy_patterns, p_written jsonb,
  p_clause text, p_detail jsonb, p_now timestamptz) returns text
language plpgsql stable set search_path = '' as $$
declare
  v_is text := case when p_event.processed_at is null then 'is' else 'was' end;
  v_error text := case when p_clause = 'where' then coalesce(p_detail ->> 'error', public.ops_path_error(public.ops_event_document(p_event), p_pattern.where_path)) end;
begin
  return case p_clause
    when 'type' then format('it listens to %s', public.ops_say_list(public.ops_text_list(p_written -> 'event_type'), 5))
      || case when p_event.trust = 'loop' and exists (select from unnest(p_pattern.likes) l where p_event.type like l)
        then ', and a glob led by a wildcard hears the loop''s own events only with allow_system' else '' end
    when 'switch' then format('its switch %s at %s; `ops-loop resume pattern:%s` lifts it', v_is, p_detail ->> 'mode', p_pattern.pattern_id)
    when 'source' then format('it takes source %s, this event came from %s', public.ops_say_list(p_pattern.sources, 5), p_event.source)
    when 'tags' then format('it asks for the tags %s, of which the event lacks %s', public.ops_say_list(p_pattern.tags, 5),
      public.ops_say_list(array(select t from unnest(p_pattern.tags) t where not coalesce(case jsonb_typeof(p_event.data -> 'tags') when 'array' then p_event.data -> 'tags' ? t end, false)), 5))
    when 'where' then case when v_error is not null then format('its condition `%s` could not be tested: %s', p_written ->> 'where', public.ops_say_error(v_error))
      else format('its condition `%s` %s false (value %s)', p_written ->> 'where', v_is, left(coalesce(p_detail ->> 'value', 'null'), 100)) end
    when 'probability' then format('it rolled %s, fires below %s', trim_scale(round((p_detail ->> 'roll')::numeric, 4)), trim_scale((p_detail ->> 'probability')::numeric))
    when 'render' then format('its template could not be rendered: %s', public.ops_say_error(p_detail ->> 'error'))
    when 'error' then format('deciding the event failed: %s', public.ops_say_error(p_detail ->> 'error'))
    when 'unrecorded' then 'no decision is recorded; it is no longer kept'
    else public.ops_say_bound(p_pattern, p_clause, p_detail, p_now)
  end;
end $$;
comment on function public.ops_say_clause(public.ops_agent_events, public.ops_policy_patterns, jsonb, text, jsonb, timestamptz) is
  'The clause that said no, in words with its numbers. p_written is the pattern as its author wrote it.';

create or replace function public.ops_say_reaction(p_event_id uuid, p_pattern_id text) returns text
language sql stable set search_path = '' as $$
  select case r.status
    when 'queued' then 'its reaction waits for the next heartbeat' || case when public.ops_switch_mode(public.ops_policy_value('switches'), 'reactions') is not null
      then '; reactions are paused, `ops-loop resume reactions` lifts that' else '' end
    when 'failed' then format('its reaction failed: %s; `select ops_retry_reaction(''%s'')` tries again', public.ops_say_error(r.last_error), r.id)
    else format('%s proposal %s (%s%s) came of it%s', case when p.reaction_id is distinct from r.id then 'an earlier' else 'the' end, coalesce(r.proposal_id::text, 'that is gone'),
      coalesce(p.status, 'archived'), case when p.template -> 'dry_run' = 'true' then ', dry run' end, case when p.reaction_id is distinct from r.id and p.id is not null then ', found by the same dedupe key' else '' end) end
  from public.ops_agent_reactions r left join public.ops_mission_proposals p on p.id = r.proposal_id
  where r.event_id = p_event_id and r.pattern_id = p_pattern_id
$$;
comment on function public.ops_say_reaction(uuid, text) is 'What became of a firing, in words; null when there is no reaction (yet).';

create or replace function public.ops_event_patterns(p_event public.ops_agent_events, p_revision bigint, p_matrix jsonb, p_now timestamptz) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_patterns public.ops_policy_patterns[] := array(select p from public.ops_compile_matrix(p_matrix, p_revision) p);
  v_open boolean := p_event.processed_at is null;
  v_verdicts public.ops_event_decisions[] := case when v_open
    then array(select d from public.ops_expected_verdicts(p_event, v_patterns, p_revision, p_now) d)
    else array(select d from public.ops_recorded_verdicts(p_event, v_patterns, p_revision) d) end;
begin
  return (
    select coalesce(jsonb_agg(jsonb_build_object('pattern_id', d.pattern_id, 'name', p.name, 'revision', d.revision, 'outcome', d.outcome, 'clause', d.clause,
      'detail', case when d.clause = 'type' then jsonb_build_object('event_type', w.written -> 'event_type') else d.detail end,
      'sentence', format('Pattern %s %s.', d.pattern_id, case d.outcome
        when 'fired' then coalesce('fired' || case when d.revision <> p_revision then format(' under revision %s', d.revision) else '' end
          || ': ' || public.ops_say_reaction(p_event.id, d.pattern_id), case when v_open then 'will fire' else 'fired' end)
        else format('%s: %s', case when d.outcome = 'failed' and v_open then 'would fail' when d.outcome = 'failed' then 'failed' when v_open then 'would not fire' else 'did not fire' end,
          public.ops_say_clause(p_event, p, w.written, d.clause, d.detail, p_now)) end)) order by p.position, d.pattern_id), '[]')
    from unnest(v_verdicts) d
    left join unnest(v_patterns) p on p.pattern_id = d.pattern_id
    left join lateral (select m.written from jsonb_array_elements(p_matrix -> 'patterns') m(written) where m.written ->> 'id' = d.pattern_id limit 1) w on true);
end $$;
comment on function public.ops_event_patterns(public.ops_agent_events, bigint, jsonb, timestamptz) is
  'Every enabled pattern of a matrix and what it says or said about an event: [{pattern_id, name, revision, outcome, clause, detail, sentence}], in the order of the matrix.';

create or replace function public.ops_event_disabled(p_event public.ops_agent_events, p_matrix jsonb) returns text[]
language sql stable set search_path = '' as $$
  select array(select c.pattern_id from public.ops_candidates(array[p_event], array(select p from public.ops_compile_matrix(jsonb_build_object('patterns',
      (select coalesce(jsonb_agg(m.written - 'enabled'), '[]') from jsonb_array_elements(p_matrix -> 'patterns') m(written) where m.written -> 'enabled' = 'false')), 0) p)) c
    order by c.pattern_id)
$$;
comment on function public.ops_event_disabled(public.ops_agent_events, jsonb) is 'Ids of the disabled patterns of a matrix that would listen to an event.';

create or replace function public.ops_say_waiting_event(p_event public.ops_agent_events, p_now timestamptz) returns text[]
language plpgsql stable set search_path = '' as $$
declare
  v_switches jsonb := public.ops_policy_value('switches');
  v_scope text := case when public.ops_switch_mode(v_switches, 'all') is not null then 'all'
    when public.ops_switch_mode(v_switches, 'heartbeat') is not null and v_switches #> '{scopes,all}' is null then 'heartbeat' end;
  v_beat timestamptz := (select h.completed_at from public.ops_heartbeats h order by h.completed_at desc limit 1);
  v_ahead bigint := (select count(*) from (select from public.ops_agent_events e where e.processed_at is null
    and (e.created_at, e.id) < (p_event.created_at, p_event.id) limit 10000) a);
begin
  return array_remove(array[
    format('Event %s from %s has been open for %s.', p_event.type, p_event.source, public.ops_say_span(extract(epoch from p_now - p_event.created_at))),
    case when v_scope is not null then format('Deciding is paused by the switch %s (%s); `ops-loop resume %s` lifts it.', v_scope, public.ops_switch_mode(v_switches, v_scope), v_scope)
      else 'It is decided at the next heartbeat; `ops-loop heartbeat` or `select ops_heartbeat()` runs one now.' end,
    case when v_beat is null then 'No scheduled heartbeat has run yet.' else format('The last scheduled heartbeat ended %s ago.', public.ops_say_span(extract(epoch from p_now - v_beat))) end,
    case when v_ahead > 0 then format('Open events ahead of it: %s%s.', case when v_ahead >= 10000 then 'over ' else '' end, v_ahead) end,
    case when p_event.revision is not null then 'It was opened again; what has fired stays fired.' end], null);
end $$;
comment on function public.ops_say_waiting_event(public.ops_agent_events, timestamptz) is 'Why an event is still open, in words.';

create or replace function public.ops_say_decided_event(p_event public.ops_agent_events, p_revision bigint, p_patterns jsonb, p_now timestamptz) returns text
language sql stable set search_path = '' as $$
  select format('Event %s from %s was %s: %s.', p_event.type, p_event.source,
    case when p_event.revision is null and p_event.last_error is null then format('closed as it arrived at %s, under matrix revision %s', t.at, p_revision)
      else format('decided at %s under matrix revision %s', t.at, p_revision) end,
    case when p_event.outcome = 'failed' and p_event.last_error is not null then 'deciding it failed: ' || public.ops_say_error(p_event.last_error)
      when p_event.revision is null then 'it is the loop''s own and no enabled pattern could match it'
      else format('%s (%s of %s patterns fired)', p_event.outcome, (select count(*) from jsonb_array_elements(p_patterns) p where p ->> 'outcome' = 'fired'), jsonb_array_length(p_patterns)) end)
  from (select public.ops_say_time(coalesce(p_event.decided_at, p_event.processed_at), p_now) as at) t
$$;
comment on function public.ops_say_decided_event(public.ops_agent_events, bigint, jsonb, timestamptz) is 'When, under which revision and how an event was decided, in words.';

create or replace function public.ops_explain_event(p_id uuid) returns jsonb
language plpgsql stable set search_path = '' set timezone = 'UTC' set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_event public.ops_agent_events;
  v_matrix record;
  v_patterns jsonb;
  v_deaf text[];
  v_disabled text[];
begin
  select * into v_event from public.ops_agent_events e where e.id = p_id;
  if v_event.id is null then
    perform public.ops_not_found('event', p_id);
  end if;
  v_matrix := public.ops_event_matrix(v_event);
  v_patterns := public.ops_event_patterns(v_event, v_matrix.revision, v_matrix.matrix, v_now);
  v_deaf := array(select p ->> 'pattern_id' from jsonb_array_elements(v_patterns) p where p ->> 'clause' = 'type');
  v_disabled := public.ops_event_disabled(v_event, v_matrix.matrix);
  return jsonb_build_object('kind', 'event', 'id', v_event.id, 'revision', v_matrix.revision, 'event', to_jsonb(v_event), 'patterns', v_patterns,
    'disabled', to_jsonb(v_disabled), 'sentences', to_jsonb(
      case when v_event.processed_at is null then public.ops_say_waiting_event(v_event, v_now)
        else array[public.ops_say_decided_event(v_event, v_matrix.revision, v_patterns, v_now)] end
      || array(select p ->> 'sentence' from jsonb_array_elements(v_patterns) p where p ->> 'clause' is distinct from 'type')
      || array_remove(array[
        case when cardinality(v_deaf) > 0 then format('%s not listen to %s: %s.', case when cardinality(v_deaf) = 1 then '1 pattern does' else cardinality(v_deaf) || ' patterns do' end,
          v_event.type, public.ops_say_list(v_deaf)) end,
        case when jsonb_array_length(v_patterns) = 0 then 'That matrix had no enabled pattern.' end,
        case when cardinality(v_disabled) > 0 then format('Disabled, though listening to this type: %s.', public.ops_say_list(v_disabled)) end,
        case when v_event.processed_at is not null and v_event.outcome <> 'fired' then
          format('`update ops_agent_events set processed_at = null where id = ''%s''` has it decided again under today''s matrix.', v_event.id) end], null)));
end $$;
comment on function public.ops_explain_event(uuid) is
  'Why an event did or did not fire, or what it waits for: {kind, id, sentences, revision, event, patterns: [{pattern_id, name, revision, outcome, clause, detail, sentence}], disabled}. Every enabled pattern is there. Reads only. Raises OPS_012.';

-- Why: a proposal ---------------------------------------------------------------------------------------------------

create or replace function public.ops_proposal_caps(p_proposal public.ops_mission_proposals, p_now timestamptz) returns jsonb
language sql stable set search_path = '' as $$
  with policy as (
    select c.caps, public.ops_window_start('hour', z.zone, p_now) as hour, d.day, public.ops_window_start('day', z.zone, d.day + interval '36 hours') as tomorrow
    from (select public.ops_policy_value('proposal_caps') as caps) c
    cross join lateral (select c.caps ->> 'time_zone' as zone) z
    cross join lateral (select public.ops_window_start('day', z.zone, p_now) as day) d
  ), cap as materialized (
    select k.gate, public.ops_integer(k.bound) as bound, k.since, k.turns_at, k.source, k.pattern, k.what
    from policy p cross join lateral (values
      ('daily_limit', p.caps -> 'daily_limit', p.day, p.tomorrow, null, null, 'proposals of today'),
      ('hourly_limit', p.caps -> 'hourly_limit', p.hour, p.hour + interval '1 hour', null, null, 'proposals of this hour'),
      ('per_source', case jsonb_typeof(p.caps -> 'per_source') when 'object' then p.caps #> array['per_source', p_proposal.source] else p.caps -> 'per_source' end,
        p.day, p.tomorrow, p_proposal.source, null, 'proposals of today from source ' || p_proposal.source),
      ('per_pattern', case jsonb_typeof(p.caps -> 'per_pattern') when 'object' then p.caps #> array['per_pattern', p_proposal.pattern_id] else p.caps -> 'per_pattern' end,
        p.day, p.tomorrow, null, p_proposal.pattern_id, 'proposals of today of pattern ' || p_proposal.pattern_id),
      ('max_pending', p.caps -> 'max_pending', null, null, null, null, 'proposals that wait for approval')
    ) k(gate, bound, since, turns_at, source, pattern, what)
    where k.bound is not null and (k.gate <> 'per_pattern' or p_proposal.pattern_id is not null)
  ), counted as (
    select c.*, case c.gate when 'max_pending' then (select count(*) from public.ops_mission_proposals p where p.status in ('pending', 'voting') and p.gated_at is not null)
      else public.ops_counted(c.since, c.source, c.pattern) end as used
    from cap c
  )
  select coalesce(jsonb_agg(jsonb_build_object('gate', 'proposal_caps.' || c.gate, 'used', c.used, 'limit', c.bound, 'turns_at', c.turns_at,
    'ok', p_proposal.gated_at is not null or c.used < c.bound,
    'sentence', format('proposal_caps.%s: %s of %s %s%s.', c.gate, c.used, c.bound, c.what,
      coalesce('; the window turns at ' || public.ops_say_when(c.turns_at, p_now), '')))), '[]')
  from counted c
$$;
comment on function public.ops_proposal_caps(public.ops_mission_proposals, timestamptz) is
  'Each cap that today''s policy sets for a proposal: [{gate, used, limit, turns_at, ok, sentence}]. ok: one more is allowed, or this one has passed already.';

create or replace function public.ops_approval_conditions(p_proposal public.ops_mission_proposals, p_now timestamptz) returns jsonb
language sql stable set search_path = '' as $$
  with look as (
    select a.risk, a.kinds, coalesce(a.unknown, '{}') as unknown, a.joins_all, public.ops_policy_value('auto_approve') as policy, public.ops_switch_mode(public.ops_policy_value('switches'), 'auto_approve') as mode
    from public.ops_assess(array[p_proposal.id]) a
  ), fact as materialized (
    select l.*, coalesce((l.policy ->> 'enabled')::boolean, false) as enabled, coalesce(l.policy ->> 'max_risk_level', 'low') as max_risk,
      array(select distinct k from unnest(l.kinds) k where not coalesce(l.policy -> 'allowed_step_kinds', '[]') ? k order by k) as strangers,
      public.ops_integer(l.policy -> 'daily_limit') as daily_limit,
      case when l.policy ? 'daily_limit' then (select count(*) from public.ops_mission_proposals p
        where p.gated_at >= public.ops_window_start('day', l.policy ->> 'time_zone', p_now) and p.status = 'auto_approved') end as used
    from look l
  )
  select coalesce(jsonb_agg(jsonb_build_object('condition', c.condition, 'ok', c.ok, 'sentence', c.sentence) order by c.n), '[]')
  from fact f cross join lateral (values
    (1, 'switch', f.mode is null, case when f.mode is null then 'Auto-approval is not paused.' else 'Auto-approval is paused; `ops-loop resume auto_approve` lifts it.' end),
    (2, 'auto_approve.enabled', f.enabled, format('auto_approve.enabled is %s.', f.enabled::text)),
    (3, 'executors', cardinality(f.unknown) = 0, case when cardinality(f.unknown) = 0 then 'Every executor is registered.' else format('Not registered: executor %s.', public.ops_say_list(f.unknown)) end),
    (4, 'auto_approve.allowed_step_kinds', cardinality(f.strangers) = 0, case when cardinality(f.strangers) = 0 then 'Every kind and executor is in auto_approve.allowed_step_kinds.'
      else format('Not in auto_approve.allowed_step_kinds: %s.', public.ops_say_list(f.strangers)) end),
    (5, 'auto_approve.max_risk_level', public.ops_risk_rank(f.risk) <= public.ops_risk_rank(f.max_risk),
      format('Its risk is %s, auto_approve.max_risk_level is %s.', f.risk, f.max_risk)),
    (6, 'auto_approve.allowed_sources', not f.policy ? 'allowed_sources' or f.policy -> 'allowed_sources' ? p_proposal.source,
      case when f.policy ? 'allowed_sources' then format('Its source is %s, auto_approve.allowed_sources is %s.', p_proposal.source, f.policy -> 'allowed_sources') else 'Any source is allowed.' end),
    (7, 'auto_approve.daily_limit', f.daily_limit is null or f.used < f.daily_limit,
      case when f.daily_limit is null then 'No daily limit is set.' else format('%s of %s auto-approvals of today are used.', f.used, f.daily_limit) end),
    (8, 'rule of two', not f.joins_all, case when f.joins_all then 'It joins untrusted input, secrets and an outside effect: only a person may approve it.'
      else 'It does not join untrusted input, secrets and an outside effect.' end)
  ) c(n, condition, ok, sentence)
$$;
comment on function public.ops_approval_conditions(public.ops_mission_proposals, timestamptz) is
  'Each condition of auto-approval as it stands now for a proposal: [{condition, ok, sentence}]. All must hold.';

create or replace function public.ops_say_proposal(p_proposal public.ops_mission_proposals, p_caps jsonb, p_approval jsonb, p_now timestamptz) returns text[]
language plpgsql stable set search_path = '' as $$
declare
  v_mission public.ops_missions;
  v_open boolean := not exists (select from jsonb_array_elements(p_approval) c where not (c ->> 'ok')::boolean);
  v_dry text := case when p_proposal.template -> 'dry_run' = 'true' then 'dry run, ' end;
begin
  select * into v_mission from public.ops_missions m where m.proposal_id = p_proposal.id;
  if p_proposal.status in ('pending', 'voting') and p_proposal.gated_at is null then
    return array_remove(array[
      format('Proposal "%s"%s has not passed its gates: %s.', p_proposal.title, ' (' || rtrim(v_dry, ', ') || ')', coalesce(p_proposal.reason, 'it has just come in')),
      case when p_proposal.next_gate_at > p_now then format('It is gated again at %s, or at the next heartbeat after proposal_caps or auto_approve change.', public.ops_say_when(p_proposal.next_gate_at, p_now))
        else 'It is gated at the next heartbeat; `select ops_regate_proposals()` does it now.' end], null)
      || array(select c ->> 'sentence' from jsonb_array_elements(p_caps) c where not (c ->> 'ok')::boolean)
      || array(select format('`update ops_policy set value = jsonb_set(value, ''{%s}'', ''%s'') where key = ''proposal_caps''` lets one more through.',
        substr(c ->> 'gate', 15), (c ->> 'used')::integer + 1) from jsonb_array_elements(p_caps) c
        where not (c ->> 'ok')::boolean and c ->> 'gate' in ('proposal_caps.daily_limit', 'proposal_caps.hourly_limit', 'proposal_caps.max_pending'));
  elsif p_proposal.status in ('pending', 'voting') then
    return array_remove(array[
      format('Proposal "%s" (%srisk %s) %s since %s: %s.', p_proposal.title, v_dry, p_proposal.risk, case p_proposal.status when 'voting' then 'collects votes' else 'waits for a person' end,
        public.ops_say_when(p_proposal.gated_at, p_now), coalesce(p_proposal.reason, 'no reason recorded')),
      format('It passed the caps at %s; auto-approval is asked once, then a person decides.', public.ops_say_time(p_proposal.gated_at, p_now))], null)
      || array(select c ->> 'sentence' from jsonb_array_elements(p_approval) c where not (c ->> 'ok')::boolean)
      || array_remove(array[case when v_open then 'Today''s auto_approve would let it through, were it proposed again.' end,
      case when p_proposal.expires_at is not null then format('At %s it is %s unless somebody decides.', public.ops_say_when(p_proposal.expires_at, p_now),
        case public.ops_policy_value('approvals') ->> 'default_action' when 'reject' then 'rejected' else 'expired' end) end,
      format('`ops-loop approve %s` or `select ops_approve_proposal(''%s'')` starts it; `ops-loop reject %s` turns it down.', p_proposal.id, p_proposal.id, p_proposal.id)], null);
  end if;
  return array_remove(array[
    format('Proposal "%s" (%srisk %s) was %s at %s: %s.', p_proposal.title, v_dry, coalesce(p_proposal.risk, 'unknown'),
      case p_proposal.status when 'auto_approved' then 'approved automatically' else p_proposal.status || coalesce(' by ' || p_proposal.decided_by, '') end,
      public.ops_say_when(coalesce(p_proposal.approved_at, p_proposal.updated_at), p_now), coalesce(p_proposal.reason, 'no reason recorded')),
    case when v_mission.id is not null then format('Its mission %s is %s; `ops-loop why %s` says more.', v_mission.id, v_mission.status, v_mission.id)
      when p_proposal.status in ('approved', 'auto_approved') then 'Its mission is no longer kept.'
      else 'It stays that way; propose it again if it should run: `ops-loop propose`.' end], null);
end $$;
comment on function public.ops_say_proposal(public.ops_mission_proposals, jsonb, jsonb, timestamptz) is 'What a proposal waits for, or how it was decided, in words.';

create or replace function public.ops_explain_proposal(p_id uuid) returns jsonb
language plpgsql stable set search_path = '' set timezone = 'UTC' set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_proposal public.ops_mission_proposals;
  v_caps jsonb;
  v_approval jsonb;
begin
  select * into v_proposal from public.ops_mission_proposals p where p.id = p_id;
  if v_proposal.id is null then
    perform public.ops_not_found('proposal', p_id);
  end if;
  v_caps := public.ops_proposal_caps(v_proposal, v_now);
  v_approval := public.ops_approval_conditions(v_proposal, v_now);
  return jsonb_build_object('kind', 'proposal', 'id', v_proposal.id, 'proposal', to_jsonb(v_proposal), 'gates', v_caps, 'approval', v_approval,
    'mission_id', (select m.id from public.ops_missions m where m.proposal_id = p_id),
    'sentences', to_jsonb(public.ops_say_proposal(v_proposal, v_caps, v_approval, v_now) || array_remove(array[
      case when v_proposal.pattern_id is not null then format('It came from pattern %s and event %s.', v_proposal.pattern_id, v_proposal.event_id)
        else format('It came from source %s.', v_proposal.source) end,
      case when v_proposal.policy_snapshot <> '{}' then format('It was judged under %s.',
        (select string_agg(s.key || ' ' || s.value, ', ' order by s.key) from jsonb_each_text(v_proposal.policy_snapshot) s)) end], null)));
end $$;
comment on function public.ops_explain_proposal(uuid) is
  'Why a proposal waits or how it was decided: {kind, id, sentences, proposal, gates: [{gate, used, limit, turns_at, ok, sentence}], approval: [{condition, ok, sentence}], mission_id}. The numbers are today''s. Reads only. Raises OPS_012.';

-- Why: a step -------------------------------------------------------------------------------------------------------

create or replace function public.ops_living_workers(p_executor text, p_now timestamptz) returns text[]
language sql stable set search_path = '' as $$
  select array(select w.name from public.ops_workers w where w.seen_at >= p_now - interval '1 minute' and (p_executor is null or p_executor = any (w.executors)) order by w.name)
$$;
comment on function public.ops_living_workers(text, timestamptz) is 'Names of the workers seen in the last minute that serve an executor (null: any).';

create or replace function public.ops_say_servers(p_executor text, p_now timestamptz) returns text
language plpgsql stable set search_path = '' as $$
declare
  v_names text[] := public.ops_living_workers(p_executor, p_now);
begin
  if cardinality(v_names) > 0 then
    return format('Executor %s is served by %s.', p_executor, public.ops_say_list(v_names, 5));
  elsif not exists (select from public.ops_executors x where x.name = p_executor) then
    return format('No worker has ever registered executor %s: start one that has it.', p_executor);
  elsif cardinality(public.ops_living_workers(null, p_now)) = 0 then
    return 'No worker is alive; `ops-loop worker` starts one.';
  end if;
  return format('No living worker serves executor %s; `ops-loop worker` on a host that has what it needs does.', p_executor);
end $$;
comment on function public.ops_say_servers(text, timestamptz) is 'Which living workers serve an executor, or why none does, in words.';

create or replace function public.ops_say_hold(p_reason text, p_executor text, p_now timestamptz) returns text
language plpgsql stable set search_path = '' as $$
declare
  v_scope text := substring(p_reason from '^switch:(.*)$');
  v_switch jsonb := public.ops_policy_value('switches') #> array['scopes', v_scope];
  v_bounds jsonb := public.ops_policy_value('worker_policy') -> 'executors' -> p_executor;
  v_policy jsonb := public.ops_policy_value('worker_policy');
begin
  return case
    when v_scope is not null then format('the switch %s (%s%s); `ops-loop resume %s` lifts it', v_scope, coalesce(v_switch ->> 'mode', 'lifted since'),
      coalesce(': ' || (v_switch ->> 'reason'), '') || coalesce(', since ' || public.ops_say_time((v_switch ->> 'since')::timestamptz, p_now), ''), v_scope)
    when p_reason like 'limit:executor:%' then format('worker_policy.executors.%s.max_running: %s of %s run', p_executor,
      (select count(*) from public.ops_mission_steps s where s.status = 'running' and s.executor = p_executor and s.lease_expires_at > p_now), coalesce(v_bounds ->> 'max_running', 'no limit any more'))
    when p_reason like 'rate:executor:%' then (select format('worker_policy.executors.%s.rate: %s of %s per %s used%s', p_executor, coalesce(l.used, 0), coalesce(v_bounds #>> '{rate,count}', 'no limit any more'),
        public.ops_say_span(coalesce((v_bounds #>> '{rate,per_minutes}')::numeric, 0) * 60),
        coalesce('; the window turns at ' || public.ops_say_when(nullif(l.window_start, '-infinity') + (v_bounds #>> '{rate,per_minutes}')::numeric * interval '1 minute', p_now), ''))
      from (select 1) one left join public.ops_limits l on l.key = 'executor:' || p_executor)
    when p_reason like 'limit:key:%' then format('the bound per key of executor %s: as many steps as may run for %s', p_executor, substr(p_reason, 12 + length(p_executor)))
    when p_reason like 'rate:key:%' then format('worker_policy.executors.%s.per_key.rate for %s', p_executor, substr(p_reason, 11 + length(p_executor)))
    when p_reason like 'budget:unpriced:%' then format('a budget in %s: nothing says what executor %s may cost; set budgets.reserve.%s.%s', split_part(p_reason, ':', 4), p_executor, p_executor, split_part(p_reason, ':', 4))
    when p_reason like 'budget:%' then coalesce((select format('the budget %s: %s of %s spent, %s reserved; it starts anew at %s', b.budget, b.spent, b.cap, b.reserved, public.ops_say_when(b.ends_at, p_now))
      from public.ops_list_budgets() b where b.budget = substr(p_reason, 8)), 'a budget that is lifted since')
    when p_reason like 'policy:executor:%' and coalesce(v_policy -> 'blocked_executors', '[]') ? p_executor then format('worker_policy.blocked_executors, which names %s; take it out there', p_executor)
    when p_reason like 'policy:executor:%' then format('worker_policy.allowed_executors, which does not name %s; add it there', p_executor)
    else p_reason
  end;
end $$;
comment on function public.ops_say_hold(text, text, timestamptz) is 'What a wait_reason means, with its numbers and the command that lifts it.';

create or replace function public.ops_attempts_of(p_step public.ops_mission_steps) returns text
language sql stable set search_path = '' as $$
  select format('attempt %s of %s', p_step.failure_count + p_step.crash_count + 1,
    coalesce(p_step.max_retries::text, public.ops_policy_value('worker_policy') ->> 'max_retries', '3'))
$$;
comment on function public.ops_attempts_of(public.ops_mission_steps) is 'attempt 2 of 3: the one that runs or comes next in this series.';

create or replace function public.ops_say_items(p_id uuid) returns text
language sql stable set search_path = '' as $$
  select string_agg(format('%s %s', c.n, c.status), ', ' order by c.n desc, c.status)
  from (select i.status, count(*) as n from public.ops_mission_steps s join public.ops_mission_steps i on i.mission_id = s.mission_id and i.parent_id = s.id where s.id = p_id group by i.status) c
$$;
comment on function public.ops_say_items(uuid) is 'How the steps of the items of a for_each step stand: 7 succeeded, 3 queued. Null when there are none.';

create or replace function public.ops_say_blocked(p_step public.ops_mission_steps) returns text[]
language sql stable set search_path = '' as $$
  with need as (
    select n.id, n.key, n.status, n.position,
      n.status in ('succeeded', 'skipped') and n.skipped_for is null or n.status = 'failed' and n.on_failure = 'continue' as met
    from public.ops_mission_steps n where n.id = any (p_step.needs)
  )
  select array_remove(array[
    case when p_step.for_each ? 'waits' and p_step.pending_needs = 0
      then format('Step %s waits for its turn to become one step per item: a round of the heartbeat makes at most 1,000.', p_step.key)
      when exists (select from need where not need.met) and p_step.for_each ? 'count'
      then format('Step %s waits for the steps of its items: %s.', p_step.key, public.ops_say_items(p_step.id))
      when exists (select from need where not need.met)
      then format('Step %s is blocked: it waits for %s.', p_step.key, (select string_agg(format('%s (%s)', need.key, need.status), ', ' order by need.position) from need where not need.met))
      else format('Step %s is blocked, though nothing it needs is open: the next `select ops_recover_stale_steps()` after stale_minutes repairs that.', p_step.key) end,
    (select string_agg(format('`ops-loop retry %s` runs %s again.', need.id, need.key), ' ' order by need.position) from need where need.status in ('failed', 'cancelled') and not need.met),
    case when p_step.when_path is not null and not coalesce(p_step.for_each ? 'count', false) then format('Then its condition `%s` decides whether it runs or is skipped.', p_step.when_path) end], null)
$$;
comment on function public.ops_say_blocked(public.ops_mission_steps) is 'Which steps a blocked one waits for, in words.';

create or replace function public.ops_say_scheduled(p_step public.ops_mission_steps, p_now timestamptz) returns text[]
language plpgsql stable set search_path = '' as $$
begin
  if p_step.wait_reason is not null then
    return array[format('Step %s is held by %s%s.', p_step.key, public.ops_say_hold(p_step.wait_reason, p_step.executor, p_now),
      case when p_step.wait_reason like 'limit:%' then '; it starts when one of them ends' else '' end)];
  end if;
  return array_remove(array[
    case when p_step.ready_at > p_now then format('Step %s is scheduled for %s.', p_step.key, public.ops_say_when(p_step.ready_at, p_now))
      else format('Step %s was due at %s and is queued by the next claim of any worker.', p_step.key, public.ops_say_when(p_step.ready_at, p_now)) end,
    case when p_step.last_error is not null then format('Then comes %s. The last one ended with: %s.', public.ops_attempts_of(p_step), public.ops_say_error(p_step.last_error)) end,
    case when p_step.ready_at > p_now then format('`update ops_mission_steps set status = ''queued'' where id = ''%s''` has it run now.', p_step.id) end,
    public.ops_say_servers(p_step.executor, p_now)], null);
end $$;
comment on function public.ops_say_scheduled(public.ops_mission_steps, timestamptz) is 'Until when a step is scheduled, or what holds it, in words.';

create or replace function public.ops_say_queued(p_step public.ops_mission_steps, p_now timestamptz) returns text[]
language plpgsql stable set search_path = '' as $$
declare
  v_switches jsonb := public.ops_policy_value('switches');
  v_policy jsonb := public.ops_policy_value('worker_policy');
  v_hold text := coalesce(public.ops_executor_hold(v_switches, v_policy, p_step.executor), public.ops_hold_reason(v_switches, p_step));
  v_ahead bigint := (select count(*) from (select from public.ops_mission_steps q where q.status = 'queued' and q.executor = p_step.executor
    and (q.priority, q.ready_at, q.id) < (p_step.priority, p_step.ready_at, p_step.id) limit 10000) a);
  v_bounds jsonb := v_policy -> 'executors' -> p_step.executor;
begin
  return array_remove(array[
    format('Step %s is queued since %s for executor %s, %s.', p_step.key, public.ops_say_when(p_step.ready_at, p_now), p_step.executor, public.ops_attempts_of(p_step)),
    case when v_hold is not null then format('The next claim sets it aside for %s.', public.ops_say_hold(v_hold, p_step.executor, p_now)) end,
    public.ops_say_servers(p_step.executor, p_now),
    case when v_ahead = 0 then 'It is the next of its executor.' else format('Ahead of it in the queue of its executor: %s%s.', case when v_ahead >= 10000 then 'over ' else '' end, v_ahead) end,
    case when v_bounds ? 'max_running' then format('Bound: %s.', public.ops_say_hold('limit:executor:' || p_step.executor, p_step.executor, p_now)) end,
    case when v_bounds ? 'rate' then format('Bound: %s.', public.ops_say_hold('rate:executor:' || p_step.executor, p_step.executor, p_now)) end], null);
end $$;
comment on function public.ops_say_queued(public.ops_mission_steps, timestamptz) is 'Why a queued step is not claimed yet: what holds it, who serves it, its place in the queue.';

create or replace function public.ops_say_running(p_step public.ops_mission_steps, p_now timestamptz) returns text[]
language sql stable set search_path = '' as $$
  select array_remove(array[
    format('Step %s runs on worker %s since %s, %s.', p_step.key, p_step.worker_id, public.ops_say_when(p_step.reserved_at, p_now), public.ops_attempts_of(p_step)),
    case when p_step.lease_expires_at > p_now then format('Its lease lasts until %s and is renewed while the worker lives.', public.ops_say_when(p_step.lease_expires_at, p_now))
      else format('Its lease ended at %s: the next recovery, by any worker or heartbeat, takes it back; `select ops_recover_expired_leases()` does it now.', public.ops_say_when(p_step.lease_expires_at, p_now)) end,
    case when p_step.cancel_requested_at is not null then 'It was asked to stop and is told so at its next renewal.' end,
    case when public.ops_is_halted(public.ops_policy_value('switches'), p_step) then 'One of its scopes is halted, so it is told to stop at its next renewal.' end], null)
$$;
comment on function public.ops_say_running(public.ops_mission_steps, timestamptz) is 'Who runs a step until when, in words.';

create or replace function public.ops_say_failed(p_step public.ops_mission_steps, p_now timestamptz) returns text[]
language sql stable set search_path = '' as $$
  select array_remove(array[
    format('Step %s failed at %s: %s.', p_step.key, public.ops_say_when(coalesce(d.created_at, p_step.updated_at), p_now), public.ops_say_error(coalesce(d.last_error, p_step.last_error))),
    case d.cause
      when 'exhausted' then format('All %s attempts are used up.', d.attempts)
      when 'permanent' then format('Its error is permanent (%s): trying again by itself is no use.', coalesce(d.error_class, 'no class'))
      when 'unknown' then format('Nobody knows whether it took effect, and executor %s is not idempotent: a person looks, then decides.', p_step.executor)
      when 'worker_crash' then format('Its worker died %s times on it.', d.crash_count) end,
    case when p_step.on_failure = 'continue' then 'Its mission goes on without it.' else 'It stopped its mission.' end,
    case when d.state = 'discarded' then format('Dead letter %s was discarded: %s.', d.id, public.ops_say_error(d.resolution))
      when d.id is not null then format('Its dead letter is %s.', d.id) else 'Its dead letter is no longer kept.' end,
    format('`ops-loop retry %s`%s runs it again in a new series.', p_step.id, case when d.state = 'open' then format(' or `ops-loop dlq requeue %s`', d.id) else '' end)], null)
  from (select 1) one left join public.ops_step_dead_letters d on d.step_id = p_step.id and d.series = p_step.series
$$;
comment on function public.ops_say_failed(public.ops_mission_steps, timestamptz) is 'Why a step failed, its dead letter, and how to run it again, in words.';

create or replace function public.ops_say_ended(p_step public.ops_mission_steps, p_now timestamptz) returns text[]
language sql stable set search_path = '' as $$
  select array_remove(case p_step.status
    when 'succeeded' then array[case
      when p_step.for_each is not null then format('Step %s succeeded at %s: %s.', p_step.key, public.ops_say_when(p_step.updated_at, p_now),
        case when public.ops_integer(p_step.for_each -> 'count') > 0 then format('the steps of its %s items have ended%s', p_step.for_each ->> 'count', coalesce(' (' || public.ops_say_items(p_step.id) || ')', ''))
          else 'its list was empty' end)
      when p_step.dry_run then format('Step %s went through at %s on worker %s as a dry run: executor %s was not called.', p_step.key, public.ops_say_when(p_step.updated_at, p_now), p_step.worker_id, p_step.executor)
      else format('Step %s succeeded at %s on worker %s, %s.', p_step.key, public.ops_say_when(p_step.updated_at, p_now), p_step.worker_id, public.ops_attempts_of(p_step)) end]
    when 'cancelled' then array[
      format('Step %s was cancelled at %s%s.', p_step.key, public.ops_say_when(coalesce(p_step.cancel_requested_at, p_step.updated_at), p_now), coalesce(': ' || public.ops_say_error(p_step.last_error), '')),
      format('`ops-loop retry %s` runs it after all.', p_step.id)]
    else array[
      case when p_step.skipped_for is null then format('Step %s was skipped at %s: its condition `%s` was false.', p_step.key, public.ops_say_when(p_step.updated_at, p_now), p_step.when_path)
        else format('Step %s was skipped at %s, because step %s.', p_step.key, public.ops_say_when(p_step.updated_at, p_now),
          coalesce((select f.key || case f.status when 'cancelled' then ' was cancelled' else ' failed' end from public.ops_mission_steps f where f.id = p_step.skipped_for),
            p_step.skipped_for || ' did not succeed')) end,
      case when p_step.skipped_for is not null then format('`ops-loop retry %s` runs that one again, and this one after it.', p_step.skipped_for) end]
  end, null)
$$;
comment on function public.ops_say_ended(public.ops_mission_steps, timestamptz) is 'How a step succeeded, was skipped or was cancelled, in words.';

create or replace function public.ops_say_step(p_step public.ops_mission_steps, p_now timestamptz) returns text[]
language plpgsql stable set search_path = '' as $$
begin
  return case p_step.status
    when 'blocked' then public.ops_say_blocked(p_step)
    when 'scheduled' then public.ops_say_scheduled(p_step, p_now)
    when 'queued' then public.ops_say_queued(p_step, p_now)
    when 'running' then public.ops_say_running(p_step, p_now)
    when 'failed' then public.ops_say_failed(p_step, p_now)
    else public.ops_say_ended(p_step, p_now)
  end;
end $$;
comment on function public.ops_say_step(public.ops_mission_steps, timestamptz) is 'The state of a step in sentences: the first says what it is, the rest why and what would change it.';

create or replace function public.ops_step_attempts(p_step_id uuid) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(to_jsonb(r) || jsonb_build_object('lease_epoch', split_part(r.run_id, ':', 2)::bigint) order by r.started_at, r.run_id), '[]')
  from (select a.* from public.ops_action_runs a where a.run_id >= p_step_id::text || ':' and a.run_id < p_step_id::text || ';' order by a.started_at desc limit 100) r
$$;
comment on function public.ops_step_attempts(uuid) is 'The latest 100 attempts of a step, oldest first: the columns of ops_action_runs and lease_epoch.';

create or replace function public.ops_explain_step(p_id uuid) returns jsonb
language plpgsql stable set search_path = '' set timezone = 'UTC' set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_step public.ops_mission_steps;
  v_mission public.ops_missions;
begin
  select * into v_step from public.ops_mission_steps s where s.id = p_id;
  if v_step.id is null then
    perform public.ops_not_found('step', p_id);
  end if;
  select * into v_mission from public.ops_missions m where m.id = v_step.mission_id;
  return jsonb_build_object('kind', 'step', 'id', v_step.id, 'step', to_jsonb(v_step) - array['when_path', 'leaves', 'template'] || jsonb_build_object('when', v_step.when_path::text),
    'mission', case when v_mission.id is not null then jsonb_build_object('id', v_mission.id, 'title', v_mission.title, 'status', v_mission.status) end,
    'needs', (select coalesce(jsonb_agg(jsonb_build_object('id', n.id, 'key', n.key, 'status', n.status) order by n.position), '[]') from public.ops_mission_steps n where n.id = any (v_step.needs)),
    'attempts', public.ops_step_attempts(p_id),
    'dead_letters', (select coalesce(jsonb_agg(to_jsonb(d) - 'params' order by d.series), '[]') from public.ops_step_dead_letters d where d.step_id = p_id),
    'next_look_at', case when v_step.status = 'scheduled' and v_step.wait_reason is null then v_step.ready_at when v_step.status = 'running' then v_step.lease_expires_at end,
    'sentences', to_jsonb(public.ops_say_step(v_step, v_now) || array_remove(array[
      case when v_step.dry_run then 'Its mission is a dry run: it goes through every state, and no executor is called.' end,
      (select format('It is item %s of step %s, from 0.', v_step.item_index, p.key) from public.ops_mission_steps p where p.id = v_step.parent_id),
      case when v_step.series > 1 then format('This is its series %s: it was run again after it had ended.', v_step.series) end,
      case when v_mission.id is null then 'Its mission is no longer kept.' else format('It belongs to mission %s "%s" (%s).', v_mission.id, v_mission.title, v_mission.status) end], null)));
end $$;
comment on function public.ops_explain_step(uuid) is
  'Why a step is where it is: {kind, id, sentences, step, mission, needs: [{id, key, status}], attempts, dead_letters, next_look_at}. Reads only. Raises OPS_012.';

-- Why: a mission, and any id ----------------------------------------------------------------------------------------

create or replace function public.ops_explain_mission(p_id uuid) returns jsonb
language plpgsql stable set search_path = '' set timezone = 'UTC' set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_mission public.ops_missions;
  v_steps public.ops_mission_steps[];
  v_dry boolean;
  v_counts text;
begin
  select * into v_mission from public.ops_missions m where m.id = p_id;
  if v_mission.id is null then
    perform public.ops_not_found('mission', p_id);
  end if;
  v_steps := array(select s from public.ops_mission_steps s where s.mission_id = p_id order by s.position, s.id);
  v_dry := exists (select from unnest(v_steps) s where s.dry_run)
    or v_steps = '{}' and exists (select from public.ops_mission_proposals p where p.id = v_mission.proposal_id and p.template -> 'dry_run' = 'true');
  v_counts := (select string_agg(format('%s %s', c.n, c.status), ', ' order by c.first)
    from (select s.status, count(*) as n, min(s.position) as first from unnest(v_steps) s group by s.status) c);
  return jsonb_build_object('kind', 'mission', 'id', v_mission.id, 'mission', to_jsonb(v_mission),
    'steps', (select coalesce(jsonb_agg(jsonb_build_object('id', s.id, 'key', s.key, 'status', s.status, 'sentence', (public.ops_say_step(s, v_now))[1]) order by s.position), '[]') from unnest(v_steps) s),
    'sentences', to_jsonb(array[
      format('Mission "%s"%s is %s%s: %s.', v_mission.title, case when v_dry then ' (dry run: no executor is called)' end, v_mission.status,
        case when v_mission.completed_at is not null then format(' since %s', public.ops_say_when(v_mission.completed_at, v_now))
          when v_mission.started_at is not null then format(', started at %s', public.ops_say_when(v_mission.started_at, v_now)) else ', none of its steps has been claimed yet' end,
        coalesce(v_counts, 'its steps are no longer kept'))]
      || array(select unnest(public.ops_say_step(s, v_now)) from unnest(v_steps) s where s.status in ('scheduled', 'queued', 'running', 'failed') order by s.position)
      || array(select (public.ops_say_step(s, v_now))[1] from unnest(v_steps) s where s.status not in ('scheduled', 'queued', 'running', 'failed', 'succeeded') order by s.position)
      || array_remove(array[
        case when v_mission.completed_at is null then format('`ops-loop pause mission:%s` holds it, `select ops_cancel_mission(''%s'')` ends it.', p_id, p_id)
          when v_mission.status <> 'succeeded' and v_counts is not null then format('`ops-loop retry %s` runs it on from its last good step.', p_id) end,
        format('It carries out proposal %s.', v_mission.proposal_id)], null)));
end $$;
comment on function public.ops_explain_mission(uuid) is
  'Where a mission stands and what each step of it waits for: {kind, id, sentences, mission, steps: [{id, key, status, sentence}]}. Reads only. Raises OPS_012.';

create or replace function public.ops_find(p_id uuid, out kind text, out id uuid)
language plpgsql stable set search_path = '' as $$
begin
  select f.kind, f.id into kind, id from (
    select 'event' as kind, e.id from public.ops_agent_events e where e.id = p_id
    union all select 'proposal', p.id from public.ops_mission_proposals p where p.id = p_id
    union all select 'mission', m.id from public.ops_missions m where m.id = p_id
    union all select 'step', s.id from public.ops_mission_steps s where s.id = p_id
    union all select 'event', e.id from public.ops_agent_reactions r join public.ops_agent_events e on e.id = r.event_id where r.id = p_id
    union all select 'proposal', p.id from public.ops_agent_reactions r join public.ops_mission_proposals p on p.id = r.proposal_id where r.id = p_id
    union all select 'step', s.id from public.ops_step_dead_letters d join public.ops_mission_steps s on s.id = d.step_id where d.id = p_id
    union all select 'mission', m.id from public.ops_step_dead_letters d join public.ops_missions m on m.id = d.mission_id where d.id = p_id
    limit 1) f;
  if kind is null then
    -- Last, because attempts have no index on id: it would cost every claim.
    select 'step', s.id into kind, id from public.ops_action_runs r join public.ops_mission_steps s on s.id = r.step_id where r.id = p_id limit 1;
  end if;
  if kind is null then
    perform public.ops_not_found('event, proposal, mission, step, reaction, dead letter or attempt', p_id);
  end if;
end $$;
comment on function public.ops_find(uuid) is
  'What an id stands for: event, proposal, mission or step; a reaction leads to its event, a dead letter or an attempt to its step. Raises OPS_012.';

create or replace function public.ops_why(p_id uuid) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_found record := public.ops_find(p_id);
begin
  return case v_found.kind
    when 'event' then public.ops_explain_event(v_found.id)
    when 'proposal' then public.ops_explain_proposal(v_found.id)
    when 'mission' then public.ops_explain_mission(v_found.id)
    else public.ops_explain_step(v_found.id)
  end;
end $$;
comment on function public.ops_why(uuid) is
  'Explains whatever an id stands for: ops_explain_event, _proposal, _mission or _step. Reads only. Raises OPS_012.';

-- The causal tree -----------------------------------------------------------------------------------------------------

create or replace function public.ops_uuid_of(p_text text) returns uuid
language sql immutable set search_path = '' as $$
  select case when p_text ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then p_text::uuid end
$$;
comment on function public.ops_uuid_of(text) is 'A text as an id; null when it is none.';

create or replace function public.ops_trace_parent(p_kind text, p_id uuid, out kind text, out id uuid)
language sql stable set search_path = '' as $$
  select f.kind, f.id from (
    select 'mission' as kind, m.id from public.ops_mission_steps s join public.ops_missions m on m.id = s.mission_id where p_kind = 'step' and s.id = p_id
    union all
    select 'proposal', p.id from public.ops_missions m join public.ops_mission_proposals p on p.id = m.proposal_id where p_kind = 'mission' and m.id = p_id
    union all
    select 'event', e.id from public.ops_mission_proposals p join public.ops_agent_events e on e.id = p.event_id where p_kind = 'proposal' and p.id = p_id
    union all
    select 'mission', m.id from public.ops_agent_events e join public.ops_missions m on m.id = e.mission_id where p_kind = 'event' and e.id = p_id
    union all
    select 'proposal', p.id from public.ops_agent_events e join public.ops_mission_proposals p on p.id = public.ops_uuid_of(e.data ->> 'proposal_id')
    where p_kind = 'event' and e.id = p_id and e.trust = 'loop' and e.type like 'proposal:%'
    union all
    select 'event', f.id from public.ops_agent_events e join public.ops_agent_events f on f.id = public.ops_uuid_of(e.data ->> 'event_id')
    where p_kind = 'event' and e.id = p_id and e.type = 'loop:suppressed'
    limit 1) f
$$;
comment on function public.ops_trace_parent(text, uuid) is 'What caused a step, mission, proposal or event, as far as it is still kept; nulls at the root.';

create or replace function public.ops_trace_root(p_kind text, p_id uuid, out kind text, out id uuid)
language plpgsql stable set search_path = '' as $$
declare
  v_parent record;
begin
  kind := p_kind;
  id := p_id;
  for i in 1 .. 5000 loop
    select p.kind, p.id into v_parent from public.ops_trace_parent(kind, id) p;
    exit when v_parent.id is null;
    kind := v_parent.kind;
    id := v_parent.id;
  end loop;
end $$;
comment on function public.ops_trace_root(text, uuid) is 'The event (or, without one, the proposal) that started the chain an event, proposal, mission or step belongs to.';

create or replace function public.ops_trace_links(p_kinds text[], p_ids text[])
returns table (parent text, kind text, id text)
language sql stable set search_path = '' as $$
  with above as materialized (
    select a.kind || ' ' || a.id as key, a.kind, left(a.id, 36)::uuid as id, substr(a.id, 38) as rest from unnest(p_kinds, p_ids) a(kind, id)
  ), step as materialized (
    select a.key, s.id, s.mission_id from above a join public.ops_mission_steps s on s.id = a.id where a.kind = 'step'
  )
  select a.key, 'decision', d.event_id || ':' || d.pattern_id from above a join public.ops_event_decisions d on d.event_id = a.id where a.kind = 'event'
  union all
  select a.key, 'reaction', r.id::text from above a join public.ops_agent_reactions r on r.event_id = a.id
  where a.kind = 'event' and not exists (select from public.ops_event_decisions d where d.event_id = r.event_id and d.pattern_id = r.pattern_id)
  union all
  select a.key, 'proposal', p.id::text from above a join public.ops_mission_proposals p on p.event_id = a.id where a.kind = 'event' and p.reaction_id is null
  union all
  select a.key, 'reaction', r.id::text from above a join public.ops_agent_reactions r on r.event_id = a.id and r.pattern_id = a.rest where a.kind = 'decision'
  union all
  select a.key, 'event', e.id::text from above a join public.ops_event_decisions d on d.event_id = a.id and d.pattern_id = a.rest and d.clause = 'loop_limits'
  join public.ops_agent_events e on e.dedupe_key = format('loop:%s:%s:%s', d.detail ->> 'root_id', d.pattern_id, d.detail ->> 'limit') and e.data ->> 'event_id' = d.event_id::text
  where a.kind = 'decision'
  union all
  select a.key, 'proposal', p.id::text from above a join public.ops_agent_reactions r on r.id = a.id join public.ops_mission_proposals p on p.id = r.proposal_id where a.kind = 'reaction'
  union all
  select a.key, 'mission', m.id::text from above a join public.ops_missions m on m.proposal_id = a.id where a.kind = 'proposal'
  union
  -- A proposal's own events name it in their data only; they are raised within seconds of the change they tell of.
  select a.key, 'event', e.id::text from above a join public.ops_mission_proposals p on p.id = a.id
  cross join lateral (values (p.gated_at), (p.updated_at)) t(at)
  join public.ops_agent_events e on e.created_at between t.at and t.at + interval '10 seconds' and e.trust = 'loop' and e.type like 'proposal:%' and e.data ->> 'proposal_id' = p.id::text
  where a.kind = 'proposal'
  union all
  select a.key, 'step', s.id::text from above a join public.ops_mission_steps s on s.mission_id = a.id where a.kind = 'mission'
  union all
  select a.key, 'event', e.id::text from above a join public.ops_agent_events e on e.mission_id = a.id
  where a.kind = 'mission' and not exists (select from public.ops_mission_steps s where s.mission_id = a.id and s.id::text = e.data ->> 'step_id')
  union all
  select s.key, 'attempt', r.run_id from step s join public.ops_action_runs r on r.run_id >= s.id::text || ':' and r.run_id < s.id::text || ';'
  union all
  select s.key, 'event', e.id::text from step s join public.ops_agent_events e on e.mission_id = s.mission_id and e.data ->> 'step_id' = s.id::text
  where not exists (select from public.ops_action_runs r where r.run_id = s.id::text || ':' || (e.data ->> 'lease_epoch'))
  union all
  select a.key, 'event', e.id::text from above a join public.ops_mission_steps s on s.id = a.id
  join public.ops_agent_events e on e.mission_id = s.mission_id and e.data ->> 'step_id' = s.id::text and e.data ->> 'lease_epoch' = a.rest where a.kind = 'attempt'
$$;
comment on function public.ops_trace_links(text[], text[]) is
  'What these nodes of the causal tree led to directly: event → decisions → reaction → proposal → mission → steps → attempts → events. parent is "<kind> <id>"; a decision''s id is <event>:<pattern>, an attempt''s is its run_id.';

create or replace function public.ops_trace_short(p_value jsonb) returns jsonb
language sql immutable set search_path = '' as $$
  select case when pg_column_size(p_value) < 1000 or length(p_value::text) <= 2000 then p_value else to_jsonb(left(p_value::text, 2000) || ' …') end
$$;
comment on function public.ops_trace_short(jsonb) is 'A value as it is, or the first 2,000 characters of its text.';

create or replace function public.ops_trace_nodes(p_kinds text[], p_ids text[])
returns table (key text, kind text, id text, label text, status text, at timestamptz, seq integer, detail jsonb)
language sql stable set search_path = '' as $$
  with node as materialized (
    select a.kind || ' ' || a.id as key, a.kind, a.id as name, left(a.id, 36)::uuid as id, substr(a.id, 38) as rest from unnest(p_kinds, p_ids) a(kind, id)
  )
  select n.key, n.kind, n.name, e.type || case when e.trust = 'loop' then '' else ' from ' || e.source end, coalesce(e.outcome, 'open'), e.created_at, 1000,
    jsonb_build_object('source', e.source, 'data', public.ops_trace_short(e.data), 'depth', e.depth, 'revision', e.revision, 'error', e.last_error)
  from node n join public.ops_agent_events e on e.id = n.id where n.kind = 'event'
  union all
  select n.key, n.kind, n.name, 'pattern ' || d.pattern_id || coalesce(': ' || d.clause, ''), d.outcome, d.decided_at, (d.outcome <> 'fired')::integer,
    jsonb_build_object('pattern_id', d.pattern_id, 'clause', d.clause, 'revision', d.revision, 'numbers', d.detail)
  from node n join public.ops_event_decisions d on d.event_id = n.id and d.pattern_id = n.rest where n.kind = 'decision'
  union all
  select n.key, n.kind, n.name, 'pattern ' || r.pattern_id || case when p.reaction_id <> r.id then ', joined an earlier proposal' else '' end, r.status, r.created_at, 0,
    jsonb_build_object('pattern_id', r.pattern_id, 'proposal_id', r.proposal_id, 'error', r.last_error)
  from node n join public.ops_agent_reactions r on r.id = n.id left join public.ops_mission_proposals p on p.id = r.proposal_id where n.kind = 'reaction'
  union all
  select n.key, n.kind, n.name, coalesce(p.title, 'untitled') || case when p.template -> 'dry_run' = 'true' then ' (dry run)' else '' end, p.status, p.created_at, 0,
    jsonb_build_object('source', p.source, 'risk', p.risk, 'reason', p.reason, 'decided_by', p.decided_by, 'policies', p.policy_snapshot)
  from node n join public.ops_mission_proposals p on p.id = n.id where n.kind = 'proposal'
  union all
  select n.key, n.kind, n.name, coalesce(m.title, 'untitled') || case when exists (select from public.ops_mission_steps s where s.mission_id = m.id and s.dry_run) then ' (dry run)' else '' end, m.status, m.created_at, 0, jsonb_build_object('started_at', m.started_at, 'completed_at', m.completed_at)
  from node n join public.ops_missions m on m.id = n.id where n.kind = 'mission'
  union all
  select n.key, n.kind, n.name, s.key || case when s.executor = s.kind then format(' (%s)', s.kind) else format(' (%s by %s)', s.kind, s.executor) end || case when s.dry_run then ', dry run' else '' end, s.status,
    coalesce(s.reserved_at, case when not public.ops_is_open(s.status) then s.updated_at end), s.position - 10000,
    jsonb_build_object('kind', s.kind, 'executor', s.executor, 'params', public.ops_trace_short(s.params), 'result', public.ops_trace_short(s.result), 'wait_reason', s.wait_reason,
      'ready_at', s.ready_at, 'series', s.series, 'failure_count', s.failure_count, 'crash_count', s.crash_count, 'skipped_for', s.skipped_for, 'error', left(s.last_error, 2000))
  from node n join public.ops_mission_steps s on s.id = n.id where n.kind = 'step'
  union all
  select n.key, n.kind, n.name, coalesce('by ' || r.worker_id, 'by nobody') || coalesce(', ' || trim_scale(round(extract(epoch from r.completed_at - r.started_at), 3)) || ' s', '') || case when s.dry_run then ', dry run' else '' end, r.status, r.started_at, 0,
    jsonb_build_object('id', r.id, 'worker_id', r.worker_id, 'completed_at', r.completed_at, 'meta', public.ops_trace_short(r.meta), 'error', left(r.error, 2000))
  from node n join public.ops_action_runs r on r.run_id = n.name left join public.ops_mission_steps s on s.id = r.step_id where n.kind = 'attempt'
$$;
comment on function public.ops_trace_nodes(text[], text[]) is 'Label, status, time and detail of nodes of the causal tree; seq orders the children of one parent before their time does.';

create or replace function public.ops_trace_level(p_nodes jsonb, p_below jsonb) returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_object_agg(g.parent, g.children) from (
    select n ->> 'parent' as parent, jsonb_agg((n -> 'node') || jsonb_build_object('children', coalesce(p_below -> (n ->> 'key'), '[]')) order by o) as children
    from jsonb_array_elements(p_nodes) with ordinality x(n, o) group by n ->> 'parent') g
$$;
comment on function public.ops_trace_level(jsonb, jsonb) is 'Hangs the finished children {key: [node]} under the nodes of one level: {parent key: [node]}.';

create or replace function public.ops_trace(p_id uuid) returns jsonb
language plpgsql stable set search_path = '' set timezone = 'UTC' set jit = off as $$
declare
  v_found record := public.ops_find(p_id);
  v_root record := public.ops_trace_root(v_found.kind, v_found.id);
  v_kinds text[] := array[v_root.kind];
  v_ids text[] := array[v_root.id::text];
  v_parents text[] := array[''];
  v_seen text[] := '{}';
  v_levels jsonb[] := '{}';
  v_below jsonb;
  v_cut boolean := false;
begin
  loop
    v_levels := array_append(v_levels, (select jsonb_agg(jsonb_build_object('key', n.key, 'parent', a.parent, 'node', jsonb_build_object('kind', n.kind, 'id', n.id, 'label', n.label,
        'status', n.status, 'at', n.at, 'detail', n.detail)) order by n.seq, n.at, n.id)
      from unnest(v_kinds, v_ids, v_parents) a(kind, id, parent) join public.ops_trace_nodes(v_kinds, v_ids) n on n.key = a.kind || ' ' || a.id));
    v_seen := v_seen || array(select a.kind || ' ' || a.id from unnest(v_kinds, v_ids) a(kind, id));
    select array_agg(l.kind), array_agg(l.id), array_agg(l.parent) into v_kinds, v_ids, v_parents
    from (select distinct on (c.kind, c.id) c.* from public.ops_trace_links(v_kinds, v_ids) c where c.kind || ' ' || c.id <> all (v_seen)
      order by c.kind, c.id limit 2001 - cardinality(v_seen)) l;
    v_cut := cardinality(v_seen) + coalesce(cardinality(v_kinds), 0) > 2000 or v_kinds is not null and cardinality(v_levels) >= 200;
    exit when v_kinds is null or cardinality(v_levels) >= 200 or cardinality(v_seen) >= 2000;
    v_kinds := v_kinds[1:2000 - cardinality(v_seen)];
    v_ids := v_ids[1:2000 - cardinality(v_seen)];
    v_parents := v_parents[1:2000 - cardinality(v_seen)];
  end loop;
  for v_level in reverse cardinality(v_levels) .. 1 loop
    v_below := public.ops_trace_level(v_levels[v_level], v_below);
  end loop;
  v_below := v_below #> array['', '0'];
  return case when v_cut then jsonb_set(v_below, '{detail,cut}', '"the tree is larger: only its first 2,000 nodes are drawn; ops-loop why <id> explains each"') else v_below end;
end $$;
comment on function public.ops_trace(uuid) is
  'The whole causal tree around an id, from the event (or proposal) that started it down to the last attempt: {kind, id, label, status, at, detail, children}, at most 2,000 nodes; detail.cut at the root says when there are more. Times in UTC. Reads only. Raises OPS_012.';

-- Status --------------------------------------------------------------------------------------------------------------

create or replace function public.ops_sample_share(p_table regclass) returns double precision
language sql stable set search_path = '' as $$
  select case when s.pages <= 8192 then 100 else 100.0 * 2048 / s.pages end
  from (select pg_relation_size(p_table) / current_setting('block_size')::bigint as pages) s
$$;
comment on function public.ops_sample_share(regclass) is
  'Per cent of a table''s pages to count: all up to 64 MB, of larger ones 16 MB, so that a count costs the same at any size. By size, because reltuples is unknown before the first analyze.';

create or replace function public.ops_count_finished(p_now timestamptz, out counts jsonb, out shares jsonb)
language plpgsql stable set search_path = '' as $$
declare
  v_events double precision := public.ops_sample_share('public.ops_agent_events');
  v_reactions double precision := public.ops_sample_share('public.ops_agent_reactions');
  v_proposals double precision := public.ops_sample_share('public.ops_mission_proposals');
  v_missions double precision := public.ops_sample_share('public.ops_missions');
  v_steps double precision := public.ops_sample_share('public.ops_mission_steps');
  v_attempts double precision := public.ops_sample_share('public.ops_action_runs');
  v_since timestamptz := p_now - interval '24 hours';
begin
  shares := jsonb_build_object('events', v_events, 'reactions', v_reactions, 'proposals', v_proposals, 'missions', v_missions, 'steps', v_steps, 'dry_runs', v_steps, 'attempts', v_attempts);
  -- TABLESAMPLE takes variables of this function only: one branch per table.
  select jsonb_object_agg(c.name, c.counts) into counts from (
    select f.name, jsonb_object_agg(f.status, round(f.n * 100 / (shares ->> f.name)::numeric)) as counts from (
      select 'events' as name, e.outcome as status, count(*) as n from public.ops_agent_events e tablesample system (v_events) repeatable (0)
      where e.processed_at is not null and (v_events = 100 or e.processed_at > v_since) group by 2
      union all
      select 'reactions', r.status, count(*) from public.ops_agent_reactions r tablesample system (v_reactions) repeatable (0)
      where r.status <> 'queued' and (v_reactions = 100 or r.updated_at > v_since) group by 2
      union all
      select 'proposals', p.status, count(*) from public.ops_mission_proposals p tablesample system (v_proposals) repeatable (0)
      where p.status not in ('pending', 'voting') and (v_proposals = 100 or p.updated_at > v_since) group by 2
      union all
      select 'missions', m.status, count(*) from public.ops_missions m tablesample system (v_missions) repeatable (0)
      where m.completed_at is not null and (v_missions = 100 or m.completed_at > v_since) group by 2
      union all
      select case when s.dry_run then 'dry_runs' else 'steps' end, s.status, count(*) from public.ops_mission_steps s tablesample system (v_steps) repeatable (0)
      where s.status in ('succeeded', 'failed', 'skipped', 'cancelled') and (v_steps = 100 or s.updated_at > v_since) group by 1, 2
      union all
      select 'attempts', a.status, count(*) from public.ops_action_runs a tablesample system (v_attempts) repeatable (0)
      where a.status <> 'started' and (v_attempts = 100 or a.started_at > v_since) group by 2) f
    group by f.name) c;
end $$;
comment on function public.ops_count_finished(timestamptz) is
  'Finished rows by status {table: {status: n}}: all of them and exact while a table is small, else those of the last 24 hours, estimated from a fixed sample of its pages. Steps of dry runs are counted beside the others, as dry_runs. shares: per cent of the pages counted.';

create or replace function public.ops_count_open() returns jsonb
language sql stable set search_path = '' set enable_seqscan = off as $$
  with step as materialized (
    select s.status, count(*) as n from public.ops_mission_steps s where s.status = 'queued' group by 1
    union all select s.status, count(*) from public.ops_mission_steps s where s.status = 'running' group by 1
    union all select 'scheduled', sum(w.n) from (select count(*) as n from public.ops_mission_steps s where s.status = 'scheduled' and s.wait_reason is null
      union all select count(*) from public.ops_mission_steps s where s.wait_reason is not null) w
    union all select 'blocked', count(*) from public.ops_missions m join public.ops_mission_steps s on s.mission_id = m.id where m.completed_at is null and s.status = 'blocked'
  )
  select jsonb_build_object(
    'events', jsonb_build_object('open', (select count(*) from public.ops_agent_events e where e.processed_at is null)),
    'reactions', jsonb_build_object('queued', (select count(*) from public.ops_agent_reactions r where r.status = 'queued')),
    'proposals', (select coalesce(jsonb_object_agg(p.status, p.n), '{}') from (select p.status, count(*) as n from public.ops_mission_proposals p
      where p.status in ('pending', 'voting') group by 1) p),
    'missions', (select coalesce(jsonb_object_agg(m.status, m.n), '{}') from (select m.status, count(*) as n from public.ops_missions m where m.completed_at is null group by 1) m),
    'steps', (select coalesce(jsonb_object_agg(s.status, s.n), '{}') from step s where s.n > 0),
    'attempts', (select coalesce(jsonb_object_agg('started', s.n), '{}') from step s where s.status = 'running'),
    'dead_letters', (select coalesce(jsonb_object_agg(d.state, d.n), '{}') from (select d.state, count(*) as n from public.ops_step_dead_letters d group by 1) d),
    'radar', (select coalesce(jsonb_object_agg(r.stage, r.n), '{}') from (select r.stage, count(*) as n from public.ops_demand_radar r group by 1) r))
$$;
comment on function public.ops_count_open() is 'Rows that are not finished, by status, exact, from the partial indexes: {table: {status: n}}; dead letters and radar in full.';

create or replace function public.ops_latencies(p_now timestamptz) returns jsonb
language sql stable set search_path = '' set enable_seqscan = off as $$
  with mission as materialized (
    (select m.id from public.ops_missions m where m.created_at > p_now - interval '1 hour' order by m.created_at desc limit 1000)
    union
    (select m.id from public.ops_missions m where m.completed_at is null order by m.created_at limit 1000)
  ), step as materialized (
    select s.id, s.status, s.lease_epoch, s.ready_at, s.reserved_at from mission m join public.ops_mission_steps s on s.mission_id = m.id
    where s.reserved_at > p_now - interval '1 hour' and s.lease_epoch > 0
  ), sample as (
    (select 'event_to_proposal' as name, p.created_at - e.created_at as took from public.ops_mission_proposals p join public.ops_agent_events e on e.id = p.event_id
    where p.gated_at > p_now - interval '1 hour' order by p.gated_at desc limit 5000)
    union all
    -- Only first claims: a later one has a new ready_at, or its wait was the backoff.
    select 'ready_to_claimed', s.reserved_at - s.ready_at from step s where s.lease_epoch = 1 and s.reserved_at >= s.ready_at
    union all
    select 'step_run', r.completed_at - r.started_at from step s join public.ops_action_runs r on r.run_id = s.id::text || ':' || s.lease_epoch
    where r.completed_at is not null and r.status <> 'released'
  ), measured as (
    select n.name, count(s.took) as samples, percentile_cont(array[0.5, 0.95]) within group (order by extract(epoch from s.took) * 1000) as ms
    from (values ('event_to_proposal'), ('ready_to_claimed'), ('step_run')) n(name) left join sample s on s.name = n.name group by n.name
  )
  select jsonb_object_agg(m.name, jsonb_build_object('p50_ms', round(m.ms[1]::numeric, 1), 'p95_ms', round(m.ms[2]::numeric, 1), 'samples', m.samples)) from measured m
$$;
comment on function public.ops_latencies(timestamptz) is
  'Milliseconds over the last hour {name: {p50_ms, p95_ms, samples}}: event_to_proposal, ready_to_claimed (first claims), step_run (latest attempts). From the newest 5,000 proposals and 2,000 missions at most.';

create or replace function public.ops_status() returns jsonb
language plpgsql stable set search_path = '' set timezone = 'UTC' set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_open jsonb := public.ops_count_open();
  v_done record := public.ops_count_finished(v_now);
begin
  return (select jsonb_object_agg(o.key, o.value || coalesce(v_done.counts -> o.key, '{}')) from jsonb_each(v_open) o)
    || jsonb_build_object(
      'dry_runs', coalesce(v_done.counts -> 'dry_runs', '{}'),
      'window', (select jsonb_object_agg(s.key, case when s.value::numeric = 100 then 'all' else 'finished ones of the last 24 hours, estimated' end) from jsonb_each_text(v_done.shares) s),
      'workers', (select coalesce(jsonb_agg(jsonb_build_object('name', w.name, 'host', w.host, 'seen_at', w.seen_at, 'executors', to_jsonb(w.executors),
          'running', (select count(*) from public.ops_mission_steps s where s.status = 'running' and s.worker_id = w.name)) order by w.name), '[]')
        from public.ops_workers w where w.seen_at >= v_now - interval '1 minute'),
      'switches', coalesce(public.ops_policy_value('switches') -> 'scopes', '{}'),
      'latencies', public.ops_latencies(v_now),
      'waiting', (select coalesce(jsonb_object_agg(h.reason, h.n), '{}') from (
        select s.wait_reason as reason, count(*) as n from public.ops_mission_steps s where s.wait_reason is not null group by 1
        union all
        select case when s.ready_at > v_now then 'time' else 'next claim' end, count(*) from public.ops_mission_steps s where s.status = 'scheduled' and s.wait_reason is null group by 1) h));
end $$;
comment on function public.ops_status() is
  'How it goes, in numbers: events, reactions, proposals, missions, steps, attempts, dead_letters, radar by status; dry_runs (finished steps of dry runs, which are not among steps); window (what the counts cover, per table); living workers; switches; latencies; waiting (scheduled steps by what they wait for). Reads only.';

-- Health --------------------------------------------------------------------------------------------------------------

create or replace function public.ops_queued_executors() returns table (executor text, ready_at timestamptz)
language sql stable set search_path = '' as $$
  with recursive head as (
    (select s.executor, s.ready_at from public.ops_mission_steps s where s.status = 'queued' order by s.executor, s.priority, s.ready_at, s.id limit 1)
    union all
    select n.executor, n.ready_at from head h cross join lateral (
      select s.executor, s.ready_at from public.ops_mission_steps s where s.status = 'queued' and s.executor > h.executor
      order by s.executor, s.priority, s.ready_at, s.id limit 1) n
  )
  select h.executor, h.ready_at from head h
$$;
comment on function public.ops_queued_executors() is 'Executors with queued steps, and since when the next step of each is ready. One index look-up per executor, however long the queue.';

create or replace function public.ops_health_numbers(p_now timestamptz) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return jsonb_build_object(
    'schema_version', public.ops_schema_version(),
    'last_beat_at', (select h.completed_at from public.ops_heartbeats h order by h.completed_at desc limit 1),
    'open_events', (select count(*) from (select from public.ops_agent_events e where e.processed_at is null limit 100000) e),
    'oldest_open_event_seconds', (select round(extract(epoch from p_now - e.created_at), 3) from public.ops_agent_events e where e.processed_at is null order by e.created_at limit 1),
    'queued_steps', (select count(*) from (select from public.ops_mission_steps s where s.status = 'queued' limit 100000) s),
    'pending_proposals', (select count(*) from (select from public.ops_mission_proposals p where p.status in ('pending', 'voting') limit 100000) p),
    'open_dead_letters', (select count(*) from (select from public.ops_step_dead_letters d where d.state = 'open' limit 100000) d),
    'workers', cardinality(public.ops_living_workers(null, p_now)))
    || (select jsonb_build_object('running_steps', count(*), 'expired_leases', count(*) filter (where s.lease_expires_at < p_now),
        'oldest_expired_seconds', round(extract(epoch from p_now - min(s.lease_expires_at) filter (where s.lease_expires_at < p_now)), 3))
      from public.ops_mission_steps s where s.status = 'running');
end $$;
comment on function public.ops_health_numbers(timestamptz) is 'The numbers that ops_health judges by, each from a partial index; counts stop at 100,000.';

create or replace function public.ops_health_problems(p_numbers jsonb, p_now timestamptz) returns table (severe boolean, problem text)
language sql stable set search_path = '' as $$
  with fact as (
    select (p_numbers ->> 'open_events')::bigint as open, (p_numbers ->> 'oldest_open_event_seconds')::numeric as oldest, (p_numbers ->> 'expired_leases')::bigint as expired,
      (p_numbers ->> 'oldest_expired_seconds')::numeric as late, extract(epoch from p_now - (p_numbers ->> 'last_beat_at')::timestamptz) as beat,
      (select s.scope from unnest(array['all', 'heartbeat']) s(scope) where public.ops_switch_mode(public.ops_policy_value('switches'), s.scope) is not null limit 1) as paused
  )
  select coalesce(f.beat, f.oldest) > 3600, format('%s while %s events are open: is the scheduler calling? `ops-loop heartbeat` runs one.',
    coalesce('The last scheduled heartbeat ended ' || public.ops_say_span(f.beat) || ' ago', 'No scheduled heartbeat has run yet'), f.open)
  from fact f where f.open > 0 and coalesce(f.beat, f.oldest) > 900 and f.paused is null
  union all
  select f.oldest > 3600, format('The oldest of %s open events has waited for %s%s.', f.open, public.ops_say_span(f.oldest),
    case when f.paused is not null then format(': the switch %s pauses deciding, `ops-loop resume %s` lifts it', f.paused, f.paused) end)
  from fact f where f.oldest > 600
  union all
  select f.late > 600, format('%s of %s running steps have lost their lease, the first %s ago: nobody recovers them. A worker or `ops-loop heartbeat` does.', f.expired,
    p_numbers ->> 'running_steps', public.ops_say_span(f.late)) from fact f where f.late > 120
  union all
  select q.ready_at < p_now - interval '30 minutes', format('Steps wait for executor %s since %s. %s', q.executor, public.ops_say_time(q.ready_at, p_now), public.ops_say_servers(q.executor, p_now))
  from public.ops_queued_executors() q where cardinality(public.ops_living_workers(q.executor, p_now)) = 0
  union all
  select count(*) filter (where not b.ok) = 3, format('%s of the last 3 heartbeats failed, the last with: %s.', count(*) filter (where not b.ok),
    public.ops_say_error((array_agg(b.failures #>> '{0,message}' order by b.completed_at desc) filter (where not b.ok))[1]))
  from (select h.ok, h.failures, h.completed_at from public.ops_heartbeats h order by h.completed_at desc limit 3) b
  having not (array_agg(b.ok order by b.completed_at desc))[1]
$$;
comment on function public.ops_health_problems(jsonb, timestamptz) is 'What is wrong, in sentences; severe ones make the loop unhealthy, the others degraded.';

create or replace function public.ops_health() returns jsonb
language plpgsql stable set search_path = '' set timezone = 'UTC' set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_numbers jsonb := public.ops_health_numbers(v_now);
begin
  return v_numbers - 'oldest_expired_seconds' || (
    with broken as materialized (select o.invariant, o.entity, o.id from public.ops_check_open(v_now) o),
    problem as (
      select p.severe, p.problem from public.ops_health_problems(v_numbers, v_now) p
      union all
      select k.severe, k.problem from public.ops_key_problems() k
      union all
      select true, format('The data contradicts itself: %s (%s %s). `ops-loop doctor` looks at everything.', replace(b.invariant, '_', ' '), b.entity, min(b.id))
      from broken b group by b.invariant, b.entity)
    select jsonb_build_object('status', case when bool_or(p.severe) then 'unhealthy' when count(*) > 0 then 'degraded' else 'healthy' end,
      'problems', coalesce(jsonb_agg(p.problem), '[]'), 'violations', (select coalesce(jsonb_agg(distinct b.invariant), '[]') from broken b))
    from problem p);
end $$;
comment on function public.ops_health() is
  'healthy, degraded or unhealthy, with problems as sentences, the numbers behind them, and violations: the invariants that what is open breaks. Cheap: index look-ups only. Reads only.';

-- Invariants ----------------------------------------------------------------------------------------------------------
-- Each function answers (invariant, entity, id, detail), no row on a sound database, from one snapshot. What an operator
-- may do is no violation: rows that are archived or deleted after their retention prove nothing by being gone.

create or replace function public.ops_shortest_retention(p_policy jsonb) returns interval
language sql immutable set search_path = '' as $$
  select least(coalesce((p_policy ->> 'days')::numeric, 90), (select min(r.value::numeric) from jsonb_each_text(p_policy) r)) * interval '1 day'
$$;
comment on function public.ops_shortest_retention(jsonb) is 'How long a row stays for certain under a retention policy: its shortest member; 90 days for what it does not name.';

create or replace function public.ops_kept_since(p_now timestamptz) returns timestamptz
language sql stable set search_path = '' as $$
  select greatest(p_now - public.ops_shortest_retention(public.ops_policy_value('retention')), (
    -- What was let go under an earlier version does not come back with a longer one.
    select max(v.until - public.ops_shortest_retention(v.value))
    from (select coalesce(h.value, '{}') as value, lead(h.updated_at) over (order by h.version) as until
      from public.ops_policy_history h where h.key = 'retention') v))
$$;
comment on function public.ops_kept_since(timestamptz) is 'Since when every finished row must still be there: the shortest retention, now and in every version of the policy while it was in force; 90 days without a policy.';

create or replace function public.ops_check_events(p_since timestamptz) returns table (invariant text, entity text, id text, detail jsonb)
language sql stable set search_path = '' as $$
  select case when e.outcome is null then 'event_closed_without_outcome' else 'event_open_with_outcome' end, 'event', e.id::text,
    jsonb_build_object('type', e.type, 'outcome', e.outcome, 'processed_at', e.processed_at)
  from public.ops_agent_events e where (e.processed_at is null) <> (e.outcome is null)
  union all
  select 'fired_event_without_reaction', 'event', e.id::text, jsonb_build_object('type', e.type, 'revision', e.revision)
  from public.ops_agent_events e where e.outcome = 'fired' and e.decided_at > p_since
    and not exists (select from public.ops_agent_reactions r where r.event_id = e.id)
  union all
  select 'fired_decision_without_reaction', 'event', d.event_id::text, jsonb_build_object('pattern_id', d.pattern_id, 'revision', d.revision)
  from public.ops_event_decisions d where d.outcome = 'fired' and d.decided_at > p_since
    and not exists (select from public.ops_agent_reactions r where r.event_id = d.event_id and r.pattern_id = d.pattern_id)
  union all
  select 'reaction_left_processing', 'reaction', r.id::text, jsonb_build_object('event_id', r.event_id, 'pattern_id', r.pattern_id)
  from public.ops_agent_reactions r where r.status = 'processing'
  union all
  select 'reaction_done_without_proposal', 'reaction', r.id::text, jsonb_build_object('event_id', r.event_id, 'pattern_id', r.pattern_id, 'proposal_id', r.proposal_id)
  from public.ops_agent_reactions r where r.status = 'done' and (r.proposal_id is null
    -- With a dedupe key it may be an earlier proposal, whose time is over.
    or r.updated_at > p_since and not r.payload ? 'dedupe_key' and not exists (select from public.ops_mission_proposals p where p.id = r.proposal_id))
  union all
  select 'depth_over_limit', 'mission', m.id::text, jsonb_build_object('depth', m.depth, 'max_depth', b.max_depth)
  from (select greatest(8, max(coalesce(public.ops_integer(h.value -> 'max_depth'), 8))) as max_depth from public.ops_policy_history h where h.key = 'loop_limits') b
  join public.ops_missions m on m.depth >= greatest(b.max_depth, 1)
$$;
comment on function public.ops_check_events(timestamptz) is 'Invariants of events, decisions and reactions; the depth of a mission is held against the largest max_depth there ever was.';

create or replace function public.ops_check_proposals(p_since timestamptz) returns table (invariant text, entity text, id text, detail jsonb)
language sql stable set search_path = '' as $$
  select 'two_proposals_for_one_reaction', 'event', p.event_id::text, jsonb_build_object('pattern_id', p.pattern_id, 'proposals', jsonb_agg(p.id order by p.created_at))
  from public.ops_mission_proposals p where p.source = 'reaction' and p.event_id is not null and p.revises is null group by p.event_id, p.pattern_id having count(*) > 1
  union all
  select 'approved_without_one_mission', 'proposal', p.id::text, jsonb_build_object('status', p.status, 'missions', m.n)
  from public.ops_mission_proposals p cross join lateral (select count(*) as n from public.ops_missions m where m.proposal_id = p.id) m
  where p.status in ('approved', 'auto_approved') and m.n <> 1 and (m.n > 1 or coalesce(p.approved_at, p.updated_at) > p_since)
  union all
  select 'mission_without_approval', 'mission', m.id::text, jsonb_build_object('proposal_id', p.id, 'status', p.status)
  from public.ops_missions m join public.ops_mission_proposals p on p.id = m.proposal_id where p.status not in ('approved', 'auto_approved')
$$;
comment on function public.ops_check_proposals(timestamptz) is 'Invariants of proposals and the missions they lead to.';

create or replace function public.ops_check_missions() returns table (invariant text, entity text, id text, detail jsonb)
language sql stable set search_path = '' as $$
  with counted as (
    -- Statuses written out: a function call per row would take most of the time.
    select s.mission_id, count(*) as steps, count(*) filter (where s.status in ('blocked', 'scheduled', 'queued', 'running')) as open, bool_or(s.lease_epoch > 0) as touched,
      count(*) filter (where s.status = 'failed' and s.on_failure = 'stop') as failed, count(*) filter (where s.status = 'cancelled') as cancelled
    from public.ops_mission_steps s group by s.mission_id
  ), fact as (
    select m.id, m.status, m.open_steps, m.failed_steps, m.cancelled_steps, m.completed_at, coalesce(c.open, 0) as open, c.touched, c.failed, c.cancelled,
      -- A finished mission stands without its steps; when some are gone, their counts can't be checked.
      m.completed_at is null or coalesce(c.steps >= jsonb_array_length(p.template -> 'steps'), false) as whole
    from public.ops_missions m left join counted c on c.mission_id = m.id left join public.ops_mission_proposals p on p.id = m.proposal_id
  )
  select 'mission_status_not_function_of_steps', 'mission', f.id::text, to_jsonb(f) - array['id', 'whole']
  from fact f
  where f.whole and (f.open_steps, f.failed_steps, f.cancelled_steps) is distinct from (f.open, f.failed, f.cancelled)
    or f.whole and f.open = 0 and f.status <> case when f.failed > 0 then 'failed' when f.cancelled > 0 then 'cancelled' else 'succeeded' end
    -- A claim that finds the mission locked leaves approved to be turned into running by the next transition.
    or f.open > 0 and f.status not in ('approved', case when f.touched then 'running' else 'approved' end)
    or (f.open = 0) <> (f.completed_at is not null)
$$;
comment on function public.ops_check_missions() is 'Missions whose status or counts are not what their steps say.';

create or replace function public.ops_check_steps() returns table (invariant text, entity text, id text, detail jsonb)
language sql stable set search_path = '' as $$
  with wrong as (
    select 'running_without_lease' as invariant, s as step from public.ops_mission_steps s
    where s.status = 'running' and (s.worker_id is null or s.lease_expires_at is null or s.reserved_at is null)
    union all
    select 'open_step_without_mission', s from public.ops_mission_steps s
    where s.status in ('blocked', 'scheduled', 'queued', 'running') and not exists (select from public.ops_missions m where m.id = s.mission_id)
    union all
    select 'running_without_attempt', s from public.ops_mission_steps s left join public.ops_action_runs r on r.run_id = s.id::text || ':' || s.lease_epoch
    where s.status = 'running' and r.status is distinct from 'started'
    union all
    select 'lease_without_running', s from public.ops_mission_steps s where s.status <> 'running' and s.lease_expires_at is not null
    union all
    select 'wait_reason_without_scheduled', s from public.ops_mission_steps s where s.wait_reason is not null and s.status <> 'scheduled'
    union all
    -- Attempts may be archived before their step: then none is left.
    select 'success_without_attempt', s from public.ops_mission_steps s left join public.ops_action_runs r on r.run_id = s.id::text || ':' || s.lease_epoch and r.status = 'succeeded'
    where s.status = 'succeeded' and r.run_id is null
      and exists (select from public.ops_action_runs a where a.run_id >= s.id::text || ':' and a.run_id < s.id::text || ';')
    union all
    select 'skipped_for_no_cause', s from public.ops_mission_steps s join public.ops_mission_steps f on f.id = s.skipped_for
    where s.status = 'skipped' and f.status not in ('failed', 'cancelled')
  )
  select w.invariant, 'step', (w.step).id::text, jsonb_build_object('mission_id', (w.step).mission_id, 'key', (w.step).key, 'status', (w.step).status, 'lease_epoch', (w.step).lease_epoch,
    'worker_id', (w.step).worker_id, 'lease_expires_at', (w.step).lease_expires_at, 'wait_reason', (w.step).wait_reason, 'skipped_for', (w.step).skipped_for)
  from wrong w
$$;
comment on function public.ops_check_steps() is 'Invariants of single steps: leases, attempts, waits.';

create or replace function public.ops_check_needs() returns table (invariant text, entity text, id text, detail jsonb)
language sql stable set search_path = '' as $$
  select case when n.open = 0 then 'blocked_behind_ended_steps' else 'pending_needs_wrong' end, 'step', s.id::text,
    jsonb_build_object('mission_id', s.mission_id, 'key', s.key, 'pending_needs', s.pending_needs, 'unmet', n.unmet, 'open', n.open)
  from public.ops_mission_steps s
  join public.ops_missions m on m.id = s.mission_id and m.completed_at is null
  cross join lateral (
    select count(*) filter (where public.ops_is_open(n.status)) as open, count(*) filter (where not (
      n.status in ('succeeded', 'skipped') and n.skipped_for is null or n.status = 'failed' and n.on_failure = 'continue')) as unmet
    from public.ops_mission_steps n where n.id = any (s.needs)) n
  where s.status = 'blocked' and (n.open = 0 and not coalesce(s.for_each ? 'waits', false) or n.unmet <> s.pending_needs)
$$;
comment on function public.ops_check_needs() is 'Blocked steps that nothing open will ever set free, or whose count of needs is wrong.';

create or replace function public.ops_check_attempts() returns table (invariant text, entity text, id text, detail jsonb)
language sql stable set search_path = '' as $$
  with wrong as (
    select 'success_not_kept' as invariant, r.run_id, r.step_id, r.status, r.completed_at
    from public.ops_action_runs r join public.ops_mission_steps s on s.id = r.step_id where r.status = 'succeeded' and s.status <> 'succeeded'
    union all
    select 'epoch_reused', r.run_id, r.step_id, r.status, r.completed_at
    from public.ops_action_runs r left join public.ops_mission_steps s on s.id = r.step_id
    where left(r.run_id, 37) <> r.step_id::text || ':' or substr(r.run_id, 38)::bigint > s.lease_epoch
    union all
    select 'attempt_left_started', r.run_id, r.step_id, r.status, r.completed_at
    from public.ops_action_runs r join public.ops_mission_steps s on s.id = r.step_id
    where r.status = 'started' and (s.status <> 'running' or r.run_id <> s.id::text || ':' || s.lease_epoch)
    union all
    select 'attempt_end_contradicts_status', r.run_id, r.step_id, r.status, r.completed_at
    from public.ops_action_runs r where (r.status = 'started') <> (r.completed_at is null)
  )
  select w.invariant, 'attempt', w.run_id, jsonb_build_object('status', w.status, 'completed_at', w.completed_at, 'step_id', w.step_id, 'step_status', s.status, 'lease_epoch', s.lease_epoch)
  from wrong w left join public.ops_mission_steps s on s.id = w.step_id
$$;
comment on function public.ops_check_attempts() is 'Invariants of single attempts: their success is kept, their epoch is the past of their step, none is left open.';

create or replace function public.ops_check_leases() returns table (invariant text, entity text, id text, detail jsonb)
language sql stable set search_path = '' as $$
  with again as materialized (
    -- Of two attempts at a step, one has an epoch past 1.
    select distinct r.step_id from public.ops_action_runs r where substr(r.run_id, 38) <> '1'
  ), attempt as materialized (
    select r.run_id, r.step_id, substr(r.run_id, 38)::bigint as epoch, r.status, r.started_at, r.completed_at
    from again a join public.ops_action_runs r on r.run_id >= a.step_id::text || ':' and r.run_id < a.step_id::text || ';'
  )
  select 'overlapping_leases', 'attempt', a.run_id, jsonb_build_object('started_at', a.started_at, 'earlier', a.earlier, 'earlier_ended_at', a.ended_at)
  from (select t.*, lag(t.run_id) over w as earlier, lag(coalesce(t.completed_at, 'infinity')) over w as ended_at from attempt t window w as (partition by t.step_id order by t.epoch)) a
  -- A claim reads the clock before it takes its rows, so neighbours may seem to meet by the length of a statement.
  where a.started_at < a.ended_at - interval '5 seconds'
  union all
  select 'two_successes_for_one_step', 'step', a.step_id::text, jsonb_build_object('attempts', jsonb_agg(a.run_id order by a.epoch))
  from attempt a where a.status = 'succeeded' group by a.step_id having count(*) > 1
$$;
comment on function public.ops_check_leases() is 'Steps tried more than once: never two leases at a time, never two successes.';

create or replace function public.ops_check_dead_letters(p_since timestamptz) returns table (invariant text, entity text, id text, detail jsonb)
language sql stable set search_path = '' as $$
  select 'failed_step_without_dead_letter', 'step', s.id::text, jsonb_build_object('mission_id', s.mission_id, 'key', s.key, 'series', s.series)
  from public.ops_mission_steps s where s.status = 'failed' and s.updated_at > p_since
    and not exists (select from public.ops_step_dead_letters d where d.step_id = s.id and d.series = s.series)
  union all
  select 'dead_letter_without_failed_step', 'dead_letter', d.id::text, jsonb_build_object('step_id', s.id, 'step_status', s.status, 'series', d.series, 'step_series', s.series)
  from public.ops_step_dead_letters d join public.ops_mission_steps s on s.id = d.step_id
  where d.state = 'open' and (s.status <> 'failed' or s.series <> d.series) or d.series > s.series or d.state <> 'open' and d.series = s.series and s.status <> 'failed'
  union all
  select 'requeued_dead_letter_of_failed_step', 'dead_letter', d.id::text, jsonb_build_object('step_id', s.id, 'series', d.series)
  from public.ops_step_dead_letters d join public.ops_mission_steps s on s.id = d.step_id and s.series = d.series where d.state = 'requeued' and s.status = 'failed'
$$;
comment on function public.ops_check_dead_letters(timestamptz) is 'One dead letter per failed step and series, and none otherwise.';

create or replace function public.ops_check_holds(p_now timestamptz) returns table (invariant text, entity text, id text, detail jsonb)
language sql stable set search_path = '' as $$
  select 'held_without_cause', 'step', (array_agg(s.id order by s.id))[1]::text, jsonb_build_object('wait_reason', s.wait_reason, 'steps', count(*))
  from public.ops_mission_steps s
  -- A claim that had read the old policy may hold a step after the change; the next recovery lets it go.
  where s.wait_reason is not null and s.updated_at < p_now - interval '15 minutes'
    and not public.ops_hold_stands(s.wait_reason, public.ops_policy_value('switches'), public.ops_policy_value('worker_policy'))
  group by s.wait_reason
$$;
comment on function public.ops_check_holds(timestamptz) is
  'Steps held for over 15 minutes for a switch, list or bound that today''s policies do not have: recovery should have let them go. One row per reason.';

create or replace function public.ops_check_caps(p_now timestamptz) returns table (invariant text, entity text, id text, detail jsonb)
language sql stable set search_path = '' as $$
  with policy as (
    select c.value as caps, c.version as caps_version, a.value as auto, a.version as auto_version, c.value ->> 'time_zone' as zone, a.value ->> 'time_zone' as auto_zone
    from (select 1) one left join public.ops_policy c on c.key = 'proposal_caps' left join public.ops_policy a on a.key = 'auto_approve'
  ), gated as (
    select p.id, p.status, p.source, p.pattern_id, p.gated_at, p.approved_at, p.created_at, p.policy_snapshot, date_trunc('day', p.gated_at, coalesce(y.zone, 'UTC')) as day,
      date_trunc('hour', p.gated_at, coalesce(y.zone, 'UTC')) as hour, date_trunc('day', p.gated_at, coalesce(y.auto_zone, 'UTC')) as auto_day
    from public.ops_mission_proposals p cross join policy y
    where p.gated_at >= date_trunc('day', p_now, coalesce(y.zone, 'UTC')) - interval '1 day' and p.status <> 'rejected'
      and (y.caps ?| array['daily_limit', 'hourly_limit', 'per_source', 'per_pattern'] or y.auto ? 'daily_limit')
  ), ranked as (
    -- How many of its window were counted when it was: later rejections only make these numbers smaller.
    select g.*, count(*) over (partition by g.day order by g.gated_at, g.created_at, g.id) as of_day,
      count(*) over (partition by g.hour order by g.gated_at, g.created_at, g.id) as of_hour,
      count(*) over (partition by g.day, g.source order by g.gated_at, g.created_at, g.id) as of_source,
      count(*) over (partition by g.day, g.pattern_id order by g.gated_at, g.created_at, g.id) as of_pattern,
      count(*) filter (where g.status = 'auto_approved') over (partition by g.auto_day order by g.gated_at, g.created_at, g.id) as of_auto
    from gated g
  )
  select 'caps_exceeded', 'proposal', r.id::text, jsonb_build_object('cap', k.cap, 'limit', public.ops_integer(k.bound), 'used', k.used)
  from ranked r cross join policy y
  cross join lateral (values
    ('proposal_caps.daily_limit', y.caps -> 'daily_limit', r.of_day, y.caps_version, 'proposal_caps'),
    ('proposal_caps.hourly_limit', y.caps -> 'hourly_limit', r.of_hour, y.caps_version, 'proposal_caps'),
    ('proposal_caps.per_source', case jsonb_typeof(y.caps -> 'per_source') when 'object' then y.caps #> array['per_source', r.source] else y.caps -> 'per_source' end, r.of_source, y.caps_version, 'proposal_caps'),
    ('proposal_caps.per_pattern', case when r.pattern_id is null then null when jsonb_typeof(y.caps -> 'per_pattern') = 'object' then y.caps #> array['per_pattern', r.pattern_id]
      else y.caps -> 'per_pattern' end, r.of_pattern, y.caps_version, 'proposal_caps'),
    ('auto_approve.daily_limit', case when r.status = 'auto_approved' then y.auto -> 'daily_limit' end, r.of_auto, y.auto_version, 'auto_approve')
  ) k(cap, bound, used, version, key)
  -- Only what was gated under today's caps can be held against them; an approval by hand keeps an older stamp.
  where k.used > public.ops_integer(k.bound) and (r.policy_snapshot ->> k.key)::bigint = k.version and (r.status = 'auto_approved' or r.approved_at is distinct from r.gated_at)
$$;
comment on function public.ops_check_caps(timestamptz) is 'Proposals of today and yesterday that were counted over a cap, as far as they were gated under its present version.';

create or replace function public.ops_check_bounds() returns table (invariant text, entity text, id text, detail jsonb)
language sql stable set search_path = '' as $$
  with policy as (select p.value, p.updated_at from public.ops_policy p where p.key = 'worker_policy')
  select 'max_running_exceeded', 'executor', r.executor, jsonb_build_object('running', r.n, 'max_running', public.ops_integer(r.bounds -> 'max_running'))
  from (select s.executor, count(*) as n, max(s.reserved_at) as latest, p.value -> 'executors' -> s.executor as bounds, p.updated_at
    from public.ops_mission_steps s cross join policy p where s.status = 'running' and s.lease_expires_at > public.ops_clock() group by 1, 4, 5) r
  -- Those that ran when the bound was lowered may end; a claim after that keeps to it.
  where r.n > public.ops_integer(r.bounds -> 'max_running') and r.latest > r.updated_at + interval '10 seconds'
  union all
  select 'rate_exceeded', 'executor', substr(l.key, 10), jsonb_build_object('used', l.used, 'count', p.value #>> array['executors', substr(l.key, 10), 'rate', 'count'])
  from public.ops_limits l cross join policy p
  where l.key like 'executor:%' and l.used > (p.value #>> array['executors', substr(l.key, 10), 'rate', 'count'])::numeric and l.window_start > p.updated_at + interval '10 seconds'
  union all
  select 'pattern_limit_exceeded', 'pattern', c.pattern_id, jsonb_build_object('key', l.key, 'used', l.used, 'count', c.limit_count)
  from public.ops_policy_patterns c join public.ops_policy p on p.key = 'reaction_matrix'
  join public.ops_limits l on starts_with(l.key, 'limit:' || c.pattern_id || ':') and l.used > greatest(c.limit_count, 1) and l.window_start > p.updated_at + interval '10 seconds'
$$;
comment on function public.ops_check_bounds() is 'Executors and patterns over their max_running, rate or limit, where the window began under the present policy.';

create or replace function public.ops_check_policies() returns table (invariant text, entity text, id text, detail jsonb)
language sql stable set search_path = '' as $$
  select 'policy_not_in_history', 'policy', p.key, jsonb_build_object('version', p.version)
  from public.ops_policy p left join public.ops_policy_history h on h.key = p.key and h.version = p.version where h.value is distinct from p.value
  union all
  select 'patterns_not_compiled', 'policy', 'reaction_matrix', jsonb_build_object('pattern_id', coalesce(c.pattern_id, w.pattern_id), 'compiled', c.pattern_id is not null)
  from public.ops_policy_patterns c
  full join (select w.* from public.ops_policy p cross join lateral public.ops_compile_matrix(p.value, p.version) w where p.key = 'reaction_matrix') w
    on w.pattern_id = c.pattern_id
  where to_jsonb(c) is distinct from to_jsonb(w)
$$;
comment on function public.ops_check_policies() is 'Policies without their history, and compiled patterns that are not today''s matrix.';

create or replace function public.ops_check_open(p_now timestamptz) returns table (invariant text, entity text, id text, detail jsonb)
language sql stable set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
  with running as materialized (
    select s.id, s.mission_id, s.lease_epoch, s.worker_id from public.ops_mission_steps s where s.status = 'running' order by s.executor, s.id limit 500
  ), waiting as materialized (
    (select s.id, s.mission_id from public.ops_mission_steps s where s.status = 'queued' order by s.executor, s.priority, s.ready_at, s.id limit 200)
    union all (select s.id, s.mission_id from public.ops_mission_steps s where s.status = 'scheduled' and s.wait_reason is null order by s.ready_at limit 200)
    union all (select s.id, s.mission_id from public.ops_mission_steps s where s.wait_reason is not null order by s.wait_reason, s.priority, s.ready_at, s.id limit 200)
  ), blocked as materialized (
    select s.id, s.mission_id, s.needs, coalesce(s.for_each ? 'waits', false) as put_off from public.ops_mission_steps s where s.status = 'blocked' order by s.mission_id limit 200
  )
  select 'event_open_with_outcome', 'event', e.id::text, jsonb_build_object('outcome', e.outcome)
  from (select o.id, o.outcome from public.ops_agent_events o where o.processed_at is null order by o.created_at, o.id limit 500) e where e.outcome is not null
  union all
  select 'running_without_attempt', 'step', s.id::text, jsonb_build_object('lease_epoch', s.lease_epoch, 'worker_id', s.worker_id)
  from running s left join public.ops_action_runs r on r.run_id = s.id::text || ':' || s.lease_epoch where r.status is distinct from 'started'
  union all
  select distinct 'mission_status_not_function_of_steps', 'mission', m.id::text, jsonb_build_object('status', m.status, 'open_steps', m.open_steps)
  from (select r.mission_id from running r union all select w.mission_id from waiting w union all select b.mission_id from blocked b) s
  join public.ops_missions m on m.id = s.mission_id where m.completed_at is not null or m.open_steps = 0
  union all
  select 'blocked_behind_ended_steps', 'step', b.id::text, jsonb_build_object('mission_id', b.mission_id)
  from blocked b where not b.put_off and not exists (select from public.ops_mission_steps n where n.id = any (b.needs) and n.status in ('blocked', 'scheduled', 'queued', 'running'))
  union all
  select 'mission_without_approval', 'mission', m.id::text, jsonb_build_object('proposal_id', p.id, 'status', p.status)
  from (select w.id, w.status from public.ops_mission_proposals w where w.status in ('pending', 'voting') order by w.created_at, w.id limit 200) p
  join public.ops_missions m on m.proposal_id = p.id
  union all
  select 'dead_letter_without_failed_step', 'dead_letter', d.id::text, jsonb_build_object('step_id', s.id, 'step_status', s.status)
  from (select l.id, l.step_id, l.series from public.ops_step_dead_letters l where l.state = 'open' order by l.created_at desc limit 200) d
  join public.ops_mission_steps s on s.id = d.step_id where s.status <> 'failed' or s.series <> d.series
  union all
  select 'max_running_exceeded', 'executor', x.key, jsonb_build_object('running', r.n, 'max_running', x.value -> 'max_running')
  from public.ops_policy p cross join lateral jsonb_each(coalesce(p.value -> 'executors', '{}')) x
  cross join lateral (select count(*) as n, max(s.reserved_at) as latest from public.ops_mission_steps s
    where s.status = 'running' and s.executor = x.key and s.lease_expires_at > p_now) r
  where p.key = 'worker_policy' and r.n > public.ops_integer(x.value -> 'max_running') and r.latest > p.updated_at + interval '10 seconds'
  union all
  select y.* from public.ops_check_policies() y
$$;
comment on function public.ops_check_open(timestamptz) is
  'The invariants that indexes answer at any size, of what is open: the oldest few hundred of each kind. For health, at every look.';

drop function if exists public.ops_check_invariants();
create or replace function public.ops_check_invariants(p_cheap boolean default false) returns table (invariant text, entity text, id text, detail jsonb)
language plpgsql stable set search_path = '' set timezone = 'UTC' set jit = off set work_mem = '64MB' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_since timestamptz := public.ops_kept_since(v_now);
begin
  if p_cheap then
    return query select o.* from public.ops_check_open(v_now) o limit 1000;
    return;
  end if;
  return query
  select c.* from (
    select e.* from public.ops_check_events(v_since) e
    union all select p.* from public.ops_check_proposals(v_since) p
    union all select m.* from public.ops_check_missions() m
    union all select s.* from public.ops_check_steps() s
    union all select n.* from public.ops_check_needs() n
    union all select a.* from public.ops_check_attempts() a
    union all select l.* from public.ops_check_leases() l
    union all select d.* from public.ops_check_dead_letters(v_since) d
    union all select h.* from public.ops_check_holds(v_now) h
    union all select k.* from public.ops_check_caps(v_now) k
    union all select b.* from public.ops_check_bounds() b
    union all select w.* from public.ops_check_radar() w
    union all select u.* from public.ops_check_budgets() u
    union all select y.* from public.ops_check_policies() y) c
  limit 1000;
end $$;
comment on function public.ops_check_invariants(boolean) is
  'What must never be: (invariant, entity, id, detail), no row on a sound database, at most 1,000 otherwise. One snapshot, so it may run beside a working loop; reads whole tables. p_cheap looks only at what is open, by index: milliseconds at any size.';

insert into public.ops_migrations (version, name) values ('0009', 'ops_insight') on conflict do nothing;
