-- 0022 Who may do what: row-level security, grants, and the least-privilege login role of workers.
--
-- Why so: Supabase projects differ in what they grant by default, so every grant is taken back and given again here,
-- and `ops-loop migrate` does it once more after every run. Tables are open to nobody but their owner; the functions
-- that workers, ingest and the API need run with the owner's rights (definer), the rest with the caller's.
-- Locks: short ones on the catalog. Undo: rollbacks/0022_ops_access.sql.

do $$
begin
  if not exists (select from pg_roles where rolname = 'ops_worker') then
    create role ops_worker login nosuperuser nocreatedb nocreaterole noinherit nobypassrls connection limit 50;
  end if;
exception
  when insufficient_privilege then
    raise notice 'role ops_worker was not created: this role may not create roles. Workers then connect as the owner.';
  when duplicate_object or unique_violation then null;
end $$;

create or replace function public.ops_grant_list() returns table (function_name text, roles text[])
language sql immutable set search_path = '' as $$
  values
    ('ops_emit_events', array['service_role']), ('ops_emit_event', array['service_role']), ('ops_replay_events', array['service_role']),
    ('ops_heartbeat', array['service_role', 'ops_worker']), ('ops_record_beat_failure', array['service_role', 'ops_worker']),
    ('ops_recover_expired_leases', array['service_role', 'ops_worker']), ('ops_recover_stale_steps', array['service_role']),
    ('ops_regate_proposals', array['service_role']),
    ('ops_create_proposal', array['service_role']), ('ops_create_proposals', array['service_role']), ('ops_gate_proposal', array['service_role']),
    ('ops_approve_proposal', array['service_role']), ('ops_reject_proposal', array['service_role']), ('ops_revise_proposal', array['service_role']),
    ('ops_cast_vote', array['service_role']), ('ops_list_proposals', array['service_role']),
    ('ops_make_approval_links', array['service_role']), ('ops_look_at_link', array['service_role']), ('ops_use_link', array['service_role']),
    ('ops_make_links_as_step', array['service_role', 'ops_worker']), ('ops_vote_as_step', array['service_role', 'ops_worker']),
    ('ops_register_worker', array['service_role', 'ops_worker']), ('ops_unregister_worker', array['service_role', 'ops_worker']),
    ('ops_worker_config', array['service_role', 'ops_worker']), ('ops_claim_steps', array['service_role', 'ops_worker']),
    ('ops_worker_idle', array['service_role', 'ops_worker']), ('ops_renew_leases', array['service_role', 'ops_worker']),
    ('ops_complete_steps', array['service_role', 'ops_worker']), ('ops_fail_steps', array['service_role', 'ops_worker']),
    ('ops_release_steps', array['service_role', 'ops_worker']),
    ('ops_retry_step', array['service_role']), ('ops_retry_mission', array['service_role']), ('ops_cancel_mission', array['service_role']), ('ops_cancel_step', array['service_role']),
    ('ops_retry_reaction', array['service_role']), ('ops_list_dead_letters', array['service_role']),
    ('ops_requeue_dead_letter', array['service_role']), ('ops_requeue_dead_letters', array['service_role']), ('ops_discard_dead_letter', array['service_role']),
    ('ops_radar_add', array['service_role', 'ops_worker']), ('ops_radar_list', array['service_role', 'ops_worker']),
    ('ops_radar_top', array['service_role', 'ops_worker']), ('ops_radar_get', array['service_role', 'ops_worker']),
    ('ops_radar_move', array['service_role', 'ops_worker']), ('ops_radar_weigh', array['service_role', 'ops_worker']), ('ops_radar_merge', array['service_role']),
    ('ops_set_policy', array['service_role']), ('ops_record_refusal', array['service_role']), ('ops_rollback_policy', array['service_role']), ('ops_validate_policy', array['service_role']),
    ('ops_get_policy', array['service_role']), ('ops_list_policy_versions', array['service_role']),
    ('ops_pause', array['service_role']), ('ops_resume', array['service_role']),
    ('ops_why', array['service_role']), ('ops_explain_event', array['service_role']), ('ops_explain_proposal', array['service_role']),
    ('ops_explain_step', array['service_role']), ('ops_explain_mission', array['service_role']), ('ops_trace', array['service_role']),
    ('ops_list_budgets', array['service_role']), ('ops_simulate', array['service_role']), ('ops_apply_policies', array['service_role']), ('ops_list_schedules', array['service_role']),
    ('ops_schedules_to_plan', array['service_role', 'ops_worker']), ('ops_plan_slots', array['service_role', 'ops_worker']), ('ops_status', array['service_role']), ('ops_health', array['service_role', 'ops_worker']), ('ops_check_invariants', array['service_role']), ('ops_archive', array['service_role']),
    ('ops_create_key', array['service_role']), ('ops_check_key', array['service_role']), ('ops_rotate_key', array['service_role']), ('ops_revoke_key', array['service_role']),
    ('ops_revoke_keys', array['service_role']), ('ops_list_keys', array['service_role']), ('ops_key_problems', array['service_role']), ('ops_see_secrets', array['service_role']),
    ('ops_open_session', array['service_role']), ('ops_check_session', array['service_role']), ('ops_end_session', array['service_role']), ('ops_take_rate', array['service_role']),
    ('ops_report_llm', array['service_role', 'ops_worker']), ('ops_llm_health', array['service_role']), ('ops_reset_llm', array['service_role']),
    ('ops_list_missions', array['service_role']), ('ops_get_mission', array['service_role']), ('ops_get_step', array['service_role']),
    ('ops_list_waiting', array['service_role']), ('ops_list_policies', array['service_role']), ('ops_list_changes', array['service_role']),
    ('ops_take_spans', array['service_role', 'ops_worker']), ('ops_trace_contexts', array['service_role', 'ops_worker']),
    ('ops_alerts', array['service_role']), ('ops_metrics', array['service_role']), ('ops_record_backup', array['service_role']),
    ('ops_schema_version', array['service_role', 'ops_worker'])
$$;
comment on function public.ops_grant_list() is 'Which functions the roles of Ops-Loop may call. These run as definer; every other function is for the owner alone.';

create or replace function public.ops_schema_version() returns text
language sql stable set search_path = '' as $$ select max(m.version) from public.ops_migrations m $$;
comment on function public.ops_schema_version() is 'The latest migration this database has; code refuses a version it does not know.';

create or replace function public.ops_rights(p_acl aclitem[], p_roles text[]) returns text[]
language sql stable set search_path = '' as $$
  select array(
    select coalesce(r.rolname::text, 'public') || ' ' || lower(a.privilege_type) || case when a.is_grantable then ' with grant option' else '' end
    from pg_catalog.aclexplode(p_acl) a left join pg_catalog.pg_roles r on r.oid = a.grantee
    where a.grantee = 0 or r.rolname = any (p_roles) order by 1)
$$;
comment on function public.ops_rights(aclitem[], text[]) is 'What these roles and everybody (public) are granted by a list of rights: such as {service_role select}, in order.';

create or replace function public.ops_assert_table(p_table regclass, p_roles text[]) returns void
language plpgsql set search_path = '' as $$
declare
  v_me oid := (select r.oid from pg_catalog.pg_roles r where r.rolname = current_user);
  v_class pg_catalog.pg_class;
  v_due text[];
begin
  select * into v_class from pg_catalog.pg_class c where c.oid = p_table;
  v_due := case when v_class.relkind <> 'S' and 'service_role' = any (p_roles) then array['service_role select'] else '{}' end;
  if public.ops_rights(v_class.relacl, p_roles) <> v_due then
    execute format('revoke all on %s from %s', p_table, array_to_string('{public}'::text[] || p_roles, ', '));
    if v_due <> '{}' then
      execute format('grant select on %s to service_role', p_table);
    end if;
  end if;
  if v_class.relkind not in ('r', 'p') then
    return;
  end if;
  if not (v_class.relrowsecurity and v_class.relforcerowsecurity) then
    execute format('alter table %s enable row level security, force row level security', p_table);
  end if;
  if not exists (select from pg_catalog.pg_policy y where y.polrelid = p_table and y.polname = 'ops_owner' and y.polcmd = '*' and y.polpermissive and y.polroles = array[v_me]
    and pg_catalog.pg_get_expr(y.polqual, y.polrelid) = 'true' and pg_catalog.pg_get_expr(y.polwithcheck, y.polrelid) = 'true') then
    execute format('drop policy if exists ops_owner on %s', p_table);
    execute format('create policy ops_owner on %s for all to %I using (true) with check (true)', p_table, current_user);
  end if;
end $$;
comment on function public.ops_assert_table(regclass, text[]) is
  'Row-level security and grants of one table, view or sequence as they are due. Nothing is written, and no lock taken, where they are.';

create or replace function public.ops_assert_function(p_function regprocedure, p_callers text[], p_roles text[]) returns void
language plpgsql set search_path = '' as $$
declare
  v_proc pg_catalog.pg_proc;
  v_callers text[] := array(select r from unnest(p_callers) r where r = any (p_roles) order by 1);
  v_definer boolean;
begin
  select * into v_proc from pg_catalog.pg_proc p where p.oid = p_function;
  v_definer := p_callers is not null or v_proc.prorettype = 'pg_catalog.trigger'::regtype;
  if v_proc.prosecdef <> v_definer then
    execute format('alter function %s security %s', p_function, case when v_definer then 'definer' else 'invoker' end);
  end if;
  -- Where there is no list, everybody may call it.
  if v_proc.proacl is null or public.ops_rights(v_proc.proacl, p_roles) <> array(select r || ' execute' from unnest(v_callers) r order by 1) then
    execute format('revoke all on function %s from %s', p_function, array_to_string('{public}'::text[] || p_roles, ', '));
    if v_callers <> '{}' then
      execute format('grant execute on function %s to %s', p_function, array_to_string(v_callers, ', '));
    end if;
  end if;
end $$;
comment on function public.ops_assert_function(regprocedure, text[], text[]) is
  'Grants of one function, and whose rights it runs with, as they are due. Nothing is written where they are.';

create or replace function public.ops_assert_grants() returns void
language plpgsql set search_path = '' as $$
declare
  v_roles text[] := array(select r.rolname::text from pg_catalog.pg_roles r where r.rolname in ('anon', 'authenticated', 'service_role', 'ops_worker'));
  v_users text[] := array(select r from unnest(v_roles) r where r in ('service_role', 'ops_worker'));
begin
  perform public.ops_assert_table(c.oid::regclass, v_roles) from pg_catalog.pg_class c
  where c.relnamespace = 'public'::regnamespace and c.relname like 'ops\_%' and c.relkind in ('r', 'p', 'v', 'S') and pg_catalog.pg_get_userbyid(c.relowner) = current_user;
  perform public.ops_assert_function(p.oid::regprocedure, g.roles, v_roles)
  from pg_catalog.pg_proc p left join public.ops_grant_list() g on g.function_name = p.proname
  where p.pronamespace = 'public'::regnamespace and p.proname like 'ops\_%' and pg_catalog.pg_get_userbyid(p.proowner) = current_user;
  if not array(select u || ' usage' from unnest(v_users || current_user::text) u) <@ public.ops_rights((
    select n.nspacl from pg_catalog.pg_namespace n where n.nspname = 'public'), v_users || current_user::text) then
    execute format('grant usage on schema public to %s', (select string_agg(quote_ident(u), ', ') from unnest(v_users || current_user::text) u));
  end if;
end $$;
comment on function public.ops_assert_grants() is
  'Makes row-level security, grants and the definer/invoker split what ops_grant_list says, whatever they were; ends alike under both of Supabase''s default-grant regimes. What is as it should be is left alone, so that a loop at work is not waited for. Run by the owner.';

-- Why each of them is a definer, where the catalog''s reader looks for it.
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name, obj_description(p.oid, 'pg_proc') as comment, t.oid is not null as is_trigger
    from pg_proc p left join public.ops_grant_list() g on g.function_name = p.proname left join pg_type t on t.oid = p.prorettype and t.typname = 'trigger'
    where p.pronamespace = 'public'::regnamespace and p.proname like 'ops\_%' and (g.roles is not null or t.oid is not null)
  loop
    execute format('comment on function %s is %L', v_function.name, regexp_replace(coalesce(v_function.comment, ''), ' Definer: .*$', '')
      || case when v_function.is_trigger then ' Definer: it must hold for every writer, whatever that role may read.'
        else ' Definer: its callers hold no rights on tables.' end);
  end loop;
end $$;

do $$ begin
  if exists (select from pg_roles where rolname = 'ops_worker'
      and not coalesce(rolconfig, '{}') @> array['statement_timeout=30s', 'lock_timeout=5s', 'idle_in_transaction_session_timeout=15s'])
    and (select rolsuper or rolcreaterole from pg_roles where rolname = current_user) then
    alter role ops_worker set statement_timeout = '30s';
    alter role ops_worker set lock_timeout = '5s';
    alter role ops_worker set idle_in_transaction_session_timeout = '15s';
  end if;
-- internal_error: "tuple concurrently updated". The role is the whole server's, and another database's migration sets the same now.
exception when insufficient_privilege or object_in_use or internal_error then null;
end $$;

select public.ops_assert_grants();
insert into public.ops_migrations (version, name) values ('0022', 'ops_access') on conflict do nothing;
