-- Takes back 0002: its triggers and functions. Data stays.
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'ops_raise', 'ops_policy_value', 'ops_policy_versions', 'ops_engine_begin', 'ops_engine_end', 'ops_wake',
      'ops_raise_flag', 'ops_integer', 'ops_take_turn', 'ops_backoff_seconds', 'ops_roll', 'ops_risk_rank', 'ops_is_transient',
      'ops_can_match')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
delete from public.ops_migrations where version = '0002';
