-- Takes 0016 back: every link stops working and is forgotten, and steps vote no more. Votes that were cast stay.
-- 0022 names these functions in its list of grants and passes over those that are missing.
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'ops_vote_as_step', 'ops_has_proposed', 'ops_use_link', 'ops_look_at_link', 'ops_say_link', 'ops_link_state', 'ops_make_links_as_step',
      'ops_live_step', 'ops_make_approval_links', 'ops_store_links', 'ops_link_hash')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
drop table if exists public.ops_approval_links;
delete from public.ops_migrations where version = '0016';
