-- 0002 What every other function stands on: errors with codes, policies with defaults, the engine flag, wake-ups.
--
-- Why so: a refusal without a code can't be handled, and a guard that can't tell the engine from an operator would
-- have to choose between speed and safety. Locks: none. Undo: rollbacks/0002_ops_functions.sql.

create or replace function public.ops_raise(p_code text, p_message text, p_detail jsonb default null, p_hint text default null)
returns void language plpgsql set search_path = '' as $$
begin
  raise exception using
    errcode = 'OP' || right(p_code, 3),
    message = p_message,
    detail = coalesce(p_detail::text, ''),
    hint = coalesce(p_hint, '');
end $$;
comment on function public.ops_raise(text, text, jsonb, text) is
  'Raises an error of Ops-Loop: code OPS_0nn becomes SQLSTATE OP0nn, detail is JSON, hint says what to do next.';

create or replace function public.ops_policy_value(p_key text) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return (select coalesce((select p.value from public.ops_policy p where p.key = p_key), '{}'::jsonb));
end $$;
comment on function public.ops_policy_value(text) is 'The policy under a key; an empty object when there is none, so that defaults hold.';

create or replace function public.ops_policy_versions(p_keys text[]) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return (select coalesce(jsonb_object_agg(p.key, p.version), '{}') from public.ops_policy p where p.key = any (p_keys));
end $$;
comment on function public.ops_policy_versions(text[]) is '{key: version} of the named policies as they are now.';

-- The engine flag: guard triggers let the engine's own writes pass by a WHEN on this setting. It is a seat belt for
-- operators, not a lock: whoever may write the tables may also set it.

create or replace function public.ops_engine_begin() returns text
language plpgsql set search_path = '' as $$
declare
  v_was text := coalesce(current_setting('ops.engine', true), '');
begin
  perform set_config('ops.engine', 'on', true);
  return v_was;
end $$;
comment on function public.ops_engine_begin() is
  'Marks what follows in this transaction as the engine''s own writes; answers the earlier mark for ops_engine_end.';

create or replace function public.ops_engine_end(p_was text) returns void
language plpgsql set search_path = '' as $$
begin
  perform set_config('ops.engine', p_was, true);
end $$;
comment on function public.ops_engine_end(text) is 'Restores the mark that ops_engine_begin answered.';

-- Wake-ups ------------------------------------------------------------------------------------------------------

create or replace function public.ops_wake(p_channel text) returns void
language plpgsql set search_path = '' as $$
begin
  update public.ops_wakeups w set waiting = false
  from (select o.channel from public.ops_wakeups o where o.channel = p_channel and o.waiting for update skip locked) raised
  where w.channel = raised.channel;
  if found then
    perform pg_notify(p_channel, '');
  end if;
end $$;
comment on function public.ops_wake(text) is
  'Sends one NOTIFY if somebody raised the flag of this channel, and takes it down; nothing under load. Waits for nobody: who holds the flag wakes already. A hint: pollers find the work anyway.';

create or replace function public.ops_raise_flag(p_channel text) returns void
language plpgsql set search_path = '' as $$
begin
  update public.ops_wakeups w set waiting = true
  from (select o.channel from public.ops_wakeups o where o.channel = p_channel and not o.waiting for update skip locked) lowered
  where w.channel = lowered.channel;
end $$;
comment on function public.ops_raise_flag(text) is 'Says that somebody waits on this channel. Look once more for work after this has committed.';

-- Arithmetic ----------------------------------------------------------------------------------------------------

create or replace function public.ops_integer(p_value jsonb) returns integer
language plpgsql immutable set search_path = '' as $$
begin
  return (nullif(p_value, 'null') #>> '{}')::numeric::integer;
end $$;
comment on function public.ops_integer(jsonb) is 'A JSON number as integer: to JSON 5.0 is one too. Null for null.';

create or replace function public.ops_take_turn(p_key text) returns void
language plpgsql set search_path = '' as $$
begin
  insert into public.ops_limits as l (key, updated_at) values (p_key, public.ops_clock())
  on conflict (key) do update set updated_at = excluded.updated_at;
end $$;
comment on function public.ops_take_turn(text) is
  'Waits for this row of ops_limits and holds it until the transaction ends. It is written, not only locked: a caller under repeatable read, who would count by what was there before it waited, fails with 40001 and comes again.';

create or replace function public.ops_backoff_seconds(p_failures integer, p_base_seconds numeric, p_cap_seconds numeric, p_jitter double precision)
returns numeric language plpgsql immutable set search_path = '' as $$
begin
  return round((least(p_cap_seconds, p_base_seconds * 2 ^ least(greatest(p_failures, 1) - 1, 30)) * (0.5 + 0.5 * p_jitter::numeric))::numeric, 3);
end $$;
comment on function public.ops_backoff_seconds(integer, numeric, numeric, double precision) is
  'Seconds to wait after the n-th failure: base * 2^(n-1), capped, of which half is jitter. The exponent is capped so that it never overflows. p_jitter is in [0, 1).';

create or replace function public.ops_roll(p_event_id uuid, p_pattern_id text) returns double precision
language plpgsql immutable set search_path = '' as $$
begin
  return (
    select ((get_byte(h, 0)::bigint << 24) + (get_byte(h, 1) << 16) + (get_byte(h, 2) << 8) + get_byte(h, 3))::double precision / 4294967296
    from sha256(convert_to(p_event_id::text || ':' || p_pattern_id, 'UTF8')) h);
end $$;
comment on function public.ops_roll(uuid, text) is
  'A number in [0, 1) that is always the same for one event and pattern: the first 32 bits of a SHA-256. A retry never rolls again.';

create or replace function public.ops_risk_rank(p_risk text) returns integer
language plpgsql immutable set search_path = '' as $$
begin
  return coalesce(array_position(array['low', 'medium', 'high', 'critical'], p_risk), 4);
end $$;
comment on function public.ops_risk_rank(text) is 'low 1, medium 2, high 3, critical 4; anything else, null too, counts as critical.';

create or replace function public.ops_is_transient(p_sqlstate text) returns boolean
language plpgsql immutable set search_path = '' as $$
begin
  return p_sqlstate in ('40001', '40P01', '55P03', '57014') or left(p_sqlstate, 2) in ('53', '58');
end $$;
comment on function public.ops_is_transient(text) is
  'True for errors that say nothing about the row at hand: serialization, deadlock, lock timeout, cancel, resources, I/O. They are never held against an event.';

create or replace function public.ops_can_match(p_type text) returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return (
    select exists (
      select from public.ops_policy_patterns p
      where p_type = any (p.types) or exists (select from unnest(p.system_likes) l where p_type like l)));
end $$;
comment on function public.ops_can_match(text) is
  'Whether any enabled pattern could match an event of this type raised by the loop itself. If none can, the event is born closed.';

insert into public.ops_migrations (version, name) values ('0002', 'ops_functions') on conflict do nothing;
