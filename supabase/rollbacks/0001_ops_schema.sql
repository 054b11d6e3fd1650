-- Takes back 0001: drops every table of Ops-Loop with what is in it. Run after the rollbacks of later migrations.
drop table if exists
  public.ops_demand_radar, public.ops_heartbeats, public.ops_limits, public.ops_wakeups, public.ops_workers, public.ops_executors,
  public.ops_step_dead_letters, public.ops_action_runs, public.ops_mission_steps, public.ops_missions, public.ops_proposal_votes, public.ops_mission_proposals,
  public.ops_agent_reactions, public.ops_event_decisions, public.ops_agent_events, public.ops_schemas, public.ops_policy_patterns,
  public.ops_policy_history, public.ops_policy, public.ops_migrations cascade;
-- Cascade: archives made with `like … including all` keep their rows and lose this default.
drop function if exists public.ops_new_id() cascade;
drop function if exists public.ops_clock() cascade;
