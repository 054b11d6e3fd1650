-- Takes back 0014: its functions, and the place that the beats' walk had come to. What is deleted stays deleted.
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'ops_retention_cutoffs', 'ops_mission_is_asked_for', 'ops_archive_missions', 'ops_archive_proposals', 'ops_archive_events', 'ops_archive_attempts',
      'ops_archive_letters', 'ops_archive_heartbeats', 'ops_archive_slots', 'ops_archive_orphans', 'ops_archive_chunk', 'ops_archive_walk',
      'ops_archive', 'ops_archive_some')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
do $$ begin
  if to_regclass('public.ops_limits') is not null then
    delete from public.ops_limits l where l.key = 'archive';
  end if;
end $$;
delete from public.ops_migrations where version = '0014';
