-- Takes back 0021: Realtime sends no change of these tables any more. Dashboards that watch fall silent; nothing else.
do $$
declare
  v_table regclass;
begin
  for v_table in select r.prrelid::regclass from pg_catalog.pg_publication_rel r join pg_catalog.pg_publication p on p.oid = r.prpubid
    join pg_catalog.pg_class c on c.oid = r.prrelid
    where p.pubname = 'supabase_realtime' and c.relnamespace = 'public'::regnamespace and c.relname in ('ops_agent_events', 'ops_agent_reactions', 'ops_demand_radar',
      'ops_heartbeats', 'ops_mission_proposals', 'ops_mission_steps', 'ops_missions', 'ops_policy', 'ops_step_dead_letters')
  loop
    execute format('alter publication supabase_realtime drop table %s', v_table);
  end loop;
end $$;
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in ('ops_publish_changes')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
delete from public.ops_migrations where version = '0021';
