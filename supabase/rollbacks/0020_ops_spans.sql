-- Takes back 0020: spans and the cursor of what has been taken. The rows they are read from stay as they are.
-- 0022 names these functions in its list of grants and passes over those that are missing.
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'ops_valid_traceparent', 'ops_trace_id', 'ops_span_id', 'ops_attempt_span_id', 'ops_span', 'ops_decided_spans', 'ops_proposal_spans', 'ops_mission_spans',
      'ops_step_spans', 'ops_ended_spans', 'ops_span_slice', 'ops_all_decided_upto', 'ops_move_span_mark', 'ops_take_spans', 'ops_trace_contexts')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
drop table if exists public.ops_span_cursor;
delete from public.ops_migrations where version = '0020';
