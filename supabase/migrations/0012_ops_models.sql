-- 0012 How the model providers are, as each worker sees them: a row per worker and provider, written by the worker.
--
-- Why so: a breaker lives in the process that makes the calls, since it must answer without asking anybody. The row
-- is its report, so that operators see it; a reset is a number in that row which the worker's next report picks up.
-- Reports are few (every few seconds at most) and no other function reads these rows. Locks: rows of one worker, in
-- the order of providers; a reset takes them in the order of worker and provider. Undo: rollbacks/0012_ops_models.sql.

create table if not exists public.ops_llm_breakers (
  worker text not null,
  provider text not null,
  model text,
  state text not null default 'closed'
    constraint ops_llm_breakers_state check (state in ('closed', 'open', 'half_open', 'limited', 'refused')),
  failures integer not null default 0 constraint ops_llm_breakers_failures check (failures >= 0),
  calls bigint not null default 0 constraint ops_llm_breakers_calls check (calls >= 0),
  failed_calls bigint not null default 0 constraint ops_llm_breakers_failed_calls check (failed_calls >= 0),
  latency_p50_ms integer,
  latency_p95_ms integer,
  opened_at timestamptz,
  asked_again_at timestamptz,
  last_error text,
  last_error_at timestamptz,
  last_success_at timestamptz,
  reset_wanted bigint not null default 0,
  reset_done bigint not null default 0,
  reported_at timestamptz not null default public.ops_clock(),
  primary key (worker, provider)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
comment on table public.ops_llm_breakers is 'What each worker reports of each model provider. Rows nobody has reported for a day are removed.';
comment on column public.ops_llm_breakers.worker is 'Name of the worker.';
comment on column public.ops_llm_breakers.provider is 'together, openai, openrouter, ollama, openclaw or custom.';
comment on column public.ops_llm_breakers.model is 'Model asked last; null before the first call.';
comment on column public.ops_llm_breakers.state is 'closed: asked; open: failed too often and is left alone; half_open: one call tries it; limited: it asked for a pause; refused: it refused the key, or has no credit.';
comment on column public.ops_llm_breakers.failures is 'Failed calls in a row.';
comment on column public.ops_llm_breakers.calls is 'Calls since the worker started.';
comment on column public.ops_llm_breakers.failed_calls is 'How many of them failed.';
comment on column public.ops_llm_breakers.latency_p50_ms is 'Median of its latest 100 successful calls, in milliseconds; null before the first.';
comment on column public.ops_llm_breakers.latency_p95_ms is 'Time that 95 % of them stayed below, in milliseconds.';
comment on column public.ops_llm_breakers.opened_at is 'When the breaker opened; null while it is closed.';
comment on column public.ops_llm_breakers.asked_again_at is 'Not asked before that; null while it is asked.';
comment on column public.ops_llm_breakers.last_error is 'Sort of the latest failure, with the HTTP status if there was one: server 503. Never a text of the provider.';
comment on column public.ops_llm_breakers.last_error_at is 'When that was.';
comment on column public.ops_llm_breakers.last_success_at is 'When a call last succeeded.';
comment on column public.ops_llm_breakers.reset_wanted is 'Number of the latest reset that somebody asked for; rises by one each time.';
comment on column public.ops_llm_breakers.reset_done is 'Number of the latest reset that the worker says it has carried out.';
comment on column public.ops_llm_breakers.reported_at is 'When the worker last reported.';

create or replace function public.ops_report_llm(p_worker text, p_providers jsonb)
returns table (provider text, reset_wanted bigint) language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
begin
  if p_worker is null or p_worker = '' or jsonb_typeof(p_providers) <> 'array' or jsonb_array_length(p_providers) > 50 then
    perform public.ops_raise('OPS_011', 'a report needs the name of a worker and a list of at most 50 providers', null, 'Send [{provider, state, …}].');
  end if;
  return query
  with said as (
    select r.*, v_now - r.opened_ms_ago * interval '1 millisecond' as opened_at, v_now + r.asked_again_in_ms * interval '1 millisecond' as asked_again_at,
      v_now - r.last_error_ms_ago * interval '1 millisecond' as last_error_at, v_now - r.last_success_ms_ago * interval '1 millisecond' as last_success_at
    from jsonb_to_recordset(p_providers) r(provider text, model text, state text, failures integer, calls bigint, failed_calls bigint, latency_p50_ms integer,
      latency_p95_ms integer, opened_ms_ago numeric, asked_again_in_ms numeric, last_error text, last_error_ms_ago numeric, last_success_ms_ago numeric, reset_done bigint)
  ), stored as (
    insert into public.ops_llm_breakers as b (worker, provider, model, state, failures, calls, failed_calls, latency_p50_ms, latency_p95_ms, opened_at, asked_again_at,
      last_error, last_error_at, last_success_at, reset_wanted, reset_done, reported_at)
    select p_worker, left(s.provider, 100), left(s.model, 200), s.state, s.failures, s.calls, s.failed_calls, s.latency_p50_ms, s.latency_p95_ms, s.opened_at, s.asked_again_at,
      left(s.last_error, 100), s.last_error_at, s.last_success_at, s.reset_done, s.reset_done, v_now
    from said s order by s.provider
    on conflict on constraint ops_llm_breakers_pkey do update set model = excluded.model, state = excluded.state, failures = excluded.failures, calls = excluded.calls,
      failed_calls = excluded.failed_calls, latency_p50_ms = excluded.latency_p50_ms, latency_p95_ms = excluded.latency_p95_ms, opened_at = excluded.opened_at,
      asked_again_at = excluded.asked_again_at, last_error = excluded.last_error, last_error_at = excluded.last_error_at, last_success_at = excluded.last_success_at,
      reset_wanted = greatest(b.reset_wanted, excluded.reset_done), reset_done = excluded.reset_done, reported_at = excluded.reported_at
    returning b.provider, b.reset_wanted, b.reset_done)
  select s.provider, s.reset_wanted from stored s where s.reset_wanted > s.reset_done order by s.provider;
  delete from public.ops_llm_breakers b where b.reported_at < v_now - interval '1 day';
end $$;
comment on function public.ops_report_llm(text, jsonb) is
  'A worker says how its model providers are [{provider, model, state, failures, calls, failed_calls, latency_p50_ms, latency_p95_ms, opened_ms_ago, asked_again_in_ms, last_error, last_error_ms_ago, last_success_ms_ago, reset_done}]. Answers the resets it has not carried out yet, again and again until its report says it has. Raises OPS_011.';

create or replace function public.ops_llm_health() returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
begin
  return (
    with seen as (
      select b.*, exists (select from public.ops_workers w where w.name = b.worker and w.seen_at >= v_now - interval '1 minute') as alive from public.ops_llm_breakers b
    ), worker as (
      select s.worker, bool_and(s.state = 'closed') as well, bool_or(s.state in ('closed', 'half_open')) as served from seen s where s.alive group by s.worker)
    select jsonb_build_object(
      'status', (select case when count(*) = 0 then 'unknown' when bool_and(w.well) then 'healthy' when bool_or(w.served) then 'degraded' else 'down' end from worker w),
      'at', v_now,
      'providers', coalesce((select jsonb_agg(to_jsonb(s) || jsonb_build_object('reset_pending', s.reset_wanted > s.reset_done) - '{reset_wanted,reset_done}'::text[]
        order by s.alive desc, s.worker, s.provider) from seen s), '[]')));
end $$;
comment on function public.ops_llm_health() is
  '{status, at, providers}: each row of ops_llm_breakers with alive (its worker was seen within a minute) and reset_pending. status looks at living workers: healthy (all closed), degraded (somebody can be asked), down (nobody can), unknown (none has reported).';

create or replace function public.ops_reset_llm(p_provider text default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_workers text[];
  v_known text := (select string_agg(distinct b.provider, ', ') from public.ops_llm_breakers b);
begin
  with wanted as (
    select b.worker, b.provider from public.ops_llm_breakers b where p_provider is null or b.provider = p_provider order by b.worker, b.provider for update
  ), asked as (
    update public.ops_llm_breakers b set reset_wanted = b.reset_wanted + 1 from wanted w where b.worker = w.worker and b.provider = w.provider returning b.worker)
  select array_agg(distinct a.worker order by a.worker) into v_workers from asked a;
  if v_workers is null and p_provider is not null then
    perform public.ops_raise('OPS_012', format('no worker has reported a provider %s', p_provider), null, coalesce('There are ' || v_known || '.', 'No worker has reported any provider yet.'));
  end if;
  return jsonb_build_object('workers', to_jsonb(coalesce(v_workers, '{}')));
end $$;
comment on function public.ops_reset_llm(text) is
  'Has the breakers and holds of a provider, or of all, closed by every worker that has reported it, with its next report: {workers}. Said twice, it is done once more, which harms nothing. Raises OPS_012 for a provider nobody has reported.';

insert into public.ops_migrations (version, name) values ('0012', 'ops_models') on conflict do nothing;
