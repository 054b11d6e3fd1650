-- 0013 Keys of callers, first sight of the environment's secrets, sessions of the page, and rate limits.
--
-- Why so: a key is made where it is handed out; only its SHA-256 and a prefix to know it by come here, as parameters, so
-- no table, statement or log ever holds one. Serverless instances share no memory: what must hold over all of them
-- (a link that signs in once, a key that is revoked, a count per minute) is a row, changed by one statement.
-- Locks: single rows of its own tables, held for one statement. Undo: rollbacks/0013_ops_keys.sql.

create table if not exists public.ops_api_keys (
  id uuid primary key default gen_random_uuid(),
  prefix text not null,
  key_hash text not null
    constraint ops_api_keys_one_hash unique
    constraint ops_api_keys_hash check (key_hash ~ '^[0-9a-f]{64}$'),
  scope text not null constraint ops_api_keys_scope check (scope in ('operator', 'worker', 'ingest', 'viewer')),
  label text not null constraint ops_api_keys_label check (label ~ '^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$'),
  created_by text not null,
  created_at timestamptz not null default public.ops_clock(),
  expires_at timestamptz,
  last_used_at timestamptz,
  rotated_from uuid,
  replaced_at timestamptz,
  revoked_at timestamptz,
  revoked_by text,
  revoke_reason text,
  constraint ops_api_keys_revoked_by_somebody check ((revoked_at is null) = (revoked_by is null))
) with (fillfactor = 80);
comment on table public.ops_api_keys is 'Keys that callers of the HTTP interface hold, one row each, for good: the record of who had access.';
comment on column public.ops_api_keys.id is 'Id of the key.';
comment on column public.ops_api_keys.prefix is 'Its first characters, ops_<scope>_<8 hex digits>, to know it by; they open nothing.';
comment on column public.ops_api_keys.key_hash is 'SHA-256 of the whole key, hex. The key holds 256 random bits, so it needs no salt and no slow hash.';
comment on column public.ops_api_keys.scope is 'operator: everything; ingest: sends events; viewer: reads; worker: beats.';
comment on column public.ops_api_keys.label is 'Whose it is: the name that approvals, votes and approvals.approvers know its holder by. Unique among live keys, whatever the case.';
comment on column public.ops_api_keys.created_by is 'Who made it.';
comment on column public.ops_api_keys.created_at is 'When it was made; its age counts from here.';
comment on column public.ops_api_keys.expires_at is 'When it opens nothing any more; null means never.';
comment on column public.ops_api_keys.last_used_at is 'When it last opened something; written at most once a minute.';
comment on column public.ops_api_keys.rotated_from is 'The key that this one replaced.';
comment on column public.ops_api_keys.replaced_at is 'When another one replaced it; it goes on until expires_at.';
comment on column public.ops_api_keys.revoked_at is 'When it was revoked.';
comment on column public.ops_api_keys.revoked_by is 'Who revoked it; expiry when its label was given to a new key after its end.';
comment on column public.ops_api_keys.revoke_reason is 'Why.';
create unique index if not exists ops_api_keys_live_label on public.ops_api_keys (lower(label)) where revoked_at is null and replaced_at is null;

create table if not exists public.ops_seen_secrets (
  name text not null,
  fingerprint text not null,
  first_seen_at timestamptz not null default public.ops_clock(),
  last_seen_at timestamptz not null default public.ops_clock(),
  primary key (name, fingerprint)
);
comment on table public.ops_seen_secrets is 'When each secret of the environment was first seen, over all instances: how old it is, and how long the one before it still holds.';
comment on column public.ops_seen_secrets.name is 'Variable: OPS_API_KEY, CRON_SECRET, …';
comment on column public.ops_seen_secrets.fingerprint is 'HMAC-SHA256 of the variable''s name under the secret, hex: tells two secrets apart and opens nothing.';
comment on column public.ops_seen_secrets.first_seen_at is 'First time an instance had it.';
comment on column public.ops_seen_secrets.last_seen_at is 'Last time an instance said so; written at most once an hour.';

create table if not exists public.ops_sessions (
  session_hash text primary key constraint ops_sessions_hash check (session_hash ~ '^[0-9a-f]{64}$'),
  sign_in_hash text not null constraint ops_sessions_one_per_link unique,
  scope text not null constraint ops_sessions_scope check (scope in ('operator', 'viewer')),
  label text not null,
  key_id uuid,
  created_at timestamptz not null default public.ops_clock(),
  expires_at timestamptz not null,
  ended_at timestamptz
);
comment on table public.ops_sessions is 'Browsers that are signed in to the page. A sign-in link stands in at most one row, so it works once.';
comment on column public.ops_sessions.session_hash is 'SHA-256 of the secret in the cookie, hex.';
comment on column public.ops_sessions.sign_in_hash is 'SHA-256 of the token of the link, hex.';
comment on column public.ops_sessions.scope is 'operator or viewer, from the key that made the link.';
comment on column public.ops_sessions.label is 'Who acts: the label of the key that made the link, dashboard for OPS_API_KEY.';
comment on column public.ops_sessions.key_id is 'Key in ops_api_keys that made the link: the session ends with it. Null for OPS_API_KEY.';
comment on column public.ops_sessions.created_at is 'When it was opened.';
comment on column public.ops_sessions.expires_at is 'When it ends by itself.';
comment on column public.ops_sessions.ended_at is 'When it was signed out, or ended with all keys.';
create index if not exists ops_sessions_end on public.ops_sessions (expires_at);

create table if not exists public.ops_rates (
  bucket text primary key,
  used integer not null,
  ends_at timestamptz not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 200);
comment on table public.ops_rates is 'What was taken of each rate in its window.';
comment on column public.ops_rates.bucket is 'auth:<digest of the client''s address> for keys that opened nothing, ingest:<label> for events sent, webhook:<source> for deliveries that were refused.';
comment on column public.ops_rates.used is 'Taken in this window; never over the limit.';
comment on column public.ops_rates.ends_at is 'End of the window; it begins with the first one taken.';
create index if not exists ops_rates_end on public.ops_rates (ends_at);

-- Keys ----------------------------------------------------------------------------------------------------------

create or replace function public.ops_key_state(p_key public.ops_api_keys, p_now timestamptz) returns text
language sql stable set search_path = '' as $$
  select case when p_key.revoked_at is not null then 'revoked' when p_key.expires_at <= p_now then 'expired'
    when p_key.replaced_at is not null then 'replaced' else 'live' end
$$;
comment on function public.ops_key_state(public.ops_api_keys, timestamptz) is
  'live, replaced (rotated; opens until expires_at), expired or revoked. The last two open nothing.';

create or replace function public.ops_key_document(p_id uuid) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('id', k.id, 'label', k.label, 'scope', k.scope, 'prefix', k.prefix, 'created_at', k.created_at, 'expires_at', k.expires_at,
    'replaces', (select jsonb_build_object('prefix', o.prefix, 'expires_at', o.expires_at) from public.ops_api_keys o where o.id = k.rotated_from))
  from public.ops_api_keys k where k.id = p_id
$$;
comment on function public.ops_key_document(uuid) is '{id, label, scope, prefix, created_at, expires_at, replaces} of a key: what its maker is told.';

create or replace function public.ops_check_new_key(p_label text, p_scope text, p_prefix text, p_hash text) returns void
language plpgsql stable set search_path = '' as $$
begin
  if coalesce(p_scope, '') not in ('operator', 'worker', 'ingest', 'viewer') then
    perform public.ops_raise('OPS_011', format('scope %s is not known', p_scope), null, 'Use operator, worker, ingest or viewer.');
  elsif coalesce(p_label, '') !~ '^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$' then
    perform public.ops_raise('OPS_011', 'a label is one word of letters, digits and . _ @ -, at most 100', null, 'Name the person or system that holds the key.');
  elsif lower(p_label) in ('votes', 'ops-loop', 'api-key', 'dashboard', 'cron') or lower(p_label) like 'ops\_%'
    or exists (select from public.ops_schemas s where s.name = 'policy:agent_roles' and s.schema -> 'properties' ? lower(p_label)) then
    perform public.ops_raise('OPS_011', format('the label %s belongs to the loop itself or to a role of its agents', p_label), null, 'Name the person or system that holds the key.');
  elsif coalesce(p_prefix, '') !~ ('^ops_' || p_scope || '_[0-9a-f]{8}$') or coalesce(p_hash, '') !~ '^[0-9a-f]{64}$' then
    perform public.ops_raise('OPS_011', 'a key is handed over as its prefix and the SHA-256 of it in hex', null, 'Make keys with `ops-loop keys create`.');
  end if;
end $$;
comment on function public.ops_check_new_key(text, text, text, text) is
  'Raises OPS_011 for a key that may not be made: wrong scope, label or hash. The names that the loop, the environment''s keys and the agents sign with are nobody''s label.';

create or replace function public.ops_create_key(p_label text, p_scope text, p_prefix text, p_hash text, p_expires_days numeric default null, p_actor text default null)
returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_id uuid;
begin
  perform public.ops_check_new_key(p_label, p_scope, p_prefix, p_hash);
  if p_expires_days <= 0 or p_expires_days > 3660 then
    perform public.ops_raise('OPS_011', 'a key lives for more than 0 and at most 3660 days', null, 'Leave the days out for a key without an end.');
  end if;
  update public.ops_api_keys k set revoked_at = v_now, revoked_by = 'expiry'
  where lower(k.label) = lower(p_label) and k.revoked_at is null and k.replaced_at is null and k.expires_at <= v_now;
  insert into public.ops_api_keys (prefix, key_hash, scope, label, created_by, created_at, expires_at)
  values (p_prefix, p_hash, p_scope, p_label, left(coalesce(p_actor, session_user), 200), v_now, v_now + p_expires_days * interval '1 day')
  on conflict do nothing returning id into v_id;
  if v_id is null then
    perform public.ops_raise('OPS_015', format('there is a live key labelled %s already', p_label), null, 'Rotate or revoke it: `ops-loop keys rotate <label>`, `ops-loop keys revoke <label>`.');
  end if;
  return public.ops_key_document(v_id);
end $$;
comment on function public.ops_create_key(text, text, text, text, numeric, text) is
  'Records a key that the caller made, by prefix and SHA-256 (hex): {id, label, scope, prefix, created_at, expires_at, replaces}. Without p_expires_days it has no end. Raises OPS_011, and OPS_015 when a live key has the label.';

create or replace function public.ops_check_key(p_hash text) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_key public.ops_api_keys;
begin
  select * into v_key from public.ops_api_keys k where k.key_hash = p_hash and k.revoked_at is null and (k.expires_at is null or k.expires_at > v_now);
  if v_key.id is null then
    return null;
  end if;
  -- Whoever comes first in a minute writes; the others neither wait nor write.
  if coalesce(v_key.last_used_at, '-infinity') < v_now - interval '1 minute' then
    update public.ops_api_keys k set last_used_at = v_now
    where k.id = (select o.id from public.ops_api_keys o where o.id = v_key.id and coalesce(o.last_used_at, '-infinity') < v_now - interval '1 minute' for update skip locked);
  end if;
  return jsonb_build_object('id', v_key.id, 'label', v_key.label, 'scope', v_key.scope, 'lives_seconds', extract(epoch from v_key.expires_at - v_now));
end $$;
comment on function public.ops_check_key(text) is
  'Whose key has this SHA-256 (hex): {id, label, scope, lives_seconds}, or null when none has, or it is expired or revoked. lives_seconds is null for a key without an end. Notes the use at most once a minute.';

create or replace function public.ops_rotate_key(p_key text, p_prefix text, p_hash text, p_grace_hours numeric default 24, p_actor text default null)
returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_old public.ops_api_keys;
  v_id uuid;
begin
  if coalesce(p_grace_hours, -1) not between 0 and 720 then
    perform public.ops_raise('OPS_011', 'the old key goes on for 0 to 720 hours', null, 'Leave it out for a day.');
  end if;
  select * into v_old from public.ops_api_keys k
  where (lower(k.label) = lower(p_key) or k.prefix = p_key) and k.revoked_at is null and k.replaced_at is null and (k.expires_at is null or k.expires_at > v_now)
  for update;
  if v_old.id is null then
    perform public.ops_raise('OPS_012', format('there is no live key with the label or prefix %s', left(p_key, 100)), null, '`ops-loop keys list` shows them. OPS_API_KEY is changed where it is set.');
  end if;
  perform public.ops_check_new_key(v_old.label, v_old.scope, p_prefix, p_hash);
  update public.ops_api_keys k set replaced_at = v_now, expires_at = least(k.expires_at, v_now + p_grace_hours * interval '1 hour') where k.id = v_old.id;
  insert into public.ops_api_keys (prefix, key_hash, scope, label, created_by, created_at, expires_at, rotated_from)
  values (p_prefix, p_hash, v_old.scope, v_old.label, left(coalesce(p_actor, session_user), 200), v_now, v_now + (v_old.expires_at - v_old.created_at), v_old.id)
  returning id into v_id;
  return public.ops_key_document(v_id);
end $$;
comment on function public.ops_rotate_key(text, text, text, numeric, text) is
  'Records a new key in the place of a live one, named by label or prefix: same label, scope and length of life. The old one opens for p_grace_hours more (0: not at all). Answers as ops_create_key; replaces is {prefix, expires_at} of the old one. Raises OPS_011, OPS_012.';

create or replace function public.ops_revoke_key(p_key text, p_actor text default null, p_reason text default null)
returns table (label text, scope text, prefix text) language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
begin
  return query
  update public.ops_api_keys k set revoked_at = v_now, revoked_by = left(coalesce(p_actor, session_user), 200), revoke_reason = left(p_reason, 2000)
  where (lower(k.label) = lower(p_key) or k.prefix = p_key) and k.revoked_at is null and (k.expires_at is null or k.expires_at > v_now)
  returning k.label, k.scope, k.prefix;
  if not found then
    perform public.ops_raise('OPS_012', format('there is no key with the label or prefix %s that could be revoked', left(p_key, 100)), null,
      '`ops-loop keys list --all` shows what became of it. OPS_API_KEY is changed where it is set.');
  end if;
end $$;
comment on function public.ops_revoke_key(text, text, text) is
  'Revokes a key by its label (with the one it replaced) or by its prefix: a row for each. Its sessions end with it. Raises OPS_012.';

create or replace function public.ops_revoke_keys(p_actor text default null, p_reason text default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_keys integer;
  v_sessions integer;
begin
  update public.ops_api_keys k set revoked_at = v_now, revoked_by = left(coalesce(p_actor, session_user), 200), revoke_reason = left(p_reason, 2000)
  where k.revoked_at is null and (k.expires_at is null or k.expires_at > v_now);
  get diagnostics v_keys = row_count;
  update public.ops_sessions s set ended_at = v_now where s.ended_at is null and s.expires_at > v_now;
  get diagnostics v_sessions = row_count;
  return jsonb_build_object('keys', v_keys, 'sessions', v_sessions);
end $$;
comment on function public.ops_revoke_keys(text, text) is 'Revokes every key and ends every session of the page: {keys, sessions}. Keys of the environment go on.';

create or replace function public.ops_list_keys(p_all boolean default false)
returns table (place text, id uuid, label text, scope text, prefix text, state text, age_days numeric, created_by text, created_at timestamptz,
  expires_at timestamptz, last_used_at timestamptz, rotated_from uuid, revoked_at timestamptz, revoked_by text, revoke_reason text)
language plpgsql stable set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
begin
  return query
  select l.* from (
    select 'environment', null::uuid, s.name, case s.name when 'OPS_API_KEY' then 'operator' when 'CRON_SECRET' then 'heartbeat' else 'webhook' end, null::text,
      case when row_number() over (partition by s.name order by s.last_seen_at desc, s.first_seen_at desc) = 1 and s.last_seen_at > v_now - interval '30 days' then 'live' else 'replaced' end as state,
      round(extract(epoch from v_now - s.first_seen_at) / 86400, 1), null::text, s.first_seen_at as since, null::timestamptz, s.last_seen_at, null::uuid, null::timestamptz, null::text, null::text
    from public.ops_seen_secrets s
    union all
    select 'database', k.id, k.label, k.scope, k.prefix, public.ops_key_state(k, v_now), round(extract(epoch from v_now - k.created_at) / 86400, 1), k.created_by, k.created_at,
      k.expires_at, k.last_used_at, k.rotated_from, k.revoked_at, k.revoked_by, k.revoke_reason
    from public.ops_api_keys k) l (place, id, label, scope, prefix, state, age_days, created_by, since, expires_at, last_used_at, rotated_from, revoked_at, revoked_by, revoke_reason)
  where p_all or l.state = 'live' or l.place = 'database' and l.state = 'replaced'
  order by l.place desc, lower(l.label), l.since desc;
end $$;
comment on function public.ops_list_keys(boolean) is
  'Keys that open something, with their age in days: those of the environment (by when an instance first had them; last_used_at is when one last said so) and those of the database. With p_all also what was replaced, expired or revoked.';

create or replace function public.ops_key_problems() returns table (severe boolean, problem text)
language plpgsql stable set search_path = '' set timezone = 'UTC' as $$
begin
  return query
  select k.age_days >= 90, case k.place
      when 'environment' then format('%s is in use for %s days, the bound is 90: set a new one; docs/keys.md says how.', k.label, floor(k.age_days))
      else format('The %s key %s is %s days old, the bound is 90: `ops-loop keys rotate %s` makes a new one.', k.scope, k.label, floor(k.age_days), k.label) end
  from public.ops_list_keys() k where k.state = 'live' and k.age_days >= 83
  union all
  select false, format('The %s key %s ends at %s: `ops-loop keys rotate %s` makes a new one.', k.scope, k.label, to_char(k.expires_at, 'YYYY-MM-DD HH24:MI "UTC"'), k.label)
  from public.ops_list_keys() k where k.state = 'live' and k.expires_at < public.ops_clock() + interval '7 days';
end $$;
comment on function public.ops_key_problems() is
  'Keys that are too old or soon at their end, in sentences: from 83 days on, severe from 90 (a rotation each quarter, a week to do it in), and 7 days before an end.';

-- Secrets of the environment ------------------------------------------------------------------------------------

create or replace function public.ops_see_secrets(p_secrets jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
begin
  insert into public.ops_seen_secrets as s (name, fingerprint, first_seen_at, last_seen_at)
  select g.key, g.value, v_now, v_now from jsonb_each_text(p_secrets) g order by g.key
  on conflict (name, fingerprint) do update set last_seen_at = v_now where s.last_seen_at < v_now - interval '1 hour';
  return (
    select coalesce(jsonb_object_agg(s.name, greatest(extract(epoch from v_now - s.first_seen_at), 0)), '{}')
    from public.ops_seen_secrets s where p_secrets ->> s.name = s.fingerprint);
end $$;
comment on function public.ops_see_secrets(jsonb) is
  'Notes which secrets an instance has, {name: fingerprint}, and answers {name: seconds since any instance first had it}.';

-- Sessions ------------------------------------------------------------------------------------------------------

create or replace function public.ops_open_session(p_sign_in_hash text, p_session_hash text, p_scope text, p_label text, p_key_id uuid default null, p_hours numeric default 12)
returns jsonb language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_ends timestamptz := v_now + p_hours * interval '1 hour';
  v_opened boolean;
begin
  -- A row outlives every link, so that a link stays spent.
  delete from public.ops_sessions s where s.session_hash in (
    select o.session_hash from public.ops_sessions o where o.expires_at < v_now - interval '7 days' order by o.expires_at limit 20 for update skip locked);
  insert into public.ops_sessions (session_hash, sign_in_hash, scope, label, key_id, created_at, expires_at)
  select p_session_hash, p_sign_in_hash, p_scope, p_label, p_key_id, v_now, v_ends
  where p_key_id is null or exists (select from public.ops_api_keys k where k.id = p_key_id and public.ops_key_state(k, v_now) in ('live', 'replaced'))
  on conflict do nothing;
  v_opened := found;
  return jsonb_build_object('opened', v_opened, 'expires_at', case when v_opened then v_ends end);
end $$;
comment on function public.ops_open_session(text, text, text, text, uuid, numeric) is
  'Opens one session for a sign-in link, by SHA-256 (hex) of its token and of the cookie''s secret: {opened, expires_at}. opened is false when the link was used before, or the key that made it opens nothing any more.';

create or replace function public.ops_check_session(p_hash text) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
begin
  return (
    select jsonb_build_object('label', s.label, 'scope', s.scope, 'key_id', s.key_id,
      'lives_seconds', extract(epoch from least(s.expires_at, k.expires_at) - v_now))
    from public.ops_sessions s left join public.ops_api_keys k on k.id = s.key_id
    where s.session_hash = p_hash and s.ended_at is null and s.expires_at > v_now
      and (s.key_id is null or k.id is not null and public.ops_key_state(k, v_now) in ('live', 'replaced')));
end $$;
comment on function public.ops_check_session(text) is
  'Whose session has this SHA-256 (hex): {label, scope, key_id, lives_seconds}; null when it ended, or its key did.';

create or replace function public.ops_end_session(p_hash text) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
begin
  update public.ops_sessions s set ended_at = v_now where s.session_hash = p_hash and s.ended_at is null and s.expires_at > v_now;
  return jsonb_build_object('ended', found);
end $$;
comment on function public.ops_end_session(text) is 'Signs a session out: {ended}, false when it had ended before.';

-- Rates ---------------------------------------------------------------------------------------------------------

create or replace function public.ops_take_rate(p_bucket text, p_limit integer, p_window_seconds numeric) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_used integer;
  v_ends timestamptz;
begin
  insert into public.ops_rates as r (bucket, used, ends_at)
  select p_bucket, 1, v_now + p_window_seconds * interval '1 second' where p_limit > 0
  on conflict (bucket) do update set
    used = case when r.ends_at <= v_now then 1 else r.used + 1 end,
    ends_at = case when r.ends_at <= v_now then excluded.ends_at else r.ends_at end
  where r.ends_at <= v_now or r.used < p_limit
  returning r.used, r.ends_at into v_used, v_ends;
  -- Each window that opens takes old ones away, so the table stays as large as what is in use.
  if v_used = 1 then
    delete from public.ops_rates r where r.bucket in (
      select o.bucket from public.ops_rates o where o.ends_at < v_now - interval '1 minute' order by o.ends_at limit 10 for update skip locked);
  elsif v_used is null then
    select r.ends_at into v_ends from public.ops_rates r where r.bucket = p_bucket;
  end if;
  return jsonb_build_object('allowed', v_used is not null, 'left', p_limit - coalesce(v_used, p_limit),
    'retry_after_seconds', case when v_used is null then greatest(ceil(coalesce(extract(epoch from v_ends - v_now), p_window_seconds)), 1) else 0 end);
end $$;
comment on function public.ops_take_rate(text, integer, numeric) is
  'Takes one of p_limit per window from a bucket: {allowed, left, retry_after_seconds}. One upsert, so exactly p_limit are allowed however many ask at once; a window begins with its first one.';

insert into public.ops_migrations (version, name) values ('0013', 'ops_keys') on conflict do nothing;
