-- Takes back 0007: its triggers and functions. Data stays.
drop trigger if exists ops_step_edited on public.ops_mission_steps;
drop trigger if exists ops_steps_edit on public.ops_mission_steps;
drop trigger if exists ops_steps_edited on public.ops_mission_steps;
drop trigger if exists ops_step_inserted on public.ops_mission_steps;
drop trigger if exists ops_step_deleted on public.ops_mission_steps;
drop trigger if exists ops_mission_inserted on public.ops_missions;
drop trigger if exists ops_mission_deleted on public.ops_missions;
drop trigger if exists ops_mission_edited on public.ops_missions;
drop index if exists public.ops_mission_steps_unspread;
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'ops_mission_status', 'ops_is_open', 'ops_create_missions', 'ops_step_leaves', 'ops_leaves_by_step', 'ops_step_context',
      'ops_ready_step', 'ops_ready_steps', 'ops_skip_step', 'ops_satisfy', 'ops_refresh_missions',
      'ops_lock_missions', 'ops_hold_reason', 'ops_executor_hold', 'ops_executor_quota', 'ops_hold_steps',
      'ops_let_go', 'ops_hold_stands', 'ops_review_holds', 'ops_claim_quotas', 'ops_promote_due',
      'ops_pick_steps', 'ops_refuse_ready', 'ops_items_of', 'ops_lacks_results', 'ops_spread_left', 'ops_put_off', 'ops_item_params', 'ops_spread_step', 'ops_spread_one', 'ops_spread_some', 'ops_gather_step', 'ops_cancel_step', 'ops_claim_steps', 'ops_hold_switched', 'ops_own_name', 'ops_worker_idle', 'ops_renew_leases', 'ops_is_halted',
      'ops_complete_steps', 'ops_raise_step_events', 'ops_failure_verdict', 'ops_settle', 'ops_after_end',
      'ops_unblock', 'ops_unmet_needs', 'ops_fail_steps', 'ops_release_steps', 'ops_within_reach',
      'ops_recover_expired_leases', 'ops_recover_stale_steps', 'ops_repair_missions', 'ops_step_edited', 'ops_check_step', 'ops_settle_one', 'ops_settle_lost',
      'ops_operators_lock', 'ops_steps_edit', 'ops_after_revival', 'ops_steps_edited', 'ops_refuse_row',
      'ops_retry_step', 'ops_retry_mission', 'ops_cancel_mission', 'ops_list_dead_letters',
      'ops_requeue_dead_letter', 'ops_requeue_dead_letters', 'ops_discard_dead_letter', 'ops_policy_changed',
      'ops_register_worker', 'ops_unregister_worker', 'ops_worker_config')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
delete from public.ops_migrations where version = '0007';
