-- Takes back 0013: every key that callers hold, with the record of who had them, every session and every rate.
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'ops_key_state', 'ops_key_document', 'ops_check_new_key', 'ops_create_key', 'ops_check_key', 'ops_rotate_key',
      'ops_revoke_key', 'ops_revoke_keys', 'ops_list_keys', 'ops_key_problems', 'ops_see_secrets',
      'ops_open_session', 'ops_check_session', 'ops_end_session', 'ops_take_rate')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
drop table if exists public.ops_rates, public.ops_sessions, public.ops_seen_secrets, public.ops_api_keys;
delete from public.ops_migrations where version = '0013';
