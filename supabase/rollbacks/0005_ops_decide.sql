-- Takes back 0005: its triggers and functions. Data stays.
drop trigger if exists ops_events_wake on public.ops_agent_events;
drop trigger if exists ops_proposals_wake on public.ops_mission_proposals;
drop trigger if exists ops_event_reopened on public.ops_agent_events;
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'ops_emit_events', 'ops_event_problem', 'ops_emit_event', 'ops_raise_event', 'ops_raise_mission_event',
      'ops_raise_proposal_event', 'ops_events_wake', 'ops_proposals_wake', 'ops_event_reopened', 'ops_replay_events',
      'ops_event_document', 'ops_candidates', 'ops_evaluate', 'ops_bound_keys', 'ops_loop_bound',
      'ops_fan_out', 'ops_weigh_bounds', 'ops_ask_bounds', 'ops_take_bounds', 'ops_apply_bounds', 'ops_render_reaction', 'ops_params_problem',
      'ops_decide_batch', 'ops_decide_one', 'ops_type_weight', 'ops_take_batch', 'ops_decide_taken',
      'ops_decide_events')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
delete from public.ops_migrations where version = '0005';
