-- Takes back 0017: nothing can be simulated any more; no row is touched.
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'ops_draft_value', 'ops_check_drafts', 'ops_simulated_bounds', 'ops_counters_before',
      'ops_simulated_decisions', 'ops_simulated_runs', 'ops_simulated_proposals', 'ops_simulated_side', 'ops_simulated_events',
      'ops_simulated_differences', 'ops_tally', 'ops_simulate', 'ops_apply_policies')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
delete from public.ops_migrations where version = '0017';
