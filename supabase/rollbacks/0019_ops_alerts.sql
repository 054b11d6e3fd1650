-- Takes back 0019: alerts, metrics, and the record of backups. Events that were raised stay; no further ones come.
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'ops_record_backup', 'ops_alert_rules', 'ops_alert_problems', 'ops_say_value', 'ops_recent_missions', 'ops_recent_attempts', 'ops_measure_work', 'ops_measure_beats',
      'ops_measure_queue', 'ops_measure', 'ops_judge_alerts', 'ops_say_alert', 'ops_alerts', 'ops_move_alerts', 'ops_raise_alerts',
      'ops_metric_list', 'ops_metrics_of_counters', 'ops_metrics_of_events', 'ops_metrics_of_steps', 'ops_metrics_of_work', 'ops_metrics_of_means',
      'ops_metrics_of_alerts', 'ops_metrics')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
drop table if exists public.ops_alert_states;
drop table if exists public.ops_backups;
drop index if exists public.ops_step_dead_letters_time;
delete from public.ops_migrations where version = '0019';
