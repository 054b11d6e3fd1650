-- Takes back 0018: the lists of the control plane. They only read, so nothing else changes.
-- 0022 names these functions in its list of grants and passes over those that are missing.
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'ops_page_cursor', 'ops_list_missions', 'ops_get_mission', 'ops_get_step', 'ops_list_waiting', 'ops_list_policies', 'ops_list_changes')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
delete from public.ops_migrations where version = '0018';
