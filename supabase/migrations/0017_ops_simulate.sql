-- 0017 Simulation: what a draft policy would have done with events that have happened, beside what the live one does.
--
-- Why so: decisions come from the heartbeat's own functions (ops_evaluate, ops_weigh_bounds, ops_render_reaction,
-- ops_assess_templates, ops_approval_verdict), by the clock of then; only the counters are the simulation's own, carried
-- from page to page in a cursor. Nothing is written: it runs in a read-only transaction.
-- Locks: none. Undo: rollbacks/0017_ops_simulate.sql.

create or replace function public.ops_draft_value(p_drafts jsonb, p_key text) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return coalesce(p_drafts -> p_key, public.ops_policy_value(p_key));
end $$;
comment on function public.ops_draft_value(jsonb, text) is 'A policy as the drafts have it, else the live one.';

create or replace function public.ops_check_drafts(p_drafts jsonb) returns void
language plpgsql stable set search_path = '' as $$
declare
  v_bad record;
begin
  select d.key, v.path, v.message, v.fix into v_bad from jsonb_each(p_drafts) d
  cross join lateral public.ops_validate_policy(d.key, d.value) v where v.severity = 'error' limit 1;
  if found then
    perform public.ops_raise('OPS_008', format('the draft of %s: %s %s', v_bad.key, v_bad.path, v_bad.message), jsonb_build_object('key', v_bad.key, 'path', v_bad.path), v_bad.fix);
  end if;
end $$;
comment on function public.ops_check_drafts(jsonb) is 'Raises OPS_008 with the JSON path for the first draft that could not become active.';

-- Counters: {key: {start, used}}, as ops_limits would hold them ---------------------------------------------------

create or replace function public.ops_simulated_bounds(p_pattern public.ops_policy_patterns, p_event public.ops_agent_events, p_limits jsonb, p_now timestamptz, p_counters jsonb,
  out clause text, out detail jsonb, out counters jsonb)
language plpgsql stable set search_path = '' as $$
declare
  v_keys record := public.ops_bound_keys(p_pattern, p_event);
  v_fan bigint := case when v_keys.fanout_key is not null then coalesce((p_counters #>> array[v_keys.fanout_key, 'used'])::bigint,
    (select count(*) from public.ops_agent_reactions r where r.root_id = p_event.root_id and r.created_at < p_now)) end;
  v_start timestamptz := p_counters #>> array[v_keys.limit_key, 'start'];
  v_asked record;
begin
  v_asked := public.ops_weigh_bounds(p_pattern, p_event, p_limits, p_now, v_fan, v_start, (p_counters #>> array[v_keys.limit_key, 'used'])::numeric,
    (p_counters #>> array[v_keys.cooldown_key, 'start'])::timestamptz);
  clause := v_asked.clause;
  detail := v_asked.detail;
  counters := p_counters;
  if clause is null then
    if v_keys.fanout_key is not null then
      counters := counters || jsonb_build_object(v_keys.fanout_key, jsonb_build_object('used', v_fan + 1));
    end if;
    if v_keys.limit_key is not null then
      counters := counters || jsonb_build_object(v_keys.limit_key, jsonb_build_object('used', v_asked.used + 1, 'start', case when v_asked.used > 0 then v_start else p_now end));
    end if;
    if v_keys.cooldown_key is not null then
      counters := counters || jsonb_build_object(v_keys.cooldown_key, jsonb_build_object('start', p_now));
    end if;
  end if;
end $$;
comment on function public.ops_simulated_bounds(public.ops_policy_patterns, public.ops_agent_events, jsonb, timestamptz, jsonb) is
  'ops_take_bounds on counters that are a document: the clause that says no, and the counters after it.';

create or replace function public.ops_counters_before(p_patterns public.ops_policy_patterns[], p_since timestamptz) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_row record;
  v_counters jsonb := '{}';
  v_longest numeric := (select max(greatest(p.cooldown_minutes, p.limit_minutes)) from unnest(p_patterns) p);
begin
  for v_row in
    select p, e, coalesce(e.decided_at, r.created_at) as at from public.ops_agent_events e join public.ops_agent_reactions r on r.event_id = e.id
    join unnest(p_patterns) p on p.pattern_id = r.pattern_id and (p.cooldown_minutes is not null or p.limit_count is not null)
    where e.created_at >= p_since - least(v_longest, 44640) * interval '1 minute' and e.created_at < p_since order by at, e.created_at, e.id, p.position limit 20000
  loop
    v_counters := (public.ops_simulated_bounds(v_row.p, v_row.e, '{}', v_row.at, v_counters)).counters;
  end loop;
  return v_counters;
end $$;
comment on function public.ops_counters_before(public.ops_policy_patterns[], timestamptz) is
  'The counters that what fired within one window before a time (31 days at most) has left: where a simulation begins.';

-- One side -------------------------------------------------------------------------------------------------------

create or replace function public.ops_simulated_decisions(p_events public.ops_agent_events[], p_patterns public.ops_policy_patterns[], p_drafts jsonb, p_counters jsonb,
  out decisions public.ops_event_decisions[], out counters jsonb)
language plpgsql stable set search_path = '' as $$
declare
  v_limits jsonb := public.ops_draft_value(p_drafts, 'loop_limits');
  v_row record;
  v_bound record;
begin
  counters := p_counters;
  decisions := array(select d from public.ops_evaluate(p_events, p_patterns, public.ops_draft_value(p_drafts, 'switches')) d);
  for v_row in
    select d.ordinality as place, e, p from unnest(decisions) with ordinality d
    join unnest(p_events) e on e.id = d.event_id join unnest(p_patterns) p on p.pattern_id = d.pattern_id
    where d.outcome = 'fired' and (p.cooldown_minutes is not null or p.limit_count is not null or e.depth > 0)
    order by e.created_at, e.id, p.position
  loop
    v_bound := public.ops_simulated_bounds(v_row.p, v_row.e, v_limits, coalesce((v_row.e).decided_at, (v_row.e).created_at), counters);
    counters := v_bound.counters;
    if v_bound.clause is not null then
      decisions[v_row.place].outcome := case v_bound.clause when 'render' then 'failed' else 'suppressed' end;
      decisions[v_row.place].clause := v_bound.clause;
      decisions[v_row.place].detail := v_bound.detail;
    end if;
  end loop;
end $$;
comment on function public.ops_simulated_decisions(public.ops_agent_events[], public.ops_policy_patterns[], jsonb, jsonb) is
  'What these patterns say about these events, each by the time it was decided at, and the counters afterwards. Reactions are not rendered yet.';

create or replace function public.ops_simulated_runs(p_template jsonb, p_step jsonb) returns integer
language plpgsql immutable set search_path = '' as $$
declare
  v_items jsonb := p_step #> '{for_each,items}';
begin
  return case
    when p_template -> 'dry_run' = 'true' then 0
    when jsonb_typeof(v_items) is distinct from 'array' then 1
    when jsonb_array_length(v_items) > coalesce(public.ops_integer(p_step #> '{for_each,max}'), 100) then 0
    else jsonb_array_length(v_items) end;
end $$;
comment on function public.ops_simulated_runs(jsonb, jsonb) is
  'How often a step of a rendered template calls its executor when all goes well: once, once per item of its list (never when it is over its max, which fails), never in a dry run.';

create or replace function public.ops_simulated_proposals(p_templates jsonb[], p_trusts boolean[], p_drafts jsonb, p_now timestamptz) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_auto jsonb := public.ops_draft_value(p_drafts, 'auto_approve');
  v_budgets jsonb := public.ops_draft_value(p_drafts, 'budgets');
begin
  return (
    with judged as (
      select t.template, public.ops_approval_verdict(v_auto - 'daily_limit', 'reaction', a.risk, a.kinds, a.unknown, a.joins_all and not t.trusted, p_now) as reason
      from unnest(p_templates, p_trusts) with ordinality t(template, trusted, place)
      join public.ops_assess_templates(p_templates, coalesce(v_auto -> 'kind_risk', '{}')) a on a.place = t.place
    ), priced as (
      select j.reason, sum(r.runs * coalesce(public.ops_budget_reserve(v_budgets, coalesce(s.step ->> 'executor', s.step ->> 'kind'), s.step #>> '{params,role}', 'usd'), 0)) as usd,
        sum(r.runs * coalesce(public.ops_budget_reserve(v_budgets, coalesce(s.step ->> 'executor', s.step ->> 'kind'), s.step #>> '{params,role}', 'tokens'), 0)) as tokens,
        sum((r.runs > 0 and jsonb_typeof(s.step #> '{for_each,items}') = 'string')::integer) as open_lists
      from (select row_number() over () as n, j.* from judged j) j cross join lateral jsonb_array_elements(j.template -> 'steps') s(step)
      cross join lateral (select public.ops_simulated_runs(j.template, s.step) as runs offset 0) r
      group by j.n, j.reason
    )
    select jsonb_build_object('proposals', count(*), 'auto_approved', count(*) filter (where p.reason is null), 'waiting', count(*) filter (where p.reason is not null),
      'usd', coalesce(sum(p.usd), 0), 'tokens', coalesce(sum(p.tokens), 0), 'open_lists', coalesce(sum(p.open_lists), 0)) from priced p);
end $$;
comment on function public.ops_simulated_proposals(jsonb[], boolean[], jsonb, timestamptz) is
  'What would become of proposals of these templates, daily limits and caps left aside: {proposals, auto_approved, waiting, usd, tokens, open_lists}; cost at the reserves of budgets with every step run once and every item of its list once, nothing for what has no reserve and for dry runs. open_lists are for_each steps whose list only a result will tell: they are counted as one item each.';

create or replace function public.ops_simulated_side(p_events public.ops_agent_events[], p_patterns public.ops_policy_patterns[], p_drafts jsonb, p_counters jsonb,
  out decisions jsonb, out counters jsonb, out proposals jsonb)
language plpgsql stable set search_path = '' as $$
declare
  v_sim record := public.ops_simulated_decisions(p_events, p_patterns, p_drafts, p_counters);
  v_templates jsonb[];
  v_trusts boolean[];
begin
  counters := v_sim.counters;
  with fired as (
    select d.event_id, d.pattern_id, r.payload, r.error, e.trust = 'loop' as trusted from unnest(v_sim.decisions) d
    join unnest(p_events) e on e.id = d.event_id join unnest(p_patterns) p on p.pattern_id = d.pattern_id
    cross join lateral public.ops_render_reaction(p, e) r where d.outcome = 'fired'
  )
  select (select jsonb_object_agg(d.event_id || ' ' || d.pattern_id, case when f.error is null then jsonb_build_object('outcome', d.outcome, 'clause', d.clause, 'detail', d.detail)
      else jsonb_build_object('outcome', 'failed', 'clause', 'render', 'detail', jsonb_build_object('error', f.error)) end)
    from unnest(v_sim.decisions) d left join fired f using (event_id, pattern_id)),
    array(select f.payload -> 'template' from fired f where f.error is null order by f.event_id, f.pattern_id),
    array(select f.trusted from fired f where f.error is null order by f.event_id, f.pattern_id)
  into decisions, v_templates, v_trusts;
  decisions := coalesce(decisions, '{}');
  proposals := public.ops_simulated_proposals(v_templates, v_trusts, p_drafts, public.ops_clock());
end $$;
comment on function public.ops_simulated_side(public.ops_agent_events[], public.ops_policy_patterns[], jsonb, jsonb) is
  'One side of a simulation over a page of events: decisions by "<event> <pattern>", counters, and what would become of the proposals.';

-- Both sides, beside what was recorded ----------------------------------------------------------------------------

create or replace function public.ops_simulated_events(p_events jsonb, p_since timestamptz, p_until timestamptz, p_limit integer, p_cursor jsonb) returns public.ops_agent_events[]
language plpgsql stable set search_path = '' as $$
begin
  if p_events is not null then
    return array(
      select row(e.id, null, null, x.event ->> 'type', coalesce(x.event ->> 'source', 'manual'), coalesce(x.event ->> 'trust', 'verified'), coalesce(x.event -> 'data', '{}'),
        null, e.id, 0, '{}', null, null, 0, null, null, null, null, coalesce((x.event ->> 'created_at')::timestamptz, public.ops_clock()) + x.n * interval '1 microsecond')::public.ops_agent_events
      from jsonb_array_elements(p_events) with ordinality x(event, n) cross join lateral (select coalesce((x.event ->> 'id')::uuid, ('00000000-0000-4000-8000-' || lpad(to_hex(x.n), 12, '0'))::uuid) as id) e);
  end if;
  return array(
    select e from public.ops_agent_events e
    where e.created_at >= coalesce((p_cursor ->> 'at')::timestamptz, p_since) and e.created_at <= p_until
      and (p_cursor is null or (e.created_at, e.id) > ((p_cursor ->> 'at')::timestamptz, (p_cursor ->> 'id')::uuid))
    order by e.created_at, e.id limit p_limit);
end $$;
comment on function public.ops_simulated_events(jsonb, timestamptz, timestamptz, integer, jsonb) is
  'The next page of events: the given ones [{type, source?, data?, trust?, id?, created_at?}], or stored ones in the order that they came.';

create or replace function public.ops_simulated_differences(p_events public.ops_agent_events[], p_before jsonb, p_after jsonb, p_names text[], p_limit integer) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return (
    with pair as (
      select coalesce(b.key, a.key) as key, b.value as before, a.value as after
      from jsonb_each(p_before) b full join jsonb_each(p_after) a on a.key = b.key where b.value is distinct from a.value
    ), named as (
      select e.id, e.type, e.created_at, substr(p.key, 38) as pattern_id, p.before, p.after from pair p join unnest(p_events) e on e.id = left(p.key, 36)::uuid
    )
    select jsonb_build_object('count', count(*),
      'starts', count(*) filter (where n.after ->> 'outcome' = 'fired' and n.before ->> 'outcome' is distinct from 'fired'),
      'stops', count(*) filter (where n.before ->> 'outcome' = 'fired' and n.after ->> 'outcome' is distinct from 'fired'),
      'first', coalesce((select jsonb_agg(jsonb_build_object('event_id', f.id, 'type', f.type, 'created_at', f.created_at, 'pattern_id', f.pattern_id, p_names[1], f.before, p_names[2], f.after) order by f.created_at, f.id, f.pattern_id)
        from (select * from named n order by n.created_at, n.id, n.pattern_id limit p_limit) f), '[]'))
    from named n);
end $$;
comment on function public.ops_simulated_differences(public.ops_agent_events[], jsonb, jsonb, text[], integer) is
  'Where two sets of decisions differ: {count, starts, stops, first: [{event_id, type, created_at, pattern_id, <one side>, <the other>}]}.';

create or replace function public.ops_tally(p_decisions jsonb) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce((select jsonb_object_agg(t.pattern_id, t.counts) from (
    select c.pattern_id, jsonb_object_agg(c.outcome, c.n) as counts from (
      select substr(d.key, 38) as pattern_id, d.value ->> 'outcome' as outcome, count(*) as n from jsonb_each(p_decisions) d group by 1, 2) c group by c.pattern_id) t), '{}');
end $$;
comment on function public.ops_tally(jsonb) is 'How often each pattern came to each outcome: {pattern: {outcome: count}}.';

create or replace function public.ops_simulate(p_drafts jsonb default '{}', p_since timestamptz default null, p_until timestamptz default null, p_events jsonb default null,
  p_limit integer default 2000, p_cursor jsonb default null)
returns jsonb language plpgsql stable set search_path = '' set jit = off as $$
declare
  v_until timestamptz := coalesce((p_cursor ->> 'until')::timestamptz, p_until, public.ops_clock());
  v_since timestamptz := coalesce(p_since, v_until - interval '1 day');
  v_live public.ops_policy_patterns[] := array(select p from public.ops_policy_patterns p);
  v_draft public.ops_policy_patterns[] := v_live;
  v_events public.ops_agent_events[];
  v_last public.ops_agent_events;
  v_ours record;
  v_theirs record;
  v_recorded jsonb;
begin
  if p_cursor is null then
    perform public.ops_check_drafts(p_drafts);
  end if;
  if p_drafts ? 'reaction_matrix' then
    v_draft := array(select p from public.ops_compile_matrix(p_drafts -> 'reaction_matrix', 0) p);
  end if;
  if p_limit not between 1 and 20000 then
    perform public.ops_raise('OPS_011', format('p_limit is %s, not 1 to 20000', p_limit), null, 'Take 2000, and go on with the cursor.');
  end if;
  v_events := public.ops_simulated_events(p_events, v_since, v_until, p_limit, p_cursor);
  v_ours := public.ops_simulated_side(v_events, v_live, '{}', coalesce(p_cursor -> 'live', public.ops_counters_before(v_live, v_since)));
  v_theirs := case when p_drafts = '{}' then v_ours
    else public.ops_simulated_side(v_events, v_draft, p_drafts, coalesce(p_cursor -> 'draft', public.ops_counters_before(v_draft, v_since))) end;
  v_recorded := coalesce((select jsonb_object_agg(d.event_id || ' ' || d.pattern_id, jsonb_build_object('outcome', d.outcome, 'clause', d.clause, 'detail', d.detail))
    from public.ops_event_decisions d where d.event_id = any (array(select e.id from unnest(v_events) e where e.processed_at is not null))), '{}');
  v_last := v_events[cardinality(v_events)];
  return jsonb_build_object('events', cardinality(v_events), 'since', v_since, 'until', v_until,
    'live', jsonb_build_object('patterns', public.ops_tally(v_ours.decisions)) || v_ours.proposals,
    'draft', jsonb_build_object('patterns', public.ops_tally(v_theirs.decisions)) || v_theirs.proposals,
    'differences', public.ops_simulated_differences(v_events, v_ours.decisions, v_theirs.decisions, array['live', 'draft'], 100),
    'recorded', case when p_events is null then public.ops_simulated_differences(v_events, v_recorded,
      (select coalesce(jsonb_object_agg(o.key, o.value), '{}') from jsonb_each(v_ours.decisions) o where left(o.key, 36)::uuid in (select e.id from unnest(v_events) e where e.processed_at is not null)),
      array['recorded', 'live'], 20) end,
    'decisions', case when p_events is not null then coalesce((
      select jsonb_agg(jsonb_build_object('event_id', left(d.key, 36), 'pattern_id', substr(d.key, 38)) || d.value order by d.key) from jsonb_each(v_theirs.decisions) d), '[]') end,
    'more', p_events is null and cardinality(v_events) = p_limit,
    'cursor', case when p_events is null and cardinality(v_events) = p_limit then jsonb_build_object('at', v_last.created_at, 'id', v_last.id, 'until', v_until, 'live', v_ours.counters, 'draft', v_theirs.counters) end);
end $$;
comment on function public.ops_simulate(jsonb, timestamptz, timestamptz, jsonb, integer, jsonb) is
  'What drafts {policy key: value} would do with stored events from p_since (a day ago) to p_until (now), or with the given ones, beside the live policy: a page of {events, live, draft, differences, recorded, more, cursor}; pass the cursor for the next. decisions lists the draft''s own for given events; recorded says where today''s live policy differs from what was decided then. Writes nothing. Raises OPS_008 for a draft that could not become active, OPS_011.';

-- Several policies at once ---------------------------------------------------------------------------------------

create or replace function public.ops_apply_policies(p_values jsonb, p_versions jsonb default '{}', p_reason text default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_row record;
  v_changed jsonb := '[]';
begin
  -- Held from before the versions are read: nobody changes one between that and the write.
  perform pg_advisory_xact_lock(hashtext('public.ops_policy'));
  select v.key, p.version as is, (v.value #>> '{}')::bigint as expected into v_row
  from jsonb_each(p_versions) v left join public.ops_policy p on p.key = v.key where coalesce(p.version, 0) <> (v.value #>> '{}')::bigint limit 1;
  if found then
    perform public.ops_raise('OPS_015', format('%s is at version %s, not %s: somebody changed it meanwhile', v_row.key, coalesce(v_row.is, 0), v_row.expected), null, 'Look at the difference again, then apply once more.');
  end if;
  -- The matrix last: its templates are checked against what the others allow.
  for v_row in select e.key, e.value from jsonb_each(p_values) e order by e.key = 'reaction_matrix', e.key loop
    if v_row.value is distinct from (select p.value from public.ops_policy p where p.key = v_row.key) then
      v_changed := v_changed || public.ops_set_policy(v_row.key, v_row.value, p_reason);
    end if;
  end loop;
  return jsonb_build_object('changed', v_changed);
end $$;
comment on function public.ops_apply_policies(jsonb, jsonb, text) is
  'Sets several policies {key: value} in one transaction, those that differ only: {changed: [{key, version}]}. p_versions {key: version} are what the caller has seen. Raises OPS_008 for one that is not valid, OPS_015 when one was changed meanwhile; then none is set.';

insert into public.ops_migrations (version, name) values ('0017', 'ops_simulate') on conflict do nothing;
