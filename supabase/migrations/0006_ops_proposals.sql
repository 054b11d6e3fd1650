-- 0006 Proposals: one entry for every source, gates that hold under concurrency, and the mission that follows.
--
-- Why so: a cap that is counted and then inserted is a cap that races; here the count, the verdict and the mission
-- are one transaction under one lock. Caps are counted from the rows themselves, so no counter can drift.
-- Locks: limit row proposal_caps → proposals → missions → steps. Undo: rollbacks/0006_ops_proposals.sql.

-- Coming in -----------------------------------------------------------------------------------------------------

create or replace function public.ops_check_template(p_template jsonb) returns void
language plpgsql stable set search_path = '' as $$
declare
  v_problems jsonb;
begin
  select jsonb_agg(to_jsonb(t)) into v_problems from public.ops_template_problems(p_template, '$') t where t.severity = 'error';
  if v_problems is not null then
    perform public.ops_raise(case when v_problems #>> '{0,message}' like '%OPS_005%' then 'OPS_005' else 'OPS_004' end,
      format('%s: %s', v_problems #>> '{0,path}', v_problems #>> '{0,message}'), v_problems, v_problems #>> '{0,fix}');
  end if;
end $$;
comment on function public.ops_check_template(jsonb) is 'Raises OPS_004 (OPS_005 for an unknown executor) naming the JSON path of the first problem of a template; detail lists all.';

create or replace function public.ops_content_hash(p_template jsonb, p_leaves jsonb) returns text
language plpgsql immutable set search_path = '' as $$
begin
  return encode(sha256(convert_to(p_template::text || coalesce(p_leaves, '[]')::text, 'UTF8')), 'hex');
end $$;
comment on function public.ops_content_hash(jsonb, jsonb) is 'What an approval is bound to: SHA-256 of the rendered template and its remaining placeholders (jsonb text has one form).';

create or replace function public.ops_proposal_arrives() returns trigger
language plpgsql set search_path = '' as $$
begin
  if new.created_at < now() then
    return new;
  end if;
  if new.status <> 'pending' then
    perform public.ops_raise('OPS_015', format('a new proposal is pending, not %s', new.status), null, 'Insert it without a status, then set it to approved.');
  end if;
  perform public.ops_check_template(new.template);
  new.leaves := public.ops_compile_leaves(new.template);
  new.title := coalesce(new.title, new.template ->> 'title');
  new.content_hash := public.ops_content_hash(new.template, new.leaves);
  new.gated_at := null;
  return new;
end $$;
comment on function public.ops_proposal_arrives() is 'Trigger: a proposal inserted by hand is checked and completed; the next beat gates it. A copy, which brings its created_at, passes. Raises OPS_004, OPS_005, OPS_015.';
create or replace trigger ops_proposal_arrives before insert on public.ops_mission_proposals
  for each row when (coalesce(current_setting('ops.engine', true), '') <> 'on') execute function public.ops_proposal_arrives();

create or replace function public.ops_create_proposals(p_proposals jsonb)
returns table ("position" integer, id uuid, status text, created boolean, reason text, mission_id uuid)
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_was text;
  v_ids uuid[];
  v_new uuid[];
  v_stranger text;
begin
  if jsonb_typeof(p_proposals) is distinct from 'array' then
    perform public.ops_raise('OPS_011', 'proposals must be a list', null, 'Send [{"template": {…}}].');
  end if;
  select e.item ->> 'source' into v_stranger from jsonb_array_elements(p_proposals) e(item)
  where e.item ->> 'source' not in ('api', 'trigger', 'reaction', 'manual', 'schedule') limit 1;
  if found then
    perform public.ops_raise('OPS_011', format('source %s is not known', v_stranger), null, 'Use api, trigger, reaction, manual or schedule.');
  end if;
  if jsonb_path_exists(p_proposals, '$[*].dedupe_key ? (@ == "")') then
    perform public.ops_raise('OPS_011', 'a dedupe key must not be empty', null, 'Leave it out where there is none.');
  end if;
  perform public.ops_check_template(p.template) from (select distinct e.item -> 'template' as template from jsonb_array_elements(p_proposals) e(item)) p;
  v_was := public.ops_engine_begin();
  v_ids := array(select public.ops_new_id() from generate_series(1, jsonb_array_length(p_proposals)));
  with stored as (
    insert into public.ops_mission_proposals (id, dedupe_key, source, template, leaves, content_hash, title, proposed_by, traceparent, created_at, updated_at)
    select v_ids[e.n], e.item ->> 'dedupe_key', coalesce(e.item ->> 'source', 'api'), e.item -> 'template', l.leaves, public.ops_content_hash(e.item -> 'template', l.leaves),
      e.item #>> '{template,title}', e.item ->> 'proposed_by', e.item ->> 'traceparent', v_now + e.n * interval '1 microsecond', v_now
    from jsonb_array_elements(p_proposals) with ordinality e(item, n)
    cross join lateral (select public.ops_compile_leaves(e.item -> 'template') as leaves offset 0) l
    order by e.item ->> 'dedupe_key', e.n
    on conflict do nothing returning ops_mission_proposals.id)
  select array_agg(s.id) into v_new from stored s;
  perform public.ops_gate_batch(v_new);
  perform public.ops_engine_end(v_was);
  return query
  select e.n::integer - 1, p.id, p.status, p.id = v_ids[e.n], p.reason, m.id
  from jsonb_array_elements(p_proposals) with ordinality e(item, n)
  cross join lateral (
    select o.* from public.ops_mission_proposals o where o.id = v_ids[e.n]
    union all
    select o.* from public.ops_mission_proposals o where o.dedupe_key = e.item ->> 'dedupe_key' and o.id <> v_ids[e.n]) p
  left join public.ops_missions m on m.proposal_id = p.id
  order by e.n;
end $$;
comment on function public.ops_create_proposals(jsonb) is
  'Creates and gates a list of proposals [{template, source?, dedupe_key?, proposed_by?, traceparent?}]; a row each, with what the gates said. A known dedupe key answers the first. Raises OPS_004, OPS_005, OPS_011 and then stores nothing.';

create or replace function public.ops_create_proposal(p_template jsonb, p_source text default 'api', p_dedupe_key text default null, p_proposed_by text default null)
returns jsonb language sql set search_path = '' as $$
  select jsonb_build_object('id', p.id, 'status', p.status, 'created', p.created, 'reason', p.reason, 'mission_id', p.mission_id)
  from public.ops_create_proposals(jsonb_build_array(jsonb_strip_nulls(
    jsonb_build_object('source', p_source, 'dedupe_key', p_dedupe_key, 'proposed_by', p_proposed_by)) || jsonb_build_object('template', p_template))) p
$$;
comment on function public.ops_create_proposal(jsonb, text, text, text) is
  'Creates and gates one proposal: {id, status, created, reason, mission_id}. Raises OPS_004 with the JSON path, OPS_005.';

-- Gates ---------------------------------------------------------------------------------------------------------

create or replace function public.ops_is_untrusted(p_event_id uuid, p_root_id uuid) returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return exists (select from public.ops_agent_events e where e.id in (p_event_id, p_root_id)
      -- A signal carries a stranger's words wherever it goes, also when a person moves it.
      and (e.trust <> 'loop' or e.type like 'radar:%'))
    -- What began the chain is no longer kept, so nothing vouches for it.
    or exists (select from unnest(array[p_event_id, p_root_id]) i(id) where i.id is not null
      and not exists (select from public.ops_agent_events e where e.id = i.id) and not exists (select from public.ops_mission_proposals p where p.id = i.id));
end $$;
comment on function public.ops_is_untrusted(uuid, uuid) is 'Whether a proposal may carry what somebody outside wrote, at once or through earlier steps of its chain: a signature says who sent an event, not that its text means well.';

create or replace function public.ops_assess_templates(p_templates jsonb[], p_kind_risk jsonb)
returns table (place bigint, risk text, kinds text[], unknown text[], joins_all boolean)
language sql stable set search_path = '' as $$
  select t.place,
    (array['low', 'medium', 'high', 'critical'])[greatest(
      max(public.ops_risk_rank(x.risk)),
      max(case when p_kind_risk ? s.kind then public.ops_risk_rank(p_kind_risk ->> s.kind) else 1 end),
      case when t.own is not null then public.ops_risk_rank(t.own) else 1 end)],
    array_agg(distinct s.kind) || array_agg(distinct s.executor),
    array_agg(distinct s.executor) filter (where x.name is null),
    coalesce(bool_or(x.touches @> '{secrets}') and bool_or(x.touches @> '{outside}'), false)
  -- Only what is asked for is sorted: a template is carried through it once for every step.
  from (select u.place, u.template ->> 'risk_level' as own, u.template -> 'steps' as steps from unnest(p_templates) with ordinality u(template, place)) t
  cross join lateral (select e.step ->> 'kind' as kind, coalesce(e.step ->> 'executor', e.step ->> 'kind') as executor from jsonb_array_elements(t.steps) e(step)) s
  left join public.ops_executors x on x.name = s.executor
  group by t.place, t.own
$$;
comment on function public.ops_assess_templates(jsonb[], jsonb) is
  'Risk of each template by its place (the highest of executor traits, kind_risk and its own risk_level; an unknown executor is critical), the kinds and executors it uses, the executors nobody knows, and whether it joins secrets and an outside effect.';

create or replace function public.ops_assess(p_ids uuid[])
returns table (id uuid, risk text, kinds text[], unknown text[], joins_all boolean)
language sql stable set search_path = '' set enable_seqscan = off set jit = off as $$
  with proposal as materialized (
    select p.id, p.template, p.event_id, p.root_id, row_number() over (order by p.id) as place from public.ops_mission_proposals p where p.id = any (p_ids)
  )
  select p.id, a.risk, a.kinds, a.unknown, a.joins_all and public.ops_is_untrusted(p.event_id, p.root_id)
  from public.ops_assess_templates(array(select p.template from proposal p order by p.place), coalesce(public.ops_policy_value('auto_approve') -> 'kind_risk', '{}')) a
  join proposal p on p.place = a.place
$$;
comment on function public.ops_assess(uuid[]) is
  'ops_assess_templates for proposals; joins_all says whether one joins untrusted input, secrets and an outside effect.';

create or replace function public.ops_window_start(p_unit text, p_zone text, p_now timestamptz) returns timestamptz
language plpgsql immutable set search_path = '' as $$
begin
  return date_trunc(p_unit, p_now, coalesce(p_zone, 'UTC'));
end $$;
comment on function public.ops_window_start(text, text, timestamptz) is 'Start of the current day or hour in a time zone (UTC when null).';

create or replace function public.ops_counted(p_since timestamptz, p_source text, p_pattern text) returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return (
    select count(*) from public.ops_mission_proposals p
    where p.gated_at >= p_since and p.status <> 'rejected'
      and (p_source is null or p.source = p_source) and (p_pattern is null or p.pattern_id = p_pattern));
end $$;
comment on function public.ops_counted(timestamptz, text, text) is 'Proposals that passed the caps since a time, the rejected ones left out, of one source or pattern if given.';

create or replace function public.ops_cap_verdict(p_caps jsonb, p_source text, p_pattern text, p_now timestamptz,
  out reason text, out next_at timestamptz)
language plpgsql stable set search_path = '' as $$
declare
  v_zone text := p_caps ->> 'time_zone';
  v_day timestamptz := public.ops_window_start('day', v_zone, p_now);
  v_hour timestamptz := public.ops_window_start('hour', v_zone, p_now);
  v_tomorrow timestamptz := public.ops_window_start('day', v_zone, v_day + interval '36 hours');
  v_cap integer;
begin
  v_cap := public.ops_integer(p_caps -> 'daily_limit');
  if v_cap is not null and public.ops_counted(v_day, null, null) >= v_cap then
    reason := format('daily cap of %s proposals is used up', v_cap);
    next_at := v_tomorrow;
    return;
  end if;
  v_cap := public.ops_integer(p_caps -> 'hourly_limit');
  if v_cap is not null and public.ops_counted(v_hour, null, null) >= v_cap then
    reason := format('hourly cap of %s proposals is used up', v_cap);
    next_at := v_hour + interval '1 hour';
    return;
  end if;
  v_cap := public.ops_integer(case when jsonb_typeof(p_caps -> 'per_source') = 'object' then p_caps #> array['per_source', p_source] else p_caps -> 'per_source' end);
  if v_cap is not null and public.ops_counted(v_day, p_source, null) >= v_cap then
    reason := format('daily cap of %s proposals from source %s is used up', v_cap, p_source);
    next_at := v_tomorrow;
    return;
  end if;
  v_cap := public.ops_integer(case when jsonb_typeof(p_caps -> 'per_pattern') = 'object' then p_caps #> array['per_pattern', p_pattern] else p_caps -> 'per_pattern' end);
  if v_cap is not null and p_pattern is not null and public.ops_counted(v_day, null, p_pattern) >= v_cap then
    reason := format('daily cap of %s proposals of pattern %s is used up', v_cap, p_pattern);
    next_at := v_tomorrow;
  end if;
end $$;
comment on function public.ops_cap_verdict(jsonb, text, text, timestamptz) is
  'Which cap stops one more proposal, in words, and when its window turns; reason is null when none does. Exact only while the proposal_caps row is locked.';

create or replace function public.ops_approval_verdict(p_policy jsonb, p_source text, p_risk text, p_kinds text[], p_unknown text[], p_joins_all boolean, p_now timestamptz)
returns text language plpgsql stable set search_path = '' as $$
declare
  v_stranger text;
begin
  if not coalesce((p_policy ->> 'enabled')::boolean, false) then
    return 'auto-approval is off';
  end if;
  if p_joins_all then
    return 'rule of two: it joins untrusted input, secrets and an outside effect';
  end if;
  if cardinality(p_unknown) > 0 then
    return format('executor %s is not registered', p_unknown[1]);
  end if;
  select k into v_stranger from unnest(p_kinds) k where not coalesce(p_policy -> 'allowed_step_kinds', '[]') ? k order by k limit 1;
  if v_stranger is not null then
    return format('%s is not in auto_approve.allowed_step_kinds', v_stranger);
  end if;
  if public.ops_risk_rank(p_risk) > public.ops_risk_rank(coalesce(p_policy ->> 'max_risk_level', 'low')) then
    return format('risk %s is above %s', p_risk, coalesce(p_policy ->> 'max_risk_level', 'low'));
  end if;
  if p_policy ? 'allowed_sources' and not p_policy -> 'allowed_sources' ? p_source then
    return format('source %s is not in auto_approve.allowed_sources', p_source);
  end if;
  if p_policy ? 'daily_limit' and public.ops_integer(p_policy -> 'daily_limit') <= (
    select count(*) from public.ops_mission_proposals p
    where p.gated_at >= public.ops_window_start('day', p_policy ->> 'time_zone', p_now) and p.status = 'auto_approved') then
    return format('daily limit of %s auto-approvals is used up', p_policy ->> 'daily_limit');
  end if;
  return null;
end $$;
comment on function public.ops_approval_verdict(jsonb, text, text, text[], text[], boolean, timestamptz) is
  'Why auto_approve does not let a proposal through, in words; null when it does. Every condition must hold.';

create or replace function public.ops_gate_batch(p_ids uuid[])
returns table (gated integer, approved integer, rejected integer)
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_caps jsonb := public.ops_policy_value('proposal_caps');
  v_auto jsonb := public.ops_policy_value('auto_approve');
  v_versions jsonb := public.ops_policy_versions(array['proposal_caps', 'auto_approve', 'approvals', 'reaction_matrix']);
  v_expiry numeric := (public.ops_policy_value('approvals') ->> 'expires_minutes')::numeric;
  v_paused boolean := coalesce(public.ops_switch_mode(public.ops_policy_value('switches'), 'auto_approve')
    in ('drain', 'halt'), false);
  v_was text := public.ops_engine_begin();
  v_approved uuid[] := '{}';
  v_row record;
  v_cap record;
  v_no text;
begin
  gated := 0;
  rejected := 0;
  if p_ids is null then
    approved := 0;
    perform public.ops_engine_end(v_was);
    return next;
    return;
  end if;
  perform public.ops_lock_caps(v_caps, v_auto);
  for v_row in
    select p.id, p.source, p.pattern_id, a.risk, a.kinds, a.unknown, a.joins_all, p.revises
    from public.ops_mission_proposals p join public.ops_assess(p_ids) a on a.id = p.id
    where p.id = any (p_ids) and p.status = 'pending' and p.gated_at is null
    order by p.created_at, p.id for update of p
  loop
    v_cap := public.ops_cap_verdict(v_caps, v_row.source, v_row.pattern_id, v_now);
    v_no := case when v_cap.reason is null then
      case when v_paused then 'auto-approval is paused' when v_row.revises is not null then 'a person revised it, somebody else approves it' else
        public.ops_approval_verdict(v_auto, v_row.source, v_row.risk, v_row.kinds, v_row.unknown, v_row.joins_all, v_now) end end;
    if v_cap.reason is null and v_no is not null and v_caps ? 'max_pending' and public.ops_integer(v_caps -> 'max_pending') <= (
      select count(*) from public.ops_mission_proposals p where p.status in ('pending', 'voting') and p.gated_at is not null) then
      v_cap.reason := format('%s proposals wait for approval already', v_caps ->> 'max_pending');
      v_cap.next_at := v_now + interval '1 minute';
    end if;
    update public.ops_mission_proposals p set
      risk = v_row.risk, policy_snapshot = v_versions, updated_at = v_now,
      status = case when v_cap.reason is not null then case when v_caps ->> 'on_exceed' = 'reject' then 'rejected' else 'pending' end
        when v_no is null then 'auto_approved' else 'pending' end,
      reason = coalesce(v_cap.reason, 'waits for approval: ' || v_no, 'approved by policy'),
      gated_at = case when v_cap.reason is null then v_now end,
      next_gate_at = coalesce(v_cap.next_at, p.next_gate_at),
      approved_at = case when v_cap.reason is null and v_no is null then v_now end,
      decided_by = case when v_cap.reason is null and v_no is null or v_cap.reason is not null and v_caps ->> 'on_exceed' = 'reject' then 'ops-loop' end,
      expires_at = case when v_cap.reason is null and v_no is not null then v_now + v_expiry * interval '1 minute' end
    where p.id = v_row.id;
    gated := gated + (v_cap.reason is null)::integer;
    if v_cap.reason is null and v_no is null then
      v_approved := v_approved || v_row.id;
    elsif v_cap.reason is not null and v_caps ->> 'on_exceed' = 'reject' then
      rejected := rejected + 1;
      perform public.ops_raise_proposal_event('proposal:rejected', v_row.id, jsonb_build_object('code', 'OPS_003', 'reason', v_cap.reason));
    elsif v_cap.reason is null then
      perform public.ops_raise_proposal_event('proposal:waiting', v_row.id, jsonb_build_object('code', 'OPS_009', 'reason', v_no));
    end if;
  end loop;
  approved := public.ops_create_missions(v_approved);
  perform public.ops_engine_end(v_was);
  return next;
end $$;
comment on function public.ops_gate_batch(uuid[]) is
  'Gates proposals, oldest first: caps, then auto-approval; the approved ones become missions at once. One row of counts. Caps are exact: everything happens under the proposal_caps lock.';

create or replace function public.ops_lock_caps(p_caps jsonb, p_auto jsonb) returns void
language plpgsql set search_path = '' as $$
begin
  if p_caps ?| array['daily_limit', 'hourly_limit', 'per_source', 'per_pattern', 'max_pending'] or p_auto ? 'daily_limit' then
    perform public.ops_take_turn('proposal_caps');
  end if;
end $$;
comment on function public.ops_lock_caps(jsonb, jsonb) is 'Serialises gating while any cap or daily limit is set; costs nothing otherwise.';

create or replace function public.ops_gate_proposal(p_id uuid default null, out ok boolean, out reason text)
language plpgsql stable set search_path = '' as $$
declare
  v_proposal public.ops_mission_proposals;
  v_look record;
  v_now timestamptz := public.ops_clock();
begin
  ok := false;
  select * into v_proposal from public.ops_mission_proposals p where p.id = p_id;
  if v_proposal.id is null then
    reason := case when p_id is null then 'no proposal id was given' else format('there is no proposal %s', p_id) end;
    return;
  end if;
  if v_proposal.status not in ('pending', 'voting') then
    ok := v_proposal.status in ('approved', 'auto_approved');
    reason := format('already %s: %s', v_proposal.status, coalesce(v_proposal.reason, 'no reason recorded'));
    return;
  end if;
  select a.* into v_look from public.ops_assess(array[p_id]) a;
  reason := case when v_proposal.gated_at is null then
    (public.ops_cap_verdict(public.ops_policy_value('proposal_caps'), v_proposal.source, v_proposal.pattern_id, v_now)).reason end;
  reason := coalesce(reason, public.ops_approval_verdict(public.ops_policy_value('auto_approve'), v_proposal.source,
    v_look.risk, v_look.kinds, v_look.unknown, v_look.joins_all, v_now));
  ok := reason is null;
  reason := coalesce(reason, 'every gate is open');
end $$;
comment on function public.ops_gate_proposal(uuid) is
  'What the gates would say to a proposal now: (ok, reason). Changes nothing. A null or unknown id answers false and says so.';

create or replace function public.ops_gate_one(p_id uuid, out gated integer, out approved integer, out rejected integer)
language plpgsql set search_path = '' as $$
begin
  select g.gated, g.approved, g.rejected into gated, approved, rejected from public.ops_gate_batch(array[p_id]) g;
exception when others then
  if public.ops_is_transient(sqlstate) then
    raise;
  end if;
  gated := 0;
  approved := 0;
  rejected := 1;
  perform set_config('ops.engine', 'on', true);
  update public.ops_mission_proposals p
  set status = 'rejected', reason = 'could not be gated: ' || left(sqlerrm, 1000), decided_by = 'ops-loop', updated_at = public.ops_clock() where p.id = p_id;
  perform set_config('ops.engine', '', true);
end $$;
comment on function public.ops_gate_one(uuid) is 'Gates one proposal by itself; if that fails, it is rejected with the error and holds up nobody.';

create or replace function public.ops_regate_proposals(p_limit integer default 50) returns jsonb
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_ids uuid[];
  v_counts record;
begin
  v_ids := array(
    select p.id from public.ops_mission_proposals p
    where p.status = 'pending' and p.gated_at is null and p.next_gate_at <= public.ops_clock()
    order by p.next_gate_at, p.created_at limit p_limit);
  if cardinality(v_ids) = 0 then
    return jsonb_build_object('gated', 0, 'approved', 0, 'rejected', 0, 'more', false);
  end if;
  begin
    select g.gated, g.approved, g.rejected into v_counts from public.ops_gate_batch(v_ids) g;
  exception when others then
    if public.ops_is_transient(sqlstate) then
      raise;
    end if;
    select sum(g.gated)::integer as gated, sum(g.approved)::integer as approved, sum(g.rejected)::integer as rejected into v_counts
    from unnest(v_ids) i(id) cross join lateral public.ops_gate_one(i.id) g;
  end;
  return jsonb_build_object('gated', v_counts.gated, 'approved', v_counts.approved, 'rejected', v_counts.rejected,
    'more', cardinality(v_ids) >= p_limit);
end $$;
comment on function public.ops_regate_proposals(integer) is
  'Phase: gates proposals that wait for a cap whose window has turned, and those inserted by hand: {gated, approved, rejected, more}.';

-- People decide -------------------------------------------------------------------------------------------------

create or replace function public.ops_proposal_receipt(p_id uuid) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  return (
    select jsonb_build_object('id', p.id, 'status', p.status, 'created', false, 'reason', p.reason, 'mission_id', m.id)
    from public.ops_mission_proposals p left join public.ops_missions m on m.proposal_id = p.id where p.id = p_id);
end $$;
comment on function public.ops_proposal_receipt(uuid) is '{id, status, created, reason, mission_id} of a proposal.';

create or replace function public.ops_decide_proposal(p_id uuid, p_status text, p_actor text, p_reason text, p_content_hash text default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_was text := coalesce(current_setting('ops.engine', true), '');
  v_proposal public.ops_mission_proposals;
begin
  perform public.ops_lock_caps(public.ops_policy_value('proposal_caps'), '{}');
  select * into v_proposal from public.ops_mission_proposals p where p.id = p_id for update;
  if v_proposal.id is null then
    perform public.ops_raise('OPS_012', format('there is no proposal %s', p_id), null, 'ops-loop status lists the waiting ones.');
  end if;
  if v_proposal.status = p_status or p_status = 'approved' and v_proposal.status = 'auto_approved' then
    return public.ops_proposal_receipt(p_id);
  end if;
  if p_content_hash <> v_proposal.content_hash then
    perform public.ops_raise('OPS_003', 'what was approved is not what the proposal says', jsonb_build_object('proposal_id', p_id, 'content_hash', v_proposal.content_hash),
      'Look at it again and approve what it says now.');
  end if;
  -- The same statement an operator may type; the triggers below do the rest for both.
  perform set_config('ops.engine', '', true);
  update public.ops_mission_proposals p set status = p_status, decided_by = p_actor, reason = coalesce(p_reason, p_status || ' by ' || p_actor) where p.id = p_id;
  perform public.ops_engine_end(v_was);
  return public.ops_proposal_receipt(p_id);
end $$;
comment on function public.ops_decide_proposal(uuid, text, text, text, text) is
  'Approves or rejects a waiting proposal once; the same decision again answers the first. Raises OPS_012, OPS_015, and OPS_003 when a cap still stops it.';

create or replace function public.ops_person(p_actor text) returns text
language plpgsql stable set search_path = '' as $$
begin
  if p_actor in ('votes', 'ops-loop') then
    perform public.ops_raise('OPS_011', format('%s is the loop''s own name', p_actor), null, 'Say who decides.');
  end if;
  return coalesce(p_actor, session_user);
end $$;
comment on function public.ops_person(text) is 'Who decides: the name given, else the role that logged in. The loop''s own names raise OPS_011.';

create or replace function public.ops_approve_proposal(p_id uuid, p_actor text default null, p_reason text default null, p_content_hash text default null) returns jsonb
language sql set search_path = '' as $$ select public.ops_decide_proposal(p_id, 'approved', public.ops_person(p_actor), p_reason, p_content_hash) $$;
comment on function public.ops_approve_proposal(uuid, text, text, text) is
  'Approves a proposal: {id, status, created, reason, mission_id}; with a quorum it is voting until enough persons have. Fifty at once make one mission. p_content_hash is what the approver was shown. Raises OPS_003, OPS_012, OPS_015.';

create or replace function public.ops_reject_proposal(p_id uuid, p_actor text default null, p_reason text default null) returns jsonb
language sql set search_path = '' as $$ select public.ops_decide_proposal(p_id, 'rejected', public.ops_person(p_actor), p_reason) $$;
comment on function public.ops_reject_proposal(uuid, text, text) is
  'Rejects a proposal: {id, status, created, reason, mission_id}. Raises OPS_012, OPS_015.';

create or replace function public.ops_check_approval(p_proposal public.ops_mission_proposals, p_actor text) returns void
language plpgsql set search_path = '' as $$
declare
  v_approvers jsonb := public.ops_policy_value('approvals') -> 'approvers';
  v_voted boolean := coalesce(current_setting('ops.votes', true), '') = 'on';
  v_cap record;
begin
  if p_proposal.content_hash is distinct from public.ops_content_hash(p_proposal.template, p_proposal.leaves) then
    perform public.ops_raise('OPS_003', 'the proposal was changed after it was made', jsonb_build_object('proposal_id', p_proposal.id), 'Reject it and propose what should run.');
  elsif p_actor in ('votes', 'ops-loop') and not v_voted then
    perform public.ops_raise('OPS_011', format('%s is the loop''s own name', p_actor), null, 'Say who decides.');
  elsif p_actor = p_proposal.proposed_by then
    perform public.ops_raise('OPS_003', format('%s proposed it and may not approve it', p_actor), jsonb_build_object('proposal_id', p_proposal.id), 'Somebody else has to approve it.');
  elsif v_approvers is not null and not v_approvers ? p_actor and not v_voted then
    perform public.ops_raise('OPS_003', format('%s is not among approvals.approvers', p_actor), jsonb_build_object('proposal_id', p_proposal.id), 'Ask one of them, or edit the policy approvals.');
  end if;
  if p_proposal.gated_at is null then
    v_cap := public.ops_cap_verdict(public.ops_policy_value('proposal_caps'), p_proposal.source, p_proposal.pattern_id, public.ops_clock());
    if v_cap.reason is not null then
      perform public.ops_raise('OPS_003', v_cap.reason, jsonb_build_object('proposal_id', p_proposal.id, 'until', v_cap.next_at), 'Raise proposal_caps, or wait until the window turns.');
    end if;
  end if;
end $$;
comment on function public.ops_check_approval(public.ops_mission_proposals, text) is
  'Raises OPS_003 when this actor may not approve this proposal now: its content changed, they proposed it, they are no approver, or a cap still stops it.';

create or replace function public.ops_proposal_edited() returns trigger
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_quorum integer := coalesce(public.ops_integer(public.ops_policy_value('approvals') -> 'quorum'), 1);
  v_approvals integer;
begin
  if old.status not in ('pending', 'voting') or new.status not in ('approved', 'rejected') then
    perform public.ops_raise('OPS_015', format('proposal %s is %s and cannot become %s', old.id, old.status, new.status), null,
      'Only a waiting proposal can be approved or rejected. Propose it again if it should run.');
  end if;
  new.decided_by := case when new.decided_by is distinct from old.decided_by then new.decided_by else session_user end;
  new.reason := case when new.reason is distinct from old.reason then new.reason else new.status || ' by ' || new.decided_by end;
  new.updated_at := v_now;
  new.risk := (select a.risk from public.ops_assess(array[new.id]) a);
  new.policy_snapshot := old.policy_snapshot
    || public.ops_policy_versions(array['auto_approve', 'approvals'] || case when old.gated_at is null then array['proposal_caps'] end);
  if new.status = 'approved' then
    perform public.ops_check_approval(new, new.decided_by);
    if public.ops_risk_rank(new.risk) > public.ops_risk_rank(coalesce(old.risk, new.risk)) then
      -- Nor do those count that others gave to the lower one.
      delete from public.ops_proposal_votes v where v.proposal_id = new.id and v.person and v.vote = 'approve';
      new.status := old.status;
      new.reason := format('its risk is %s by the policies of now, not %s: look at it again', new.risk, old.risk);
      new.decided_by := old.decided_by;
      return new;
    end if;
    if coalesce(current_setting('ops.votes', true), '') <> 'on' then
      insert into public.ops_proposal_votes (proposal_id, voter, vote, person, reason, created_at) values (new.id, new.decided_by, 'approve', true, new.reason, v_now)
      on conflict (proposal_id, voter) do update set vote = 'approve', person = true, reason = excluded.reason;
      select count(*) into v_approvals from public.ops_proposal_votes v where v.proposal_id = new.id and v.person and v.vote = 'approve';
      if v_approvals < v_quorum then
        new.status := 'voting';
        new.reason := format('%s of %s approvals', v_approvals, v_quorum);
        new.decided_by := old.decided_by;
        return new;
      end if;
    end if;
    new.approved_at := v_now;
    new.gated_at := coalesce(old.gated_at, v_now);
  end if;
  return new;
end $$;
comment on function public.ops_proposal_edited() is 'Trigger: a person sets a waiting proposal to approved or rejected; below the quorum it is voting. An approval is one of the risk that was shown: where a policy has raised that since, it goes on waiting, says so, and has the new risk. Raises OPS_003 as ops_check_approval says, OPS_015 for any other move.';

create or replace function public.ops_proposal_edited_after() returns trigger
language plpgsql set search_path = '' as $$
declare
  v_was text := public.ops_engine_begin();
begin
  if new.status = 'approved' then
    perform public.ops_create_missions(array[new.id]);
  end if;
  perform public.ops_raise_proposal_event('proposal:' || new.status, new.id, jsonb_build_object('actor', new.decided_by, 'reason', new.reason));
  perform public.ops_engine_end(v_was);
  return null;
end $$;
comment on function public.ops_proposal_edited_after() is 'Trigger: what a decision leads to: the mission of an approved proposal, and the event.';
create or replace function public.ops_proposal_rewritten() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform public.ops_raise('OPS_015', 'the content of a proposal never changes', jsonb_build_object('proposal_id', old.id),
    'Make a new one of it: select ops_revise_proposal(id, template).');
  return null;
end $$;
comment on function public.ops_proposal_rewritten() is 'Trigger: what was proposed is what is approved; edits make a new proposal. Raises OPS_015.';
create or replace trigger ops_proposal_rewritten before update of template, leaves, content_hash on public.ops_mission_proposals
  for each row when ((old.template, old.leaves, old.content_hash) is distinct from (new.template, new.leaves, new.content_hash))
  execute function public.ops_proposal_rewritten();

create or replace function public.ops_revise_proposal(p_id uuid, p_template jsonb, p_actor text default null, p_reason text default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_actor text := public.ops_person(p_actor);
  v_new uuid := public.ops_new_id();
  v_old public.ops_mission_proposals;
  v_leaves jsonb;
  v_was text;
begin
  perform public.ops_check_template(p_template);
  v_leaves := public.ops_compile_leaves(p_template);
  perform public.ops_lock_caps(public.ops_policy_value('proposal_caps'), public.ops_policy_value('auto_approve'));
  select * into v_old from public.ops_mission_proposals p where p.id = p_id for update;
  if v_old.status not in ('pending', 'voting') then
    perform public.ops_raise('OPS_015', format('proposal %s is %s and cannot be revised', p_id, v_old.status), null, 'Propose it anew.');
  end if;
  perform public.ops_decide_proposal(p_id, 'rejected', v_actor, coalesce(p_reason, 'revised'));
  v_was := public.ops_engine_begin();
  insert into public.ops_mission_proposals (id, source, event_id, pattern_id, root_id, depth, chain, traceparent, title, template, leaves, content_hash, proposed_by, revises, created_at, updated_at)
  values (v_new, v_old.source, v_old.event_id, v_old.pattern_id, v_old.root_id, v_old.depth, v_old.chain, v_old.traceparent, p_template ->> 'title', p_template, v_leaves,
    public.ops_content_hash(p_template, v_leaves), v_actor, p_id, v_now, v_now);
  perform public.ops_gate_batch(array[v_new]);
  perform public.ops_engine_end(v_was);
  return public.ops_proposal_receipt(v_new) || '{"created": true}';
end $$;
comment on function public.ops_revise_proposal(uuid, jsonb, text, text) is
  'Edit then approve: rejects a waiting proposal and makes a new one with other content, which somebody else has to approve: {id, status, created, reason, mission_id}. Raises OPS_004, OPS_005, OPS_012, OPS_015.';

-- Votes of agents: thresholds by risk, and vetoes ---------------------------------------------------------------

create or replace function public.ops_cast_vote(p_id uuid, p_voter text, p_vote text, p_reason text default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_proposal public.ops_mission_proposals;
  v_policy jsonb := public.ops_policy_value('approvals');
  v_look record;
  v_rules jsonb;
begin
  if coalesce(p_vote, '') not in ('approve', 'reject') or coalesce(trim(p_voter), '') = '' then
    perform public.ops_raise('OPS_011', 'a vote needs a voter, and is approve or reject');
  end if;
  perform public.ops_lock_caps(public.ops_policy_value('proposal_caps'), '{}');
  select * into v_proposal from public.ops_mission_proposals p where p.id = p_id for update;
  select a.risk, a.joins_all into v_look from public.ops_assess(array[p_id]) a;
  v_rules := v_policy -> 'voting' -> v_look.risk;
  if v_proposal.id is null then
    perform public.ops_raise('OPS_012', format('there is no proposal %s', p_id));
  elsif v_proposal.status not in ('pending', 'voting') or v_proposal.gated_at is null then
    perform public.ops_raise('OPS_015', format('proposal %s is %s and takes no votes', p_id, case when v_proposal.gated_at is null then 'held' else v_proposal.status end));
  elsif not coalesce((v_rules ->> 'enabled')::boolean, false) then
    perform public.ops_raise('OPS_003', format('approvals.voting is not enabled for risk %s', v_look.risk), null, 'A person decides: ops-loop approve or reject.');
  elsif p_voter = v_proposal.proposed_by then
    perform public.ops_raise('OPS_003', format('%s proposed it and has no vote', p_voter));
  elsif v_policy ? 'voters' and not v_policy -> 'voters' ? p_voter then
    perform public.ops_raise('OPS_003', format('%s is not among approvals.voters', p_voter), jsonb_build_object('proposal_id', p_id), 'Ask one of them, or edit the policy approvals.');
  end if;
  insert into public.ops_proposal_votes (proposal_id, voter, vote, person, reason, created_at) values (p_id, p_voter, p_vote, false, p_reason, public.ops_clock())
  on conflict (proposal_id, voter) do update set vote = excluded.vote, reason = excluded.reason;
  return public.ops_count_votes(v_proposal, v_look.risk, v_look.joins_all, v_rules, case when p_vote = 'reject' and v_policy -> 'veto' ? p_voter then p_voter end);
end $$;
comment on function public.ops_cast_vote(uuid, text, text, text) is
  'Casts or changes a vote: {id, status, created, reason, mission_id}. The thresholds of approvals.voting for the risk decide; a no of somebody in approvals.veto is final. With approvals.voters only those in it vote. One mission however many votes. The risk is that by the policies of now. Raises OPS_003, OPS_011, OPS_012, OPS_015.';

drop function if exists public.ops_count_votes(public.ops_mission_proposals, jsonb, boolean, text);
create or replace function public.ops_count_votes(p_proposal public.ops_mission_proposals, p_risk text, p_joins_all boolean, p_rules jsonb, p_veto_of text) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_min integer := coalesce(public.ops_integer(p_rules -> 'min_votes'), 3);
  v_yes integer;
  v_all integer;
  v_was text;
  v_reason text;
  v_status text;
  v_receipt jsonb;
begin
  select count(*) filter (where v.vote = 'approve'), count(*) into v_yes, v_all from public.ops_proposal_votes v where v.proposal_id = p_proposal.id and not v.person;
  if p_veto_of is not null then
    v_reason := 'vetoed by ' || p_veto_of;
    v_status := 'rejected';
  elsif not p_joins_all and v_all >= v_min and v_yes >= round(v_all * coalesce((p_rules ->> 'approve_share')::numeric, 2 / 3.0), 6) then
    v_reason := format('%s of %s votes', v_yes, v_all);
    v_status := 'approved';
  elsif v_all >= v_min and v_all - v_yes >= round(v_all * coalesce((p_rules ->> 'reject_share')::numeric, 0.5), 6) then
    v_reason := format('%s of %s votes against', v_all - v_yes, v_all);
    v_status := 'rejected';
  end if;
  v_was := public.ops_engine_begin();
  update public.ops_mission_proposals p set risk = p_risk, updated_at = public.ops_clock(), status = 'voting',
    reason = format('%s of %s votes, %s for', v_all, v_min, v_yes) || case when p_joins_all then '; rule of two: a person approves it, votes may only reject' else '' end
  where p.id = p_proposal.id;
  perform public.ops_engine_end(v_was);
  if v_status is not null then
    perform set_config('ops.votes', 'on', true);
    v_receipt := public.ops_decide_proposal(p_proposal.id, v_status, 'votes', v_reason);
    perform set_config('ops.votes', '', true);
    return v_receipt;
  end if;
  return public.ops_proposal_receipt(p_proposal.id);
end $$;
comment on function public.ops_count_votes(public.ops_mission_proposals, text, boolean, jsonb, text) is
  'What the votes come to: with min_votes (3) cast, approve_share (two thirds) of yes approves and reject_share (0.5) of no rejects, and a veto rejects; otherwise it goes on. Votes never approve what joins untrusted input, secrets and an outside effect: the voters read the same words. The caller holds the proposal.';

create or replace function public.ops_proposals_edited() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform public.ops_lock_caps(public.ops_policy_value('proposal_caps'), '{}');
  return null;
end $$;
comment on function public.ops_proposals_edited() is 'Trigger: takes the caps'' lock before any proposal is locked, so that an approval by hand keeps the lock order.';
create or replace trigger ops_proposals_edited before update of status on public.ops_mission_proposals
  for each statement when (coalesce(current_setting('ops.engine', true), '') <> 'on')
  execute function public.ops_proposals_edited();
create or replace trigger ops_proposal_edited before update of status on public.ops_mission_proposals
  for each row when (coalesce(current_setting('ops.engine', true), '') <> 'on' and old.status is distinct from new.status)
  execute function public.ops_proposal_edited();
create or replace trigger ops_proposal_edited_after after update of status on public.ops_mission_proposals
  for each row when (coalesce(current_setting('ops.engine', true), '') <> 'on' and old.status is distinct from new.status)
  execute function public.ops_proposal_edited_after();

create or replace function public.ops_expire_proposals(p_limit integer default 200) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_status text := case public.ops_policy_value('approvals') ->> 'default_action' when 'reject' then 'rejected' else 'expired' end;
  v_was text := public.ops_engine_begin();
  v_ids uuid[];
begin
  with late as (
    select p.id from public.ops_mission_proposals p where p.status in ('pending', 'voting') and p.expires_at <= v_now
    order by p.expires_at limit p_limit for update skip locked
  ), closed as (
    update public.ops_mission_proposals p
    set status = v_status, reason = 'nobody decided in time', decided_by = 'ops-loop', updated_at = v_now
    from late where p.id = late.id returning p.id)
  select coalesce(array_agg(c.id), '{}') into v_ids from closed c;
  perform public.ops_raise_proposal_event('proposal:' || v_status, i.id, jsonb_build_object('reason', 'nobody decided in time')) from unnest(v_ids) i(id);
  perform public.ops_engine_end(v_was);
  return jsonb_build_object('expired', cardinality(v_ids), 'more', cardinality(v_ids) >= p_limit);
end $$;
comment on function public.ops_expire_proposals(integer) is 'Phase: takes the default action of the approvals policy on proposals nobody decided in time: {expired, more}.';

-- Reactions become proposals ------------------------------------------------------------------------------------

create or replace function public.ops_propose_reactions(p_ids uuid[]) returns integer
language plpgsql set search_path = '' set enable_seqscan = off set jit = off as $$
declare
  v_now timestamptz := public.ops_clock();
  v_was text := public.ops_engine_begin();
  v_new uuid[];
begin
  with stored as (
    insert into public.ops_mission_proposals (dedupe_key, source, event_id, reaction_id, pattern_id, title, template, leaves, content_hash,
      root_id, depth, chain, traceparent, created_at, updated_at)
    select nullif(r.payload ->> 'dedupe_key', ''), 'reaction', r.event_id, r.id, r.pattern_id, r.payload #>> '{template,title}', r.payload -> 'template',
      coalesce(r.payload -> 'leaves', '[]'), public.ops_content_hash(r.payload -> 'template', r.payload -> 'leaves'), coalesce(e.root_id, r.event_id), coalesce(e.depth, 0), coalesce(e.chain, '{}') || r.pattern_id, e.traceparent,
      v_now + row_number() over (order by r.created_at, r.id) * interval '1 microsecond', v_now
    from public.ops_agent_reactions r left join public.ops_agent_events e on e.id = r.event_id
    where r.id = any (p_ids)
    on conflict do nothing returning id)
  select array_agg(s.id) into v_new from stored s;
  -- A second statement, so that a key taken by another reaction of this batch, or by another beat, is seen.
  update public.ops_agent_reactions r
  -- The proposal that had the key may have been archived at this very moment: then the next beat makes a new one.
  set status = case when made.proposal_id is null then 'queued' else 'done' end, updated_at = v_now, last_error = null, proposal_id = made.proposal_id
  from (select o.id, coalesce(
      (select p.id from public.ops_mission_proposals p where p.reaction_id = o.id),
      (select p.id from public.ops_mission_proposals p where p.dedupe_key = o.payload ->> 'dedupe_key')) as proposal_id
    from public.ops_agent_reactions o where o.id = any (p_ids)) made
  where r.id = made.id;
  perform public.ops_gate_batch(v_new);
  perform public.ops_engine_end(v_was);
  return coalesce(cardinality(v_new), 0);
end $$;
comment on function public.ops_propose_reactions(uuid[]) is
  'Turns reactions into proposals and gates them; answers how many were new (a known dedupe key joins the first). The caller holds the reactions.';

create or replace function public.ops_propose_one(p_id uuid) returns integer
language plpgsql set search_path = '' as $$
begin
  return public.ops_propose_reactions(array[p_id]);
exception when others then
  if public.ops_is_transient(sqlstate) then
    raise;
  end if;
  update public.ops_agent_reactions r
  set status = 'failed', failure_count = r.failure_count + 1, last_error = left(sqlerrm, 2000), updated_at = public.ops_clock()
  where r.id = p_id;
  return 0;
end $$;
comment on function public.ops_propose_one(uuid) is 'One reaction by itself; if that fails, the reaction is failed with the error and holds up nobody.';

create or replace function public.ops_process_reactions(p_limit integer default 50) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_ids uuid[];
  v_id uuid;
  v_created integer := 0;
begin
  v_ids := array(select r.id from public.ops_agent_reactions r where r.status = 'queued'
    order by r.created_at, r.id limit p_limit for update skip locked);
  if cardinality(v_ids) = 0 then
    return jsonb_build_object('processed', 0, 'created', 0, 'more', false);
  end if;
  begin
    v_created := public.ops_propose_reactions(v_ids);
  exception when others then
    if public.ops_is_transient(sqlstate) then
      raise;
    end if;
    foreach v_id in array v_ids loop
      v_created := v_created + public.ops_propose_one(v_id);
    end loop;
  end;
  return jsonb_build_object('processed', cardinality(v_ids), 'created', v_created, 'more', cardinality(v_ids) >= p_limit);
end $$;
comment on function public.ops_process_reactions(integer) is
  'Phase: turns up to p_limit queued reactions into gated proposals: {processed, created, more}. A batch that fails is done one by one.';

create or replace function public.ops_retry_reaction(p_id uuid) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_status text;
begin
  update public.ops_agent_reactions r set status = 'queued', last_error = null, updated_at = public.ops_clock()
  where r.id = p_id and r.status = 'failed' returning r.status into v_status;
  if v_status is null then
    select r.status into v_status from public.ops_agent_reactions r where r.id = p_id;
    perform public.ops_raise(case when v_status is null then 'OPS_012' else 'OPS_015' end,
      coalesce(format('reaction %s is %s, only a failed one can be retried', p_id, v_status), format('there is no reaction %s', p_id)));
  end if;
  perform public.ops_wake('ops_events');
  return jsonb_build_object('id', p_id, 'status', v_status);
end $$;
comment on function public.ops_retry_reaction(uuid) is 'Queues a failed reaction again: {id, status}. Raises OPS_012, OPS_015.';

create or replace function public.ops_list_proposals(p_status text default null, p_limit integer default 50, p_before timestamptz default null)
returns setof public.ops_mission_proposals language sql stable set search_path = '' as $$
  select p.* from public.ops_mission_proposals p
  where (p_status is null or p.status = p_status) and (p_before is null or p.created_at < p_before)
  order by p.created_at desc limit least(p_limit, 1000)
$$;
comment on function public.ops_list_proposals(text, integer, timestamptz) is 'Proposals, newest first, of one status if given; p_before is the cursor: the created_at of the last row seen.';

insert into public.ops_migrations (version, name) values ('0006', 'ops_proposals') on conflict do nothing;
