-- 0020 Spans: what has ended, as OpenTelemetry wants it, from event to attempt in one trace.
--
-- Why so: the rows already say when each thing began and ended and what led to it, so a trace is read from them and
-- nothing is recorded beside the work. Ids follow from row ids (W3C Trace Context, level 1): whoever runs a step knows
-- its span without asking. Events are the journal of what ends, so they are walked by their time and no table needs a
-- further index. A row is looked at once nobody who might still write one of that time is at work.
-- Locks: the cursor row, under a try-lock: of several exporters one takes, the others come back later.
-- Undo: rollbacks/0020_ops_spans.sql.

create table if not exists public.ops_span_cursor (
  only_row boolean primary key default true constraint ops_span_cursor_only_row check (only_row),
  decided_upto timestamptz not null,
  ended_upto timestamptz not null,
  safe_upto timestamptz not null,
  mark_at timestamptz not null,
  mark_xid xid8 not null
);
comment on table public.ops_span_cursor is 'How far spans have been taken. No row until the first exporter asks: what ended before is not exported.';
comment on column public.ops_span_cursor.only_row is 'There is one row.';
comment on column public.ops_span_cursor.decided_upto is 'Events that came until then, and their reactions, have been taken.';
comment on column public.ops_span_cursor.ended_upto is 'Proposals, missions, steps and attempts that ended until then have been taken.';
comment on column public.ops_span_cursor.safe_upto is 'Everything stamped until then is visible: its transactions have ended.';
comment on column public.ops_span_cursor.mark_at is 'When the latest mark was set.';
comment on column public.ops_span_cursor.mark_xid is 'The first transaction id not given out then: once all below it have ended, safe_upto follows the mark.';

-- Ids -------------------------------------------------------------------------------------------------------------

create or replace function public.ops_valid_traceparent(p_traceparent text) returns text
language sql immutable set search_path = '' as $$
  select case when p_traceparent ~ '^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$' then p_traceparent end
$$;
comment on function public.ops_valid_traceparent(text) is 'The trace context as it is when it is valid by W3C Trace Context, null otherwise.';

create or replace function public.ops_trace_id(p_traceparent text, p_root uuid) returns text
language sql immutable set search_path = '' as $$
  select coalesce(split_part(public.ops_valid_traceparent(p_traceparent), '-', 2), replace(p_root::text, '-', ''))
$$;
comment on function public.ops_trace_id(text, uuid) is 'The trace of a chain: the sender''s when it sent a valid context, else the id of the event or proposal that began it.';

create or replace function public.ops_span_id(p_id uuid) returns text
language sql immutable set search_path = '' as $$ select right(replace(p_id::text, '-', ''), 16) $$;
comment on function public.ops_span_id(uuid) is 'The span of a row: the second half of its id, which is random; the first may be its time.';

create or replace function public.ops_attempt_span_id(p_run_id text) returns text
language sql immutable set search_path = '' as $$ select left(encode(sha256(convert_to(p_run_id, 'UTF8')), 'hex'), 16) $$;
comment on function public.ops_attempt_span_id(text) is 'The span of an attempt: the first half of the first half of the SHA-256 of <step id>:<lease epoch>. Workers compute the same.';

create or replace function public.ops_span(p_trace text, p_span text, p_parent text, p_name text, p_from timestamptz, p_to timestamptz, p_error boolean, p_attributes jsonb)
returns jsonb language sql stable set search_path = '' as $$
  select jsonb_build_object('trace_id', p_trace, 'span_id', p_span, 'parent_span_id', p_parent, 'name', p_name,
    'start_us', (extract(epoch from p_from) * 1000000)::bigint, 'end_us', (extract(epoch from greatest(p_to, p_from)) * 1000000)::bigint,
    'error', p_error, 'attributes', jsonb_strip_nulls(p_attributes))
$$;
comment on function public.ops_span(text, text, text, text, timestamptz, timestamptz, boolean, jsonb) is
  'One span: {trace_id, span_id, parent_span_id, name, start_us, end_us, error, attributes}; times in microseconds since 1970.';

-- Spans -----------------------------------------------------------------------------------------------------------

create or replace function public.ops_decided_spans(p_after timestamptz, p_upto timestamptz) returns setof jsonb
language sql stable set search_path = '' set enable_seqscan = off set jit = off as $$
  with event as materialized (
    -- What the loop says to itself is in the spans of missions and steps, unless it leads on.
    select e.id, e.type, e.source, e.trust, e.outcome, e.created_at, e.decided_at, e.traceparent,
      public.ops_trace_id(coalesce(e.traceparent, root.traceparent), coalesce(e.root_id, e.id)) as trace,
      case when e.root_id is null then split_part(public.ops_valid_traceparent(e.traceparent), '-', 3)
        else public.ops_span_id(coalesce(e.mission_id, case when e.type like 'proposal:%' and e.trust = 'loop' then (e.data ->> 'proposal_id')::uuid end, e.root_id)) end as parent
    from public.ops_agent_events e left join public.ops_agent_events root on root.id = e.root_id
    where e.created_at > p_after and e.created_at <= p_upto and e.processed_at is not null and (e.trust <> 'loop' or e.outcome <> 'unmatched')
  )
  select public.ops_span(e.trace, public.ops_span_id(e.id), e.parent, 'event ' || e.type, e.created_at, e.decided_at, e.outcome = 'failed',
    jsonb_build_object('ops.event.id', e.id, 'ops.event.type', e.type, 'ops.event.source', e.source, 'ops.event.outcome', e.outcome))
  from event e
  union all
  select public.ops_span(e.trace, public.ops_span_id(r.id), public.ops_span_id(e.id), 'reaction ' || r.pattern_id, r.created_at, r.updated_at, r.status = 'failed',
    jsonb_build_object('ops.reaction.id', r.id, 'ops.pattern.id', r.pattern_id, 'ops.reaction.status', r.status))
  from event e join public.ops_agent_reactions r on r.event_id = e.id
$$;
comment on function public.ops_decided_spans(timestamptz, timestamptz) is 'Spans of the events that came after p_after, until p_upto, and were decided, and of their reactions.';

create or replace function public.ops_proposal_spans(p_ids uuid[]) returns setof jsonb
language sql stable set search_path = '' set enable_seqscan = off set jit = off as $$
  select public.ops_span(public.ops_trace_id(coalesce(p.traceparent, root.traceparent), coalesce(p.root_id, p.id)), public.ops_span_id(p.id),
    coalesce(public.ops_span_id(coalesce(p.reaction_id, p.event_id)), split_part(public.ops_valid_traceparent(p.traceparent), '-', 3)),
    'proposal ' || p.source, p.created_at, coalesce(p.approved_at, p.updated_at), false,
    jsonb_build_object('ops.proposal.id', p.id, 'ops.proposal.source', p.source, 'ops.proposal.status', p.status, 'ops.proposal.risk', p.risk, 'ops.pattern.id', p.pattern_id))
  from public.ops_mission_proposals p left join public.ops_agent_events root on root.id = p.root_id
  where p.id = any (p_ids)
$$;
comment on function public.ops_proposal_spans(uuid[]) is 'Spans of proposals that have been decided.';

create or replace function public.ops_mission_spans(p_ids uuid[]) returns setof jsonb
language sql stable set search_path = '' set enable_seqscan = off set jit = off as $$
  select public.ops_span(public.ops_trace_id(coalesce(m.traceparent, root.traceparent), coalesce(m.root_id, m.id)), public.ops_span_id(m.id), public.ops_span_id(m.proposal_id),
    'mission', m.created_at, m.completed_at, m.status = 'failed',
    jsonb_build_object('ops.mission.id', m.id, 'ops.mission.status', m.status, 'ops.pattern.id', m.pattern_id))
  from public.ops_missions m left join public.ops_agent_events root on root.id = m.root_id
  where m.id = any (p_ids) and m.completed_at is not null
$$;
comment on function public.ops_mission_spans(uuid[]) is 'Spans of missions that have ended.';

create or replace function public.ops_step_spans(p_ids uuid[]) returns setof jsonb
language sql stable set search_path = '' set enable_seqscan = off set jit = off as $$
  with step as materialized (
    select s.*, public.ops_trace_id(coalesce(m.traceparent, root.traceparent), coalesce(m.root_id, s.mission_id)) as trace,
      -- What was revived ended before: its earlier attempts have been taken.
      case when s.series > 1 then (select max(e.created_at) from public.ops_agent_events e where e.mission_id = s.mission_id and e.trust = 'loop'
        and e.type = 'step:' || s.kind || ':failed' and e.data ->> 'step_id' = s.id::text and e.created_at < s.updated_at) end as ended_before
    from public.ops_mission_steps s left join public.ops_missions m on m.id = s.mission_id left join public.ops_agent_events root on root.id = m.root_id
    where s.id = any (p_ids) and s.status in ('succeeded', 'failed', 'skipped', 'cancelled')
  ), attempt as materialized (
    select r.*, s.id as of_step, s.trace from step s
    join public.ops_action_runs r on r.run_id >= s.id::text || ':' and r.run_id < s.id::text || ';'
      and r.completed_at is not null and (s.ended_before is null or r.completed_at > s.ended_before)
  )
  select public.ops_span(s.trace, public.ops_span_id(s.id), public.ops_span_id(coalesce(s.parent_id, s.mission_id)), 'step ' || s.kind,
    least(s.ready_at, s.updated_at, (select min(a.started_at) from attempt a where a.of_step = s.id)), s.updated_at, s.status = 'failed',
    jsonb_build_object('ops.step.id', s.id, 'ops.step.key', s.key, 'ops.step.kind', s.kind, 'ops.step.status', s.status, 'ops.executor', s.executor, 'ops.mission.id', s.mission_id,
      'ops.step.series', s.series, 'ops.dry_run', case when s.dry_run then true end))
  from step s
  union all
  select public.ops_span(a.trace, public.ops_attempt_span_id(a.run_id), public.ops_span_id(a.of_step), 'attempt ' || a.executor, a.started_at, a.completed_at,
    a.status not in ('succeeded', 'cancelled', 'released'),
    jsonb_build_object('ops.attempt.run_id', a.run_id, 'ops.attempt.status', a.status, 'ops.executor', a.executor, 'ops.worker', a.worker_id,
      'ops.usd', case when jsonb_typeof(a.meta -> 'usd') = 'number' then a.meta -> 'usd' end, 'ops.tokens', case when jsonb_typeof(a.meta -> 'tokens') = 'number' then a.meta -> 'tokens' end))
  from attempt a
$$;
comment on function public.ops_step_spans(uuid[]) is 'Spans of steps that have ended and of their attempts; of a step that was revived, of the attempts since.';

create or replace function public.ops_ended_spans(p_after timestamptz, p_upto timestamptz) returns setof jsonb
language plpgsql stable set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_missions uuid[];
  v_steps uuid[];
  v_proposals uuid[];
begin
  select array_agg(distinct e.mission_id) filter (where e.type like 'mission:%'),
    array_agg(distinct (e.data ->> 'step_id')::uuid) filter (where e.type like 'step:%'),
    array_agg(distinct (e.data ->> 'proposal_id')::uuid) filter (where e.type like 'proposal:%')
  into v_missions, v_steps, v_proposals
  from public.ops_agent_events e
  where e.created_at > p_after and e.created_at <= p_upto and e.trust = 'loop'
    and (e.type in ('mission:succeeded', 'mission:failed', 'mission:cancelled', 'proposal:rejected', 'proposal:expired') or e.type like 'step:%:succeeded' or e.type like 'step:%:failed');
  -- An approved proposal is a mission from that moment on.
  v_proposals := v_proposals || array(select m.proposal_id from public.ops_missions m where m.created_at > p_after and m.created_at <= p_upto);
  -- What ends without an event of its own: skipped, cancelled, and steps over a list.
  v_steps := v_steps || array(select s.id from public.ops_mission_steps s
    where s.mission_id = any (v_missions) and (s.status in ('skipped', 'cancelled') or s.for_each is not null));
  return query select * from public.ops_proposal_spans(v_proposals);
  return query select * from public.ops_mission_spans(v_missions);
  return query select * from public.ops_step_spans(v_steps);
end $$;
comment on function public.ops_ended_spans(timestamptz, timestamptz) is
  'Spans of the proposals, missions, steps and attempts that ended after p_after, until p_upto, as the loop''s own events of that time say.';

-- How far ---------------------------------------------------------------------------------------------------------

create or replace function public.ops_span_slice(p_after timestamptz, p_upto timestamptz, p_limit integer) returns timestamptz
language plpgsql stable set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_minute timestamptz := least(p_upto, p_after + interval '1 minute');
  v_moment timestamptz := least(p_upto, p_after + interval '5 seconds');
begin
  if (select count(*) from (select from public.ops_agent_events e where e.created_at > p_after and e.created_at <= v_minute limit p_limit) f) < p_limit then
    return v_minute;
  end if;
  -- Much came: five seconds at most, so that a backlog is not sorted again for each slice of it. Rows of one moment stay together.
  return (select case when count(*) < p_limit then v_moment else max(f.created_at) end
    from (select e.created_at from public.ops_agent_events e where e.created_at > p_after and e.created_at <= v_moment order by e.created_at limit p_limit) f);
end $$;
comment on function public.ops_span_slice(timestamptz, timestamptz, integer) is
  'Where a slice of about p_limit events ends that begins after p_after: at most a minute later, and not beyond p_upto.';

create or replace function public.ops_all_decided_upto(p_upto timestamptz) returns timestamptz
language sql stable set search_path = '' set enable_seqscan = off set jit = off as $$
  select least(p_upto,
    (select min(e.created_at) from public.ops_agent_events e where e.processed_at is null) - interval '1 microsecond',
    (select min(e.created_at) from (select r.event_id from public.ops_agent_reactions r where r.status = 'queued' order by r.created_at, r.id limit 1000) q
      join public.ops_agent_events e on e.id = q.event_id) - interval '1 microsecond')
$$;
comment on function public.ops_all_decided_upto(timestamptz) is 'Until when no event is open and no reaction queued: the spans of both can be told.';

create or replace function public.ops_move_span_mark(p_now timestamptz) returns public.ops_span_cursor
language plpgsql set search_path = '' as $$
declare
  v_snapshot pg_snapshot := pg_current_snapshot();
  v_cursor public.ops_span_cursor;
begin
  insert into public.ops_span_cursor (decided_upto, ended_upto, safe_upto, mark_at, mark_xid)
  values (p_now, p_now, p_now, p_now, pg_snapshot_xmax(v_snapshot)) on conflict do nothing;
  -- Two seconds between reading the clock and the first write is more than any function of ours takes; a transaction
  -- that stays open is waited for five minutes.
  update public.ops_span_cursor c
  set safe_upto = greatest(c.safe_upto, c.mark_at - interval '2 seconds'), mark_at = p_now, mark_xid = pg_snapshot_xmax(v_snapshot)
  where pg_snapshot_xmin(v_snapshot) >= c.mark_xid or c.mark_at < p_now - interval '5 minutes';
  -- An exporter that comes back after long does not send yesterday.
  update public.ops_span_cursor c
  set decided_upto = greatest(c.decided_upto, p_now - interval '1 hour'), ended_upto = greatest(c.ended_upto, p_now - interval '1 hour')
  where least(c.decided_upto, c.ended_upto) < p_now - interval '1 hour';
  select * into v_cursor from public.ops_span_cursor;
  return v_cursor;
end $$;
comment on function public.ops_move_span_mark(timestamptz) is
  'The cursor, with safe_upto moved to the last mark once every transaction that was under way then has ended. At the first call the cursor begins now.';

create or replace function public.ops_take_spans(p_limit integer default 1000) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_limit integer := least(greatest(coalesce(p_limit, 1000), 1), 10000);
  v_cursor public.ops_span_cursor;
  v_decidable timestamptz;
  v_decided timestamptz;
  v_ended timestamptz;
  v_spans jsonb;
begin
  if not pg_try_advisory_xact_lock(hashtext('public.ops_take_spans')) then
    return jsonb_build_object('spans', '[]'::jsonb, 'more', false);
  end if;
  v_cursor := public.ops_move_span_mark(public.ops_clock());
  v_decidable := public.ops_all_decided_upto(v_cursor.safe_upto);
  v_decided := greatest(v_cursor.decided_upto, public.ops_span_slice(v_cursor.decided_upto, v_decidable, v_limit));
  v_ended := greatest(v_cursor.ended_upto, public.ops_span_slice(v_cursor.ended_upto, v_cursor.safe_upto, v_limit));
  select jsonb_agg(s.span) into v_spans from (
    select d.span from public.ops_decided_spans(v_cursor.decided_upto, v_decided) d(span)
    union all
    select e.span from public.ops_ended_spans(v_cursor.ended_upto, v_ended) e(span)) s;
  update public.ops_span_cursor c set decided_upto = v_decided, ended_upto = v_ended
  where (c.decided_upto, c.ended_upto) is distinct from (v_decided, v_ended);
  return jsonb_build_object('spans', coalesce(v_spans, '[]'), 'more', v_decided < v_decidable or v_ended < v_cursor.safe_upto);
end $$;
comment on function public.ops_take_spans(integer) is
  'Takes the spans of what has ended since the last call, of about p_limit events: {spans, more}. Each is handed out once; a step or mission that ends again after a retry comes again under its id. While another call takes, this one answers none. Any number at once.';

create or replace function public.ops_trace_contexts(p_missions uuid[]) returns table (mission_id uuid, traceparent text)
language sql stable set search_path = '' as $$
  select m.id, '00-' || public.ops_trace_id(coalesce(m.traceparent, root.traceparent), coalesce(m.root_id, m.id)) || '-' || public.ops_span_id(m.id) || '-01'
  from public.ops_missions m left join public.ops_agent_events root on root.id = m.root_id
  where m.id = any (p_missions)
$$;
comment on function public.ops_trace_contexts(uuid[]) is 'The W3C trace context of each of these missions, also where no sender gave one.';

insert into public.ops_migrations (version, name) values ('0020', 'ops_spans') on conflict do nothing;
