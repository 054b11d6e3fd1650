-- Takes back 0006: its triggers and functions. Data stays.
drop trigger if exists ops_proposal_arrives on public.ops_mission_proposals;
drop trigger if exists ops_proposal_rewritten on public.ops_mission_proposals;
drop trigger if exists ops_proposals_edited on public.ops_mission_proposals;
drop trigger if exists ops_proposal_edited on public.ops_mission_proposals;
drop trigger if exists ops_proposal_edited_after on public.ops_mission_proposals;
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'ops_check_template', 'ops_content_hash', 'ops_proposal_arrives', 'ops_create_proposals',
      'ops_create_proposal', 'ops_is_untrusted', 'ops_assess_templates', 'ops_assess', 'ops_window_start', 'ops_counted',
      'ops_cap_verdict', 'ops_approval_verdict', 'ops_gate_batch', 'ops_lock_caps', 'ops_gate_proposal',
      'ops_gate_one', 'ops_regate_proposals', 'ops_proposal_receipt', 'ops_decide_proposal', 'ops_person',
      'ops_approve_proposal', 'ops_reject_proposal', 'ops_check_approval', 'ops_proposal_edited',
      'ops_proposal_edited_after', 'ops_proposal_rewritten', 'ops_revise_proposal', 'ops_cast_vote',
      'ops_count_votes', 'ops_proposals_edited', 'ops_expire_proposals', 'ops_propose_reactions',
      'ops_propose_one', 'ops_process_reactions', 'ops_retry_reaction', 'ops_list_proposals')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
delete from public.ops_migrations where version = '0006';
