-- Takes back 0015: no event comes by the clock any more, and the record of slots is gone.
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'ops_enabled_schedules', 'ops_schedules_to_plan', 'ops_plan_slots', 'ops_fire_schedules', 'ops_list_schedules',
      'ops_schedules_changed')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
drop table if exists public.ops_schedule_plans, public.ops_schedule_slots;
delete from public.ops_migrations where version = '0015';
