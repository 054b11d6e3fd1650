-- 0019 Alerts and metrics: what an operator is told, and what a Prometheus server reads.
--
-- Why so: one table, ops_alert_rules, names every alert with its thresholds; heartbeat, command line, HTTP, metrics, and
-- the generated rules of Prometheus all go by it. Everything is measured when somebody asks, from partial indexes and
-- from the newest rows, so that nothing is counted on the hot path. Counters are PostgreSQL's own statistics of inserted rows.
-- Only the heartbeat raises events, so it cannot tell of its own silence: for that alert ask ops_alerts() from outside
-- (Prometheus, `ops-loop alerts`) or readiness.
-- Locks: the phase takes an advisory lock that it never waits for, and writes rows of its own table only. The new index
-- on dead letters blocks their writers while it is built. Undo: rollbacks/0019_ops_alerts.sql.

create table if not exists public.ops_alert_states (
  name text primary key,
  level text not null default 'ok' constraint ops_alert_states_level check (level in ('ok', 'warning', 'critical')),
  since timestamptz not null,
  calm_since timestamptz,
  value double precision,
  evaluated_at timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
comment on table public.ops_alert_states is 'What the heartbeat has said of each alert, so that it says it once. Written by ops_raise_alerts.';
comment on column public.ops_alert_states.name is 'Name of the alert, from ops_alert_rules.';
comment on column public.ops_alert_states.level is 'The level that was raised last: ok, warning or critical.';
comment on column public.ops_alert_states.since is 'When that level was entered.';
comment on column public.ops_alert_states.calm_since is 'Since when the value has been below that level; null while it is not. After three minutes the level is left.';
comment on column public.ops_alert_states.value is 'The latest value; null when there was too little to judge by.';
comment on column public.ops_alert_states.evaluated_at is 'When it was looked at last: at most once a minute.';

create table if not exists public.ops_backups (
  id uuid primary key default gen_random_uuid(),
  taken_at timestamptz not null default public.ops_clock(),
  detail jsonb not null default '{}'
);
comment on table public.ops_backups is 'The latest 100 backups that were reported. Written by ops_record_backup.';
comment on column public.ops_backups.id is 'Id of the backup.';
comment on column public.ops_backups.taken_at is 'When it was complete.';
comment on column public.ops_backups.detail is 'What whoever took it says of it: an object, never a secret.';

-- The one index by time that counting needs; a dead letter is written when a step is out of attempts, which is seldom.
create index if not exists ops_step_dead_letters_time on public.ops_step_dead_letters (created_at);

create or replace function public.ops_record_backup(p_backup jsonb default '{}') returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_answer jsonb;
begin
  if jsonb_typeof(p_backup) is distinct from 'object' or length(p_backup::text) > 8192 then
    perform public.ops_raise('OPS_011', 'what is said of a backup must be a JSON object of at most 8 kB', null, 'Send {} when there is nothing to say.');
  end if;
  insert into public.ops_backups as b (taken_at, detail) values (public.ops_clock(), p_backup)
  returning jsonb_build_object('id', b.id, 'taken_at', b.taken_at) into v_answer;
  delete from public.ops_backups b where b.id in (select o.id from public.ops_backups o order by o.taken_at desc, o.id offset 100);
  return v_answer;
end $$;
comment on function public.ops_record_backup(jsonb) is
  'Notes that a backup is complete now, with what there is to say of it: {id, taken_at}. Keeps the latest 100. Raises OPS_011.';

-- The one table of alerts -----------------------------------------------------------------------------------------

create or replace function public.ops_alert_rules()
returns table (name text, unit text, below boolean, warning double precision, critical double precision, sampled boolean, raised boolean, title text, hint text)
language sql immutable set search_path = '' as $$
  values
    ('heartbeat_failures', 'beats', false, 3::double precision, 5::double precision, false, true, 'Scheduled heartbeats that failed in a row',
      'select completed_at, source, failures from ops_heartbeats order by completed_at desc limit 5'),
    ('heartbeat_age', 'intervals', false, 3, 12, false, false, 'Intervals since the last scheduled heartbeat', 'ops-loop heartbeat'),
    ('idle_worker', 'minutes', false, 10, 30, false, true, 'Wait of queued steps while nothing of their executor runs', 'ops-loop status'),
    ('event_to_proposal', 'seconds', false, 300, 600, true, true, 'Time from event to proposal (95th percentile)',
      'select id, type, created_at from ops_agent_events where processed_at is null order by created_at limit 10'),
    ('mission_success', 'percent', true, 95, 80, true, true, 'Missions that succeed',
      'select id, title, completed_at from ops_missions where status = ''failed'' order by created_at desc limit 10'),
    ('dead_letters_per_hour', 'dead letters', false, 5, 20, false, true, 'Dead letters of the last hour', 'ops-loop dlq list'),
    ('dead_letters_per_day', 'dead letters', false, 10, null, false, true, 'Dead letters of the last day', 'ops-loop dlq list'),
    ('open_events', 'events', false, 100, 1000, false, true, 'Events that are older than a beat and not decided', 'ops-loop heartbeat'),
    ('queued_steps', 'steps', false, 50, 500, false, true, 'Steps in the queue', 'ops-loop status'),
    ('oldest_proposal', 'hours', false, 24, 72, false, true, 'Age of the oldest proposal that waits',
      'select id, title, status, reason from ops_mission_proposals where status in (''pending'', ''voting'') order by created_at limit 10'),
    ('proposals_per_hour', 'proposals', false, 100, null, false, true, 'Proposals of the last hour',
      'select pattern_id, count(*) from ops_mission_proposals where gated_at > now() - interval ''1 hour'' group by 1 order by 2 desc'),
    ('step_duration', 'seconds', false, 600, null, true, true, 'Average duration of a step', 'ops-loop status'),
    ('llm_latency', 'seconds', false, 5, 10, true, true, 'Time a model takes to answer (95th percentile)', 'ops-loop llm health'),
    ('llm_errors', 'percent', false, 2, 5, true, true, 'Calls of models that fail', 'ops-loop llm health'),
    ('llm_cost', 'usd', false, 10, 50, false, true, 'Cost of models per hour', 'ops-loop budgets'),
    ('database_connections', 'percent', false, 80, 90, false, true, 'Connections of the database in use',
      'select application_name, state, count(*) from pg_stat_activity group by 1, 2 order by 3 desc'),
    ('webhook_failures', 'deliveries', false, 5, 20, false, true, 'Deliveries of a webhook that were refused within an hour',
      'select bucket, used, ends_at from ops_rates where bucket like ''webhook:%'' order by used desc'),
    ('key_age', 'days', false, 83, 90, false, true, 'Age of the oldest key', 'ops-loop keys list'),
    ('backup_age', 'days', false, 2, 7, false, true, 'Age of the latest backup', 'ops-loop backup')
$$;
comment on function public.ops_alert_rules() is
  'Every alert there is, with its default thresholds; policy alerts changes them by name. below: a value under the threshold is the bad one, else one that reaches it. sampled: says nothing with fewer than min_samples. raised: the heartbeat makes events of it.';

create or replace function public.ops_alert_problems(p_value jsonb) returns table (severity text, path text, message text, fix text)
language sql stable set search_path = '' as $$
  with threshold as (
    select r.name, r.below, o.value ? 'warning' as own_warning, o.value ? 'critical' as own_critical,
      coalesce((o.value ->> 'warning')::double precision, r.warning) as warning, coalesce((o.value ->> 'critical')::double precision, r.critical) as critical
    from jsonb_each(p_value -> 'rules') o join public.ops_alert_rules() r on r.name = o.key
    where o.value ?| array['warning', 'critical']
  )
  select 'error', format('$.rules.%s.%s', t.name, case when t.own_critical then 'critical' else 'warning' end),
    case when t.own_critical
      then format('is %s, and the warning%s comes at %s: with this alert, %s is worse', t.critical, case when not t.own_warning then ', by default,' else '' end, t.warning, w.worse)
      else format('is %s, and it is critical, by default, at %s: with this alert, %s is worse', t.warning, t.critical, w.worse) end,
    format('Write both thresholds, and critical %s than warning.', w.worse)
  from threshold t cross join lateral (select case when t.below then 'lower' else 'higher' end as worse) w
  where case when t.below then t.critical > t.warning else t.critical < t.warning end
  order by t.name
$$;
comment on function public.ops_alert_problems(jsonb) is
  'Thresholds of a policy alerts of valid structure that are the wrong way round, so that a warning could not come before the critical level. What is not written is the default.';

create or replace function public.ops_say_value(p_value double precision, p_unit text) returns text
language sql immutable set search_path = '' as $$
  select case p_unit
    when 'seconds' then case when p_value < 90 then trim_scale(round(p_value::numeric, 1)) || ' s' else public.ops_say_span(p_value::numeric) end
    when 'minutes' then public.ops_say_span(p_value::numeric * 60)
    when 'hours' then public.ops_say_span(p_value::numeric * 3600)
    when 'days' then trim_scale(round(p_value::numeric, 1)) || ' days'
    when 'percent' then trim_scale(round(p_value::numeric, 1)) || ' %'
    when 'usd' then '$' || round(p_value::numeric, 2)
    else trim_scale(round(p_value::numeric, 1))::text end
$$;
comment on function public.ops_say_value(double precision, text) is 'A value of an alert in words: 5.5 s, 12 minutes, 96.5 %, $12.00.';

-- What is measured ------------------------------------------------------------------------------------------------

create or replace function public.ops_recent_missions(p_now timestamptz, p_limit integer) returns table (id uuid, status text, created_at timestamptz, completed_at timestamptz)
language sql stable rows 300 set search_path = '' as $$
  select m.id, m.status, m.created_at, m.completed_at from public.ops_missions m where m.created_at > p_now - interval '1 day' order by m.created_at desc limit p_limit
$$;
comment on function public.ops_recent_missions(timestamptz, integer) is 'The newest missions of a day: what rates are measured on, so that measuring costs the same at any size.';

create or replace function public.ops_recent_attempts(p_since timestamptz, p_now timestamptz)
returns table (executor text, status text, took double precision, waited double precision, meta jsonb)
language sql stable set search_path = '' set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
  with step as materialized (
    select s.id, s.lease_epoch, s.reserved_at, s.ready_at from public.ops_recent_missions(p_now, 300) m join public.ops_mission_steps s on s.mission_id = m.id
    where s.updated_at > p_since and s.lease_epoch > 0 limit 2000)
  select r.executor, r.status, extract(epoch from r.completed_at - r.started_at),
    -- Only first claims: a later one has a new ready_at, or its wait was the backoff.
    case when s.lease_epoch = 1 and s.reserved_at >= s.ready_at then extract(epoch from s.reserved_at - s.ready_at) end, r.meta
  from step s join public.ops_action_runs r on r.run_id > s.id::text || ':' and r.run_id < s.id::text || ';'
  where r.completed_at > p_since and r.status <> 'released'
$$;
comment on function public.ops_recent_attempts(timestamptz, timestamptz) is
  'Attempts that ended since a time, of at most 2,000 steps of the newest 300 missions of a day: seconds they took, and waited, from ready to claimed, where it was the first claim.';

create or replace function public.ops_measure_work(p_since timestamptz, p_now timestamptz)
returns table (name text, subject text, value double precision, samples bigint)
language sql stable set search_path = '' set jit = off as $$
  with attempt as materialized (
    select a.*, case when jsonb_typeof(a.meta -> 'calls') = 'number' and jsonb_typeof(a.meta -> 'failed_calls') = 'number' then (a.meta ->> 'calls')::numeric end as calls
    from public.ops_recent_attempts(p_since, p_now) a
  ), mission as materialized (
    select * from public.ops_recent_missions(p_now, 1000)
  )
  select 'mission_success', null::text, 100.0 * count(*) filter (where m.status = 'succeeded') / nullif(count(*), 0), count(*)
  from mission m where m.completed_at > p_since and m.status <> 'cancelled'
  union all
  select 'step_duration', 'executor ' || a.executor, avg(a.took), count(*) from attempt a group by a.executor
  union all
  select 'llm_errors', 'provider ' || coalesce(a.meta ->> 'provider', 'unknown'), 100 * sum((a.meta ->> 'failed_calls')::numeric) / nullif(sum(a.calls), 0), sum(a.calls)::bigint
  from attempt a where a.calls is not null group by a.meta ->> 'provider'
  union all
  -- A full sample may reach back less than the window.
  select 'llm_cost', null, u.usd * 3600 / greatest(extract(epoch from p_now - case when s.missions < 300 then p_since else greatest(p_since, s.oldest) end), 60), u.attempts
  from (select coalesce(sum(greatest((a.meta ->> 'usd')::numeric, 0)), 0) as usd, count(*) as attempts from attempt a where jsonb_typeof(a.meta -> 'usd') = 'number') u
  cross join (select count(*) as missions, min(m.created_at) as oldest from (select o.created_at from mission o order by o.created_at desc limit 300) m) s
$$;
comment on function public.ops_measure_work(timestamptz, timestamptz) is
  'Alert values of ended missions and attempts since a time, by subject: success, duration per executor, errors of models per provider, cost per hour. Cancelled missions do not count.';

create or replace function public.ops_measure_beats(p_now timestamptz, p_beat interval)
returns table (name text, subject text, value double precision, samples bigint)
language sql stable set search_path = '' as $$
  select 'heartbeat_failures', null::text, count(*)::double precision, null::bigint
  from (select bool_and(not h.ok) over (order by h.completed_at desc rows unbounded preceding) as failed
    from (select b.ok, b.completed_at from public.ops_heartbeats b order by b.completed_at desc limit 100) h) f where f.failed
  union all
  -- Before the first beat, what waits for it.
  select 'heartbeat_age', null, extract(epoch from p_now - coalesce((select b.completed_at from public.ops_heartbeats b order by b.completed_at desc limit 1),
    (select e.created_at from public.ops_agent_events e where e.processed_at is null order by e.created_at limit 1))) / extract(epoch from p_beat), null
  union all
  select 'open_events', null, count(*), null
  from (select from public.ops_agent_events e where e.processed_at is null and e.created_at < p_now - p_beat limit 100000) e
  union all
  select 'webhook_failures', 'source ' || substr(r.bucket, 9), r.used, null from public.ops_rates r where r.bucket like 'webhook:%' and r.ends_at > p_now
  union all
  select 'key_age', k.label, k.age_days, null from public.ops_list_keys() k where k.state = 'live'
  union all
  select 'backup_age', null, extract(epoch from p_now - max(b.taken_at)) / 86400, null from public.ops_backups b
  union all
  select 'database_connections', null, 100.0 * sum(d.numbackends) / current_setting('max_connections')::integer, null from pg_catalog.pg_stat_database d
$$;
comment on function public.ops_measure_beats(timestamptz, interval) is 'Alert values of beats, open events, webhooks, keys, backups and the server, by subject; p_beat is the time between two scheduled beats.';

create or replace function public.ops_measure_queue(p_since timestamptz, p_now timestamptz)
returns table (name text, subject text, value double precision, samples bigint)
language sql stable set search_path = '' set enable_seqscan = off set jit = off as $$
  select 'idle_worker', 'executor ' || q.executor, greatest(extract(epoch from p_now - q.ready_at) / 60, 0), null::bigint
  from public.ops_queued_executors() q where not exists (select from public.ops_mission_steps s where s.status = 'running' and s.executor = q.executor)
  union all
  select 'queued_steps', null, count(*), null from (select from public.ops_mission_steps s where s.status = 'queued' limit 100000) s
  union all
  select 'event_to_proposal', null, percentile_cont(0.95) within group (order by t.took), count(*)
  from (select extract(epoch from p.created_at - e.created_at) as took
    from (select o.created_at, o.event_id from public.ops_mission_proposals o where o.gated_at > p_since order by o.gated_at desc limit 500) p
    join public.ops_agent_events e on e.id = p.event_id) t
  union all
  select 'oldest_proposal', null, extract(epoch from p_now - (select p.created_at from public.ops_mission_proposals p where p.status in ('pending', 'voting') order by p.created_at, p.id limit 1)) / 3600, null
  union all
  select 'proposals_per_hour', null, count(*), null
  from (select from public.ops_mission_proposals p where p.gated_at > p_now - interval '1 hour'
    union all select from public.ops_mission_proposals p where p.status in ('pending', 'voting') and p.gated_at is null and p.created_at > p_now - interval '1 hour' limit 100000) p
  union all
  select d.name, null, count(l.created_at), null
  from (values ('dead_letters_per_hour', interval '1 hour'), ('dead_letters_per_day', interval '1 day')) d(name, span)
  left join lateral (select o.created_at from public.ops_step_dead_letters o where o.created_at > p_now - d.span limit 100000) l on true group by d.name
  union all
  select 'llm_latency', format('provider %s at %s', b.provider, b.worker), b.latency_p95_ms / 1000.0, b.calls
  from public.ops_llm_breakers b where b.last_success_at > p_since and b.worker = any (public.ops_living_workers(null, p_now))
$$;
comment on function public.ops_measure_queue(timestamptz, timestamptz) is
  'Alert values of queue, proposals, dead letters and the latency that living workers report of models, by subject. Counts stop at 100,000.';

create or replace function public.ops_measure(p_policy jsonb, p_now timestamptz)
returns table (name text, subject text, value double precision, samples bigint)
language plpgsql stable set search_path = '' as $$
declare
  v_since timestamptz := p_now - coalesce((p_policy ->> 'window_minutes')::numeric, 60) * interval '1 minute';
begin
  return query select m.* from public.ops_measure_beats(p_now, coalesce((p_policy ->> 'heartbeat_minutes')::numeric, 5) * interval '1 minute') m;
  return query select m.* from public.ops_measure_queue(v_since, p_now) m;
  return query select m.* from public.ops_measure_work(v_since, p_now) m;
end $$;
comment on function public.ops_measure(jsonb, timestamptz) is 'What every alert is judged by: a row per alert and subject, samples where it is a rate.';

-- Judging ---------------------------------------------------------------------------------------------------------

create or replace function public.ops_judge_alerts(p_policy jsonb, p_now timestamptz)
returns table (name text, level text, value double precision, unit text, below boolean, warning double precision, critical double precision, samples bigint, subject text,
  enabled boolean, missing boolean, raised boolean, title text, hint text)
language sql stable set search_path = '' as $$
  with rule as (
    select r.name, r.unit, r.below, r.sampled, r.raised, r.title, r.hint, p.own is not null as asked,
      coalesce((p_policy ->> 'enabled')::boolean, true) and coalesce((p.own ->> 'enabled')::boolean, true) as enabled,
      coalesce((p.own ->> 'warning')::double precision, r.warning) as warning, coalesce((p.own ->> 'critical')::double precision, r.critical) as critical
    from public.ops_alert_rules() r cross join lateral (select p_policy -> 'rules' -> r.name as own) p
  ), worst as (
    select distinct on (r.name) r.name, m.subject, m.samples,
      case when not r.sampled or m.samples >= coalesce(public.ops_integer(p_policy -> 'min_samples'), 20) then m.value end as value
    from rule r join public.ops_measure(p_policy, p_now) m on m.name = r.name
    order by r.name, not r.sampled or m.samples >= coalesce(public.ops_integer(p_policy -> 'min_samples'), 20) desc,
      case when r.below then m.value else -m.value end nulls last, m.subject
  )
  select r.name, case
      when not r.enabled then 'ok'
      when w.value is null then case when r.name = 'backup_age' and r.asked then 'critical' else 'ok' end
      when r.below and w.value < r.critical or not r.below and w.value >= r.critical then 'critical'
      when r.below and w.value < r.warning or not r.below and w.value >= r.warning then 'warning'
      else 'ok' end,
    w.value, r.unit, r.below, r.warning, r.critical, w.samples, w.subject, r.enabled, r.name = 'backup_age' and w.value is null, r.raised, r.title, r.hint
  from rule r left join worst w on w.name = r.name
$$;
comment on function public.ops_judge_alerts(jsonb, timestamptz) is
  'Each alert under a policy: its level by its worst subject that has enough samples. missing: there is no backup at all, which is critical once the policy names backup_age.';

create or replace function public.ops_say_alert(p_level text, p_value double precision, p_unit text, p_below boolean, p_warning double precision, p_critical double precision,
  p_samples bigint, p_subject text, p_enabled boolean, p_missing boolean, p_title text) returns text
language sql immutable set search_path = '' as $$
  select format('%s: %s.', p_title, case
    when not p_enabled then 'switched off by the policy alerts'
    when p_missing then 'none has been recorded'
    when p_value is null and p_samples is not null then format('too few to judge by (%s)', p_samples)
    when p_value is null then 'none'
    else public.ops_say_value(p_value, p_unit) || coalesce(' (' || p_subject || ')', '') || coalesce(', ' || b.bound, '') end)
  from (select case when p_level = 'critical' or p_warning is null then 'critical' else 'warning' end || case when p_below then ' below ' else ' from ' end
    || public.ops_say_value(case when p_level = 'critical' or p_warning is null then p_critical else p_warning end, p_unit) as bound) b
$$;
comment on function public.ops_say_alert(text, double precision, text, boolean, double precision, double precision, bigint, text, boolean, boolean, text) is
  'An alert as a sentence: Steps in the queue: 512, critical from 500.';

create or replace function public.ops_alerts()
returns table (name text, level text, value double precision, unit text, below boolean, warning double precision, critical double precision, samples bigint, subject text,
  title text, sentence text, hint text, raised_level text, since timestamptz)
language plpgsql stable set search_path = '' set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
begin
  return query
  select j.name, j.level, j.value, j.unit, j.below, j.warning, j.critical, j.samples, j.subject, j.title,
    public.ops_say_alert(j.level, j.value, j.unit, j.below, j.warning, j.critical, j.samples, j.subject, j.enabled, j.missing, j.title), j.hint, s.level, s.since
  from public.ops_judge_alerts(public.ops_policy_value('alerts'), v_now) j left join public.ops_alert_states s on s.name = j.name
  order by array_position(array['critical', 'warning', 'ok'], j.level), j.name;
end $$;
comment on function public.ops_alerts() is
  'Every alert as it is now, the worst first: level ok, warning or critical, the value with its thresholds, a sentence, and a hint: the command or the SQL to look with. raised_level and since are what the heartbeat has said last. Reads only.';

-- Raising ---------------------------------------------------------------------------------------------------------

create or replace function public.ops_move_alerts(p_policy jsonb, p_now timestamptz) returns table (alert jsonb)
language sql set search_path = '' as $$
  with judged as materialized (
    select j.*, coalesce(s.level, 'ok') as was, s.calm_since, s.since,
      array_position(array['ok', 'warning', 'critical'], j.level) >= array_position(array['ok', 'warning', 'critical'], coalesce(s.level, 'ok')) as stands
    from public.ops_judge_alerts(p_policy, p_now) j left join public.ops_alert_states s on s.name = j.name where j.raised
  ), moved as materialized (
    -- A level is entered at once and left after three minutes below it, so that a value at the edge does not flutter.
    select j.*, case when j.stands or j.calm_since <= p_now - interval '3 minutes' then j.level else j.was end as now_level from judged j
  ), stored as (
    insert into public.ops_alert_states as s (name, level, since, calm_since, value, evaluated_at)
    select m.name, m.now_level, case when m.now_level = m.was then coalesce(m.since, p_now) else p_now end,
      case when not m.stands and m.now_level = m.was then coalesce(m.calm_since, p_now) end, m.value, p_now
    from moved m
    on conflict on constraint ops_alert_states_pkey do update
      set level = excluded.level, since = excluded.since, calm_since = excluded.calm_since, value = excluded.value, evaluated_at = excluded.evaluated_at
  )
  select jsonb_strip_nulls(jsonb_build_object('alert', m.name, 'level', m.now_level, 'from', m.was, 'value', m.value, 'unit', m.unit, 'warning', m.warning, 'critical', m.critical,
    'subject', m.subject, 'since', case when m.was = 'ok' then p_now else m.since end, 'hint', m.hint,
    'sentence', public.ops_say_alert(m.level, m.value, m.unit, m.below, m.warning, m.critical, m.samples, m.subject, m.enabled, m.missing, m.title)))
  from moved m where m.now_level <> m.was order by m.name
$$;
comment on function public.ops_move_alerts(jsonb, timestamptz) is 'Brings ops_alert_states up to date and answers what has changed, as the data of its events. For one caller at a time.';

create or replace function public.ops_raise_alerts(p_force boolean default false) returns jsonb
language plpgsql set search_path = '' set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_policy jsonb := public.ops_policy_value('alerts');
  v_alert jsonb;
  v_raised integer := 0;
  v_resolved integer := 0;
begin
  -- Whoever comes while another one looks has nothing to add. Held until commit: then the others see what was written.
  if not pg_try_advisory_xact_lock(hashtext('public.ops_raise_alerts'))
    or not p_force and exists (select from public.ops_alert_states s where s.evaluated_at > v_now - interval '1 minute' and s.evaluated_at <= v_now)
    or v_policy @> '{"enabled": false}' and not exists (select from public.ops_alert_states s where s.level <> 'ok') then
    return jsonb_build_object('raised', 0, 'resolved', 0, 'more', false);
  end if;
  for v_alert in select m.alert from public.ops_move_alerts(v_policy, v_now) m loop
    if v_alert ->> 'level' = 'ok' then
      perform public.ops_raise_event('alert:' || (v_alert ->> 'alert') || ':resolved', v_alert);
      v_resolved := v_resolved + 1;
    else
      perform public.ops_raise_event('alert:' || (v_alert ->> 'alert') || ':' || (v_alert ->> 'level'), v_alert);
      v_raised := v_raised + 1;
    end if;
  end loop;
  return jsonb_build_object('raised', v_raised, 'resolved', v_resolved, 'more', v_raised + v_resolved > 0);
end $$;
comment on function public.ops_raise_alerts(boolean) is
  'Phase: at most once a minute, or at once with p_force, judges the alerts and raises alert:<name>:<level> when a level is entered and alert:<name>:resolved when it ends: {raised, resolved, more}. Any number at once raise each once; none waits.';

-- Metrics ---------------------------------------------------------------------------------------------------------

create or replace function public.ops_metric_list() returns table (name text, type text, help text)
language sql immutable set search_path = '' as $$
  values
    ('ops_schema_info', 'gauge', 'Always 1; the label version is the latest migration.'),
    ('ops_heartbeat_success', 'gauge', '1 when the latest scheduled heartbeat succeeded, 0 when it failed.'),
    ('ops_heartbeat_age_seconds', 'gauge', 'Seconds since the latest scheduled heartbeat ended.'),
    ('ops_heartbeat_duration_seconds', 'gauge', 'Seconds the latest scheduled heartbeat took.'),
    ('ops_heartbeats_total', 'counter', 'Scheduled heartbeats.'),
    ('ops_events_total', 'counter', 'Events stored, those of the loop itself included.'),
    ('ops_reactions_total', 'counter', 'Patterns fired.'),
    ('ops_proposals_total', 'counter', 'Proposals made.'),
    ('ops_missions_total', 'counter', 'Missions made.'),
    ('ops_steps_total', 'counter', 'Steps made.'),
    ('ops_worker_claims', 'counter', 'Steps claimed by workers: attempts begun.'),
    ('ops_dead_letters_total', 'counter', 'Steps that ended in the dead-letter queue.'),
    ('ops_events_open', 'gauge', 'Events not decided yet, counted up to 100,000.'),
    ('ops_event_oldest_open_seconds', 'gauge', 'Age of the oldest of them; 0 when there is none.'),
    ('ops_reactions_queued', 'gauge', 'Reactions not made a proposal yet, counted up to 100,000.'),
    ('ops_event_to_proposal_seconds', 'gauge', 'Seconds from event to proposal within the window, by percentile.'),
    ('ops_proposals_waiting', 'gauge', 'Proposals that wait, by status, counted up to 100,000.'),
    ('ops_proposal_oldest_seconds', 'gauge', 'Age of the oldest of them; 0 when there is none.'),
    ('ops_missions_ended', 'gauge', 'Missions that ended within the window, by status, of the newest 1,000.'),
    ('ops_attempts_ended', 'gauge', 'Attempts that ended within the window, by executor and status, of the newest 300 missions.'),
    ('ops_step_duration_seconds', 'gauge', 'Average duration of those attempts, by executor.'),
    ('ops_step_wait_seconds', 'gauge', 'Seconds from ready to claimed of those attempts, by percentile.'),
    ('ops_steps_queued', 'gauge', 'Steps in the queue, by executor, counted up to 10,000 each.'),
    ('ops_steps_running', 'gauge', 'Steps that run, by executor.'),
    ('ops_steps_scheduled', 'gauge', 'Steps whose time has not come, counted up to 100,000.'),
    ('ops_steps_held', 'gauge', 'Steps that something holds, by sort of reason, counted up to 100,000.'),
    ('ops_leases_expired', 'gauge', 'Running steps whose lease has ended and that nobody has recovered yet.'),
    ('ops_dead_letters_open', 'gauge', 'Dead letters that wait for a person, counted up to 100,000.'),
    ('ops_workers_alive', 'gauge', 'Workers seen within a minute.'),
    ('ops_llm_calls_total', 'counter', 'Calls of models since the worker started, by worker and provider.'),
    ('ops_llm_failed_calls_total', 'counter', 'Those that failed.'),
    ('ops_llm_latency_seconds', 'gauge', 'Seconds a model took, over the latest 100 calls of a worker, by percentile.'),
    ('ops_llm_available', 'gauge', '1 when the worker asks this provider, 0 while its breaker, a limit or a refusal stands.'),
    ('ops_budget_cap', 'gauge', 'What a budget allows in its period, in the unit its name holds.'),
    ('ops_budget_spent', 'gauge', 'What was spent of it.'),
    ('ops_budget_reserved', 'gauge', 'What running attempts have set aside of it.'),
    ('ops_budget_remaining', 'gauge', 'What is left of it.'),
    ('ops_switch', 'gauge', '1 for each scope that is paused, with its mode.'),
    ('ops_webhook_refusals', 'gauge', 'Deliveries refused in the running hour of a source.'),
    ('ops_database_connections', 'gauge', 'Connections of the server in use.'),
    ('ops_database_max_connections', 'gauge', 'Connections the server allows.'),
    ('ops_key_age_seconds', 'gauge', 'Age of each key in use, by its label.'),
    ('ops_backup_age_seconds', 'gauge', 'Age of the latest backup; absent when none was recorded.'),
    ('ops_alert_level', 'gauge', 'Of each alert: 0 ok, 1 warning, 2 critical.'),
    ('ops_alert_value', 'gauge', 'Of each alert: what it is judged by; NaN when there is too little to judge by.'),
    ('ops_alert_threshold', 'gauge', 'Of each alert and level: the threshold that holds.')
$$;
comment on function public.ops_metric_list() is 'Every metric there is. Counters are statistics of the server: they begin anew when it crashes or somebody resets them, and count rows that were rolled back.';

create or replace function public.ops_metrics_of_counters() returns table (name text, labels jsonb, value double precision)
language sql stable set search_path = '' as $$
  select c.name, '{}'::jsonb, pg_catalog.pg_stat_get_tuples_inserted(to_regclass('public.' || c.relation))
  from (values ('ops_heartbeats_total', 'ops_heartbeats'), ('ops_events_total', 'ops_agent_events'), ('ops_reactions_total', 'ops_agent_reactions'),
    ('ops_proposals_total', 'ops_mission_proposals'), ('ops_missions_total', 'ops_missions'), ('ops_steps_total', 'ops_mission_steps'),
    ('ops_worker_claims', 'ops_action_runs'), ('ops_dead_letters_total', 'ops_step_dead_letters')) c(name, relation)
$$;
comment on function public.ops_metrics_of_counters() is 'Rows that were ever inserted, as the server counts them anyway: nothing is written for it.';

create or replace function public.ops_metrics_of_events(p_since timestamptz, p_now timestamptz) returns table (name text, labels jsonb, value double precision)
language sql stable set search_path = '' set enable_seqscan = off set jit = off as $$
  select m.name, '{}'::jsonb, m.value
  from (select b.ok, b.started_at, b.completed_at from public.ops_heartbeats b order by b.completed_at desc limit 1) h
  cross join lateral (values ('ops_heartbeat_success', h.ok::integer::double precision), ('ops_heartbeat_age_seconds', extract(epoch from p_now - h.completed_at)),
    ('ops_heartbeat_duration_seconds', extract(epoch from h.completed_at - h.started_at))) m(name, value)
  union all
  select 'ops_events_open', '{}', count(*) from (select from public.ops_agent_events e where e.processed_at is null limit 100000) e
  union all
  select 'ops_event_oldest_open_seconds', '{}', coalesce(extract(epoch from p_now - (select e.created_at from public.ops_agent_events e where e.processed_at is null order by e.created_at, e.id limit 1)), 0)
  union all
  select 'ops_reactions_queued', '{}', count(*) from (select from public.ops_agent_reactions r where r.status = 'queued' limit 100000) r
  union all
  select 'ops_event_to_proposal_seconds', jsonb_build_object('percentile', q.name), q.value
  from (select percentile_cont(array[0.5, 0.95]) within group (order by extract(epoch from p.created_at - e.created_at)) as ps
    from (select o.created_at, o.event_id from public.ops_mission_proposals o where o.gated_at > p_since order by o.gated_at desc limit 500) p
    join public.ops_agent_events e on e.id = p.event_id) t cross join lateral (values ('50', t.ps[1]), ('95', t.ps[2])) q(name, value) where q.value is not null
  union all
  select 'ops_proposals_waiting', jsonb_build_object('status', s.name), count(p.status)
  from (values ('pending'), ('voting')) s(name) left join (select w.status from public.ops_mission_proposals w where w.status in ('pending', 'voting') limit 100000) p on p.status = s.name group by s.name
  union all
  select 'ops_proposal_oldest_seconds', '{}', coalesce(extract(epoch from p_now - (select p.created_at from public.ops_mission_proposals p where p.status in ('pending', 'voting') order by p.created_at, p.id limit 1)), 0)
$$;
comment on function public.ops_metrics_of_events(timestamptz, timestamptz) is 'Metrics of beats, events, reactions and proposals.';

create or replace function public.ops_metrics_of_steps(p_now timestamptz) returns table (name text, labels jsonb, value double precision)
language sql stable set search_path = '' set enable_seqscan = off set jit = off as $$
  select 'ops_steps_queued', jsonb_build_object('executor', q.executor), n.count
  from public.ops_queued_executors() q cross join lateral (
    select count(*) from (select from public.ops_mission_steps s where s.status = 'queued' and s.executor = q.executor limit 10000) s) n
  union all
  select 'ops_steps_running', jsonb_build_object('executor', s.executor), count(*) from public.ops_mission_steps s where s.status = 'running' group by s.executor
  union all
  select 'ops_leases_expired', '{}', count(*) filter (where s.lease_expires_at < p_now) from public.ops_mission_steps s where s.status = 'running'
  union all
  select 'ops_steps_scheduled', '{}', count(*) from (select from public.ops_mission_steps s where s.status = 'scheduled' and s.wait_reason is null limit 100000) s
  union all
  -- The first word only: what follows may be a value of somebody's parameters.
  select 'ops_steps_held', jsonb_build_object('reason', split_part(s.wait_reason, ':', 1)), count(*)
  from (select h.wait_reason from public.ops_mission_steps h where h.wait_reason is not null limit 100000) s group by split_part(s.wait_reason, ':', 1)
  union all
  select 'ops_dead_letters_open', '{}', count(*) from (select from public.ops_step_dead_letters d where d.state = 'open' limit 100000) d
$$;
comment on function public.ops_metrics_of_steps(timestamptz) is 'Metrics of steps that are not finished, from the partial indexes.';

create or replace function public.ops_metrics_of_work(p_since timestamptz, p_now timestamptz) returns table (name text, labels jsonb, value double precision)
language sql stable set search_path = '' set jit = off as $$
  with attempt as materialized (select * from public.ops_recent_attempts(p_since, p_now))
  select 'ops_missions_ended', jsonb_build_object('status', m.status), count(*) from public.ops_recent_missions(p_now, 1000) m where m.completed_at > p_since group by m.status
  union all
  select 'ops_attempts_ended', jsonb_build_object('executor', a.executor, 'status', a.status), count(*) from attempt a group by a.executor, a.status
  union all
  select 'ops_step_duration_seconds', jsonb_build_object('executor', a.executor), avg(a.took) from attempt a group by a.executor
  union all
  select 'ops_step_wait_seconds', jsonb_build_object('percentile', q.name), q.value
  from (select percentile_cont(array[0.5, 0.95]) within group (order by a.waited) as ps from attempt a where a.waited is not null) t
  cross join lateral (values ('50', t.ps[1]), ('95', t.ps[2])) q(name, value) where q.value is not null
$$;
comment on function public.ops_metrics_of_work(timestamptz, timestamptz) is 'Metrics of what ended within the window, on the newest missions.';

create or replace function public.ops_metrics_of_means(p_now timestamptz) returns table (name text, labels jsonb, value double precision)
language sql stable set search_path = '' as $$
  select 'ops_schema_info', jsonb_build_object('version', (select max(m.version) from public.ops_migrations m)), 1
  union all
  select 'ops_workers_alive', '{}', cardinality(public.ops_living_workers(null, p_now))
  union all
  select m.name, jsonb_build_object('worker', b.worker, 'provider', b.provider) || m.more, m.value
  from public.ops_llm_breakers b cross join lateral (values ('ops_llm_calls_total', '{}'::jsonb, b.calls::double precision), ('ops_llm_failed_calls_total', '{}', b.failed_calls),
    ('ops_llm_latency_seconds', '{"percentile": "50"}', b.latency_p50_ms / 1000.0), ('ops_llm_latency_seconds', '{"percentile": "95"}', b.latency_p95_ms / 1000.0),
    ('ops_llm_available', '{}', (b.state in ('closed', 'half_open'))::integer)) m(name, more, value)
  where b.worker = any (public.ops_living_workers(null, p_now)) and m.value is not null
  union all
  select m.name, jsonb_build_object('budget', b.budget), m.value
  from public.ops_list_budgets() b cross join lateral (values ('ops_budget_cap', b.cap), ('ops_budget_spent', b.spent), ('ops_budget_reserved', b.reserved), ('ops_budget_remaining', b.remaining)) m(name, value)
  union all
  select 'ops_switch', jsonb_build_object('scope', s.key, 'mode', s.value ->> 'mode'), 1
  from jsonb_each(coalesce(public.ops_policy_value('switches') -> 'scopes', '{}')) s where s.value ->> 'mode' in ('drain', 'halt')
  union all
  select 'ops_webhook_refusals', jsonb_build_object('source', substr(r.bucket, 9)), r.used from public.ops_rates r where r.bucket like 'webhook:%' and r.ends_at > p_now
  union all
  select 'ops_database_connections', '{}', sum(d.numbackends) from pg_catalog.pg_stat_database d
  union all
  select 'ops_database_max_connections', '{}', current_setting('max_connections')::integer
  union all
  select 'ops_key_age_seconds', jsonb_build_object('key', k.label), max(extract(epoch from p_now - k.created_at)) from public.ops_list_keys() k where k.state = 'live' group by k.label
  union all
  select 'ops_backup_age_seconds', '{}', extract(epoch from p_now - max(b.taken_at)) from public.ops_backups b having count(*) > 0
$$;
comment on function public.ops_metrics_of_means(timestamptz) is 'Metrics of what the loop works with: workers, models, budgets, switches, webhooks, the server, keys, backups.';

create or replace function public.ops_metrics_of_alerts(p_policy jsonb, p_now timestamptz) returns table (name text, labels jsonb, value double precision)
language sql stable set search_path = '' as $$
  select m.name, jsonb_build_object('alert', j.name) || m.more, m.value
  from public.ops_judge_alerts(p_policy, p_now) j cross join lateral (values
    ('ops_alert_level', '{}'::jsonb, array_position(array['ok', 'warning', 'critical'], j.level) - 1.0::double precision, true), ('ops_alert_value', '{}', j.value, true),
    ('ops_alert_threshold', '{"level": "warning"}', j.warning, j.warning is not null), ('ops_alert_threshold', '{"level": "critical"}', j.critical, j.critical is not null)) m(name, more, value, there)
  where m.there
$$;
comment on function public.ops_metrics_of_alerts(jsonb, timestamptz) is 'Metrics of the alerts, judged at this moment.';

create or replace function public.ops_metrics() returns table (name text, type text, help text, labels jsonb, value double precision)
language plpgsql stable set search_path = '' set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_policy jsonb := public.ops_policy_value('alerts');
  v_since timestamptz := v_now - coalesce((v_policy ->> 'window_minutes')::numeric, 60) * interval '1 minute';
begin
  return query
  select l.name, l.type, l.help, v.labels, v.value
  from (
    select * from public.ops_metrics_of_means(v_now)
    union all select * from public.ops_metrics_of_counters()
    union all select * from public.ops_metrics_of_events(v_since, v_now)
    union all select * from public.ops_metrics_of_steps(v_now)
    union all select * from public.ops_metrics_of_work(v_since, v_now)
    union all select * from public.ops_metrics_of_alerts(v_policy, v_now)) v
  join public.ops_metric_list() l on l.name = v.name order by l.name, v.labels;
end $$;
comment on function public.ops_metrics() is
  'Everything that a Prometheus server is told: a row per metric and labels; value is null where it is not known. From partial indexes, the newest rows and the server''s own statistics, so it costs the same at any size. Reads only.';

insert into public.ops_migrations (version, name) values ('0019', 'ops_alerts') on conflict do nothing;
