-- 0021 Realtime: a dashboard that holds a service key may watch rows change, where Supabase's publication is.
--
-- Why so: Realtime sends what the publication supabase_realtime holds. The tables a dashboard shows are added to it, and
-- no others: attempts, workers, limits and wake-ups change several times a step and say nothing that steps do not. Who
-- gets a row is row-level security's to say, for each subscriber: nothing for anon and authenticated, everything for
-- service_role. Replica identity stays the primary key, so an update sends new values and, of old ones, the key. Writers
-- pay nothing: with wal_level = logical every table is logged for decoding, published or not; the decoding is Realtime's.
-- Without the publication nothing happens here; `select ops_publish_changes()` adds the tables once it is there.
-- Locks: a moment on each table, which reads and writes pass. Undo: rollbacks/0021_ops_realtime.sql.

create or replace function public.ops_publish_changes() returns text[]
language plpgsql set search_path = '' as $$
declare
  v_table text;
  v_added text[] := '{}';
begin
  if not exists (select from pg_catalog.pg_publication p where p.pubname = 'supabase_realtime') then
    return v_added;
  end if;
  foreach v_table in array array['ops_agent_events', 'ops_agent_reactions', 'ops_demand_radar', 'ops_heartbeats', 'ops_mission_proposals', 'ops_mission_steps',
    'ops_missions', 'ops_policy', 'ops_step_dead_letters']
  loop
    -- The view also knows of publications for a whole schema or for all tables, to which no table can be added.
    if not exists (select from pg_catalog.pg_publication_tables t where t.pubname = 'supabase_realtime' and t.schemaname = 'public' and t.tablename = v_table) then
      execute format('alter publication supabase_realtime add table public.%I', v_table);
      v_added := v_added || v_table;
    end if;
  end loop;
  return v_added;
end $$;
comment on function public.ops_publish_changes() is
  'Adds what a dashboard shows to the publication supabase_realtime, and answers which tables were new; without that publication none. Run by the owner of both. A second call adds nothing.';

do $$
begin
  perform public.ops_publish_changes();
exception when insufficient_privilege then
  raise notice 'the publication supabase_realtime belongs to another role: let that role run "select public.ops_publish_changes()" if changes are to be watched.';
end $$;

insert into public.ops_migrations (version, name) values ('0021', 'ops_realtime') on conflict do nothing;
