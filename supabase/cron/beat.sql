-- A heartbeat every minute by pg_cron alone: no endpoint, no secret, nothing outside of the database. Run by the owner of
-- the tables, in the database that pg_cron serves; a second run replaces the job. Take it back with
-- `select cron.unschedule('ops-loop-beat')`.
--
-- Why so: each round is a transaction of its own, as if it came over HTTP, so no lock outlives it; the loop goes on while
-- work is left, for five seconds at most. A round that fails as a whole is recorded in the next transaction. pg_cron
-- runs one instance of a job at a time and never two. All rounds of a beat share one row of ops_heartbeats, source pg_cron.
--
-- What SQL cannot do is compute the slots of cron expressions in time zones: the policy `schedules` needs a beat from
-- TypeScript (endpoint, worker, `ops-loop heartbeat`) at least once a day. See docs/supabase.md.

create extension if not exists pg_cron;

select cron.schedule('ops-loop-beat', '* * * * *', $job$
do $beat$
declare
  v_end timestamptz := clock_timestamp() + interval '5 seconds';
  v_beat uuid := gen_random_uuid();
  v_round jsonb;
  v_error text;
begin
  loop
    begin
      v_round := public.ops_heartbeat(p_source => 'pg_cron', p_beat_id => v_beat);
    exception when others then
      v_error := sqlstate || ' ' || sqlerrm;
    end;
    commit;
    exit when v_error is not null or not (v_round ->> 'more')::boolean or clock_timestamp() > v_end;
  end loop;
  if v_error is not null then
    perform public.ops_record_beat_failure(v_beat, 'pg_cron', v_error);
  end if;
end $beat$;
$job$);
