-- 0008 The heartbeat: one round in one transaction, each phase in its own subtransaction.
--
-- Why so: whoever calls it, and however many at once, the result is the same: every phase takes only rows that
-- nobody else holds and rechecks their state in the write. No model is ever called here. Locks: what the phases
-- lock, in their order. Undo: rollbacks/0008_ops_heartbeat.sql.

create or replace function public.ops_run_phase(p_phase text, p_event_batch integer, p_reaction_batch integer, p_stale_minutes numeric)
returns jsonb language plpgsql set search_path = '' set lock_timeout = '3s' as $$
begin
  -- Statement by statement, so that a function that is missing fails its own phase only.
  case p_phase
    when 'events' then return public.ops_decide_events(p_event_batch);
    when 'reactions' then return public.ops_process_reactions(p_reaction_batch);
    when 'gates' then return public.ops_regate_proposals(p_reaction_batch);
    when 'approvals' then return public.ops_expire_proposals();
    when 'schedules' then return public.ops_fire_schedules();
    when 'leases' then return public.ops_recover_expired_leases();
    when 'stale' then return public.ops_recover_stale_steps(p_stale_minutes);
    when 'lists' then return public.ops_spread_some();
    when 'breakers' then return public.ops_check_breakers();
    when 'sweep' then return public.ops_sweep();
    when 'archive' then return public.ops_archive_some();
    when 'alerts' then return public.ops_raise_alerts();
  end case;
exception when others then
  return jsonb_build_object('failure', jsonb_build_object('phase', p_phase,
    'code', case when sqlstate like 'OP%' then 'OPS_' || right(sqlstate, 3) else sqlstate end, 'message', left(sqlerrm, 1000)));
end $$;
comment on function public.ops_run_phase(text, integer, integer, numeric) is
  'Runs one phase in a subtransaction: its counts, or {failure: {phase, code, message}} with nothing of it done. It waits 3 s for a lock: a statement that somebody left open stops no phase but its own.';

create or replace function public.ops_sweep() returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock(); -- asked once: there may be a row for every root event
  v_count integer;
begin
  delete from public.ops_limits l where l.key in (
    select o.key from public.ops_limits o where o.updated_at < v_now - interval '40 days' and o.key ~ '^(cooldown|limit|fanout|radar):'
    order by o.key limit 500 for update skip locked);
  get diagnostics v_count = row_count;
  perform public.ops_tell_refusals();
  if public.ops_has_budgets(public.ops_policy_value('budgets')) or exists (select from public.ops_budget_settlements s) then
    perform public.ops_open_budgets(public.ops_policy_value('budgets'), public.ops_clock());
  end if;
  return jsonb_build_object('swept', v_count, 'freed', public.ops_review_holds() + public.ops_free_key_holds(public.ops_policy_value('worker_policy'), public.ops_clock()));
end $$;
comment on function public.ops_sweep() is 'Phase: forgets counters nobody has touched for 40 days (the longest window is a month), tells refused policies, books what ended attempts cost, and queues steps whose hold no longer stands: {swept, freed}.';

-- Breakers: what keeps failing is paused by the loop itself ------------------------------------------------------

create or replace function public.ops_failing(p_consecutive integer, p_since timestamptz)
returns table (scope text, since timestamptz, last_error text)
language plpgsql stable set search_path = '' as $$
begin
  return query
  select n.scope, n.created_at, n.last_error
  from (
    select l.scope, l.created_at, first_value(l.last_error) over w as last_error, row_number() over w as place
    from (
      select 'executor:' || d.executor as scope, d.created_at, d.last_error from public.ops_step_dead_letters d
      where d.created_at > p_since and d.error_class is distinct from 'OPS_004' -- never ran: not the executor's fault
      union all
      select 'pattern:' || m.pattern_id, d.created_at, d.last_error from public.ops_step_dead_letters d join public.ops_missions m on m.id = d.mission_id
      where d.created_at > p_since and m.pattern_id is not null) l
    where l.created_at > coalesce((select b.window_start from public.ops_limits b where b.key = 'breaker:' || l.scope), '-infinity')
    window w as (partition by l.scope order by l.created_at desc)) n
  where n.place = p_consecutive and not exists (
    -- A success since then breaks the row. Its event tells: they are found by time.
    select from public.ops_agent_events e left join public.ops_missions m on m.id = e.mission_id
    where e.created_at > n.created_at and e.type like 'step:%:succeeded'
      and n.scope in ('executor:' || (e.data ->> 'executor'), 'pattern:' || m.pattern_id));
end $$;
comment on function public.ops_failing(integer, timestamptz) is
  'Executors and patterns with so many dead letters in a row since a time (and since their breaker last opened), with no success among them; since is when the row began.';

create or replace function public.ops_check_breakers() returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_policy jsonb := coalesce(public.ops_policy_value('worker_policy') -> 'breaker', '{}');
  v_consecutive integer := coalesce(public.ops_integer(v_policy -> 'consecutive'), 10);
  v_minutes numeric := coalesce((v_policy ->> 'window_minutes')::numeric, 60);
  v_opened integer := 0;
  v_row record;
begin
  for v_row in select f.* from public.ops_failing(v_consecutive, v_now - v_minutes * interval '1 minute') f order by f.scope loop
    insert into public.ops_limits as l (key, window_start, updated_at) values ('breaker:' || v_row.scope, v_now, v_now)
    on conflict (key) do update set window_start = v_now, updated_at = v_now where l.window_start < v_row.since;
    continue when not found;
    perform public.ops_pause(v_row.scope, 'drain', format('breaker: %s dead letters in a row, the last: %s', v_consecutive, left(v_row.last_error, 300)));
    perform public.ops_raise_event('switch:breaker_opened', jsonb_build_object('scope', v_row.scope, 'consecutive', v_consecutive,
      'since', v_row.since, 'error', left(v_row.last_error, 2000), 'resume', format('ops-loop resume %s', v_row.scope)));
    v_opened := v_opened + 1;
  end loop;
  return jsonb_build_object('opened', v_opened);
end $$;
comment on function public.ops_check_breakers() is
  'Phase: pauses what keeps failing (worker_policy.breaker: 10 dead letters in a row within 60 minutes unless told), with the cause and an event: {opened}. `ops-loop resume <scope>` or ops_resume lets it run again and starts the count anew.';

create or replace function public.ops_phases(p_switches jsonb) returns text[]
language sql stable set search_path = '' as $$
  select array(select p.phase from unnest(array['events', 'reactions', 'gates', 'approvals', 'schedules', 'leases', 'stale', 'lists', 'breakers', 'sweep', 'archive', 'alerts']) with ordinality p(phase, n)
    where not (coalesce(public.ops_switch_mode(p_switches, 'all'), public.ops_switch_mode(p_switches, 'heartbeat'), 'run') in ('drain', 'halt')
        and p.phase in ('events', 'reactions', 'gates', 'approvals', 'schedules', 'archive'))
      and not (coalesce(public.ops_switch_mode(p_switches, 'reactions'), 'run') in ('drain', 'halt') and p.phase = 'reactions')
    order by p.n)
$$;
comment on function public.ops_phases(jsonb) is 'The phases of a round that no switch has paused, in order. Recovery is never paused; nothing is deleted while somebody looks for what went wrong.';

create or replace function public.ops_heartbeat(p_event_batch integer default 500, p_reaction_batch integer default 50, p_stale_minutes numeric default null,
  p_source text default 'sql', p_beat_id uuid default null)
returns jsonb language plpgsql set search_path = '' as $$
declare
  v_started timestamptz := public.ops_clock();
  v_beat uuid := case when p_source <> 'reactive' then coalesce(p_beat_id, gen_random_uuid()) end;
  v_phases text[] := public.ops_phases(public.ops_policy_value('switches'));
  v_phase text;
  v_said jsonb;
  v_all jsonb := '{}';
  v_failures jsonb := '[]';
  v_more boolean := false;
  v_answer jsonb;
begin
  foreach v_phase in array v_phases loop
    v_said := public.ops_run_phase(v_phase, p_event_batch, p_reaction_batch, p_stale_minutes);
    if v_said ? 'failure' then
      v_failures := v_failures || (v_said -> 'failure');
    else
      v_all := v_all || jsonb_build_object(v_phase, v_said);
      v_more := v_more or coalesce((v_said ->> 'more')::boolean, false);
    end if;
  end loop;
  v_answer := jsonb_build_object('ok', v_failures = '[]', 'more', v_more, 'beat_id', v_beat) || public.ops_beat_counts(v_all)
    || jsonb_build_object('failures', v_failures, 'phases', cardinality(v_phases));
  if v_beat is not null then
    perform public.ops_record_beat(v_beat, p_source, v_answer, v_started);
  elsif not v_more then
    perform public.ops_raise_flag('ops_events');
  end if;
  return v_answer;
end $$;
comment on function public.ops_heartbeat(integer, integer, numeric, text, uuid) is
  'One round: decide events, process reactions, gate again, expire approvals, fire schedules, recover expired leases and stale steps, go on with long lists, open breakers, sweep, archive, raise alerts. Answers the counts, failures, and more: call again until it is false, passing beat_id on. Source reactive leaves no row, and raises the wake-up flag for events when nothing is left. Any number at once equal one.';

create or replace function public.ops_beat_counts(p_phases jsonb) returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_build_object(
    'triggerResult', jsonb_build_object('events', coalesce(p_phases #> '{events,events}', '0'), 'queued', coalesce(p_phases #> '{events,queued}', '0')),
    'reactionResult', jsonb_build_object('processed', coalesce(p_phases #> '{reactions,processed}', '0'), 'created', coalesce(p_phases #> '{reactions,created}', '0')),
    'leaseResult', jsonb_build_object('requeued_steps', coalesce(p_phases #> '{leases,requeued_steps}', '0'), 'failed_steps', coalesce(p_phases #> '{leases,failed_steps}', '0')),
    'staleResult', jsonb_build_object('recovered', coalesce(p_phases #> '{stale,recovered}', '0')),
    'gateResult', jsonb_build_object('gated', coalesce(p_phases #> '{gates,gated}', '0'), 'approved', coalesce(p_phases #> '{gates,approved}', '0'),
      'rejected', coalesce(p_phases #> '{gates,rejected}', '0'), 'expired', coalesce(p_phases #> '{approvals,expired}', '0')),
    'scheduleResult', jsonb_build_object('fired', coalesce(p_phases #> '{schedules,fired}', '0'), 'missed', coalesce(p_phases #> '{schedules,missed}', '0'), 'unplanned', coalesce(p_phases #> '{schedules,unplanned}', '0')))
$$;
comment on function public.ops_beat_counts(jsonb) is 'What the phases answered, in the shape that the endpoint promises.';

create or replace function public.ops_record_beat(p_id uuid, p_source text, p_answer jsonb, p_started timestamptz) returns void
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_ok boolean := (p_answer ->> 'ok')::boolean;
begin
  insert into public.ops_heartbeats as h (id, source, ok, counts, failures, started_at, completed_at)
  values (p_id, p_source, v_ok, p_answer - array['ok', 'more', 'beat_id', 'failures', 'phases'], p_answer -> 'failures', p_started, v_now)
  on conflict (id) do update set ok = h.ok and excluded.ok, rounds = h.rounds + 1, failures = h.failures || excluded.failures, completed_at = v_now,
    counts = (select jsonb_object_agg(g.key, (
        select jsonb_object_agg(c.key, c.value::numeric + coalesce((h.counts #>> array[g.key, c.key])::numeric, 0)) from jsonb_each_text(g.value) c))
      from jsonb_each(excluded.counts) g);
  insert into public.ops_agent_events as e (type, source, trust, data, dedupe_key, outcome, decided_at, processed_at, created_at)
  select x.type, 'ops-loop', 'loop', jsonb_build_object('beat_id', p_id, 'source', p_source, 'failures', p_answer -> 'failures'), x.type || ':' || p_id, 'unmatched', v_now, v_now, v_now
  from (select case when v_ok then 'heartbeat:success' else 'heartbeat:failure' end as type) x
  on conflict do nothing;
end $$;
comment on function public.ops_record_beat(uuid, text, jsonb, timestamptz) is 'Writes or adds to the row of a beat, and its closed event heartbeat:success or heartbeat:failure.';

create or replace function public.ops_record_beat_failure(p_beat_id uuid default null, p_source text default 'sql', p_error text default '') returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_beat uuid := coalesce(p_beat_id, gen_random_uuid());
begin
  perform public.ops_record_beat(v_beat, p_source, jsonb_build_object('ok', false, 'failures',
    jsonb_build_array(jsonb_build_object('phase', 'round', 'code', 'OPS_018', 'message', left(p_error, 1000)))) || public.ops_beat_counts('{}'), public.ops_clock());
  return jsonb_build_object('beat_id', v_beat);
end $$;
comment on function public.ops_record_beat_failure(uuid, text, text) is 'Records, in a transaction of its own, that a round was rolled back as a whole: {beat_id}.';

insert into public.ops_migrations (version, name) values ('0008', 'ops_heartbeat') on conflict do nothing;
