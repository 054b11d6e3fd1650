-- Takes back 0010: its functions, the record of what was spent, and every hold by a budget or key.
update public.ops_mission_steps s set wait_reason = null where s.wait_reason ~ '^(budget|limit:key|rate:key):';
do $$
declare
  v_function record;
begin
  for v_function in select p.oid::regprocedure as name from pg_catalog.pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proname in (
      'ops_budget_caps', 'ops_budget_reserve', 'ops_book_settlements', 'ops_open_budgets', 'ops_announce_budgets',
      'ops_has_budgets', 'ops_budget_room', 'ops_reserve_budgets', 'ops_free_budget_holds', 'ops_settlement_usd',
      'ops_settle_budgets', 'ops_list_budgets', 'ops_check_budgets', 'ops_key_bounds', 'ops_plain_quotas', 'ops_step_key', 'ops_key_quota',
      'ops_keep_within_keys', 'ops_free_keys', 'ops_free_key_holds', 'ops_pick_bounded')
  loop
    execute format('drop function if exists %s cascade', v_function.name);
  end loop;
end $$;
drop table if exists public.ops_budget_settlements, public.ops_budgets;
delete from public.ops_migrations where version = '0010';
