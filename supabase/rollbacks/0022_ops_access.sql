-- Takes back 0022: no role of Ops-Loop may call or read anything any more; the owner still may. The login role
-- ops_worker belongs to the whole cluster and may serve other databases: drop it by hand when none needs it.
do $$
declare
  v_object record;
  v_roles text := (select string_agg(quote_ident(r.rolname), ', ') from pg_catalog.pg_roles r where r.rolname in ('service_role', 'ops_worker'));
begin
  for v_object in select p.oid::regprocedure as name from pg_catalog.pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname like 'ops\_%' loop
    execute format('alter function %s security invoker', v_object.name);
    if v_roles is not null then
      execute format('revoke all on function %s from %s', v_object.name, v_roles);
    end if;
  end loop;
  for v_object in select c.oid::regclass as name from pg_catalog.pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relname like 'ops\_%' and c.relkind in ('r', 'p') loop
    execute format('drop policy if exists ops_owner on %s', v_object.name);
    execute format('alter table %s no force row level security', v_object.name);
    if v_roles is not null then
      execute format('revoke all on %s from %s', v_object.name, v_roles);
    end if;
  end loop;
end $$;
drop function if exists public.ops_assert_grants(), public.ops_assert_table(regclass, text[]), public.ops_assert_function(regprocedure, text[], text[]), public.ops_rights(aclitem[], text[]), public.ops_grant_list(), public.ops_schema_version();
delete from public.ops_migrations where version = '0022';
