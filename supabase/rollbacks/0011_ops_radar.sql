-- Takes back 0011: its triggers and functions. Data stays.
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'ops_radar_strength', 'ops_radar_score', 'ops_radar_rank', 'ops_radar_key', 'ops_radar_moves', 'ops_check_radar_move', 'ops_radar_written',
      'ops_radar_told', 'ops_require_step', 'ops_radar_once', 'ops_radar_problem', 'ops_radar_mention', 'ops_radar_latest', 'ops_radar_join',
      'ops_radar_lock', 'ops_radar_hear', 'ops_radar_add', 'ops_radar_hold', 'ops_check_radar_stage', 'ops_radar_move', 'ops_radar_weigh',
      'ops_radar_merge', 'ops_radar_cursor', 'ops_radar_list', 'ops_radar_top', 'ops_radar_get', 'ops_check_radar')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
delete from public.ops_migrations where version = '0011';
