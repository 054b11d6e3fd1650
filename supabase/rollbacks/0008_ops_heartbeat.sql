-- Takes back 0008: its triggers and functions. Data stays.
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'ops_run_phase', 'ops_sweep', 'ops_failing', 'ops_check_breakers', 'ops_phases', 'ops_heartbeat',
      'ops_beat_counts', 'ops_record_beat', 'ops_record_beat_failure')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
delete from public.ops_migrations where version = '0008';
