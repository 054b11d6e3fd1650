-- 0016 Links that decide on a proposal from a chat, and votes that prove whose they are.
--
-- Why so: a link is a key to one decision. It is stored as a hash, holds for the content that was shown, works once and
-- runs out; whoever makes it from a step must hold that step's lease, and may make it only for the proposal that the
-- approved step names. A vote takes voter, proposal and choice from the running step's own row, so a worker that holds a
-- lease can cast that vote and no other.
-- Locks: proposal_caps → the proposal → its links. Undo: rollbacks/0016_ops_links.sql.

create table if not exists public.ops_approval_links (
  token_hash text primary key,
  proposal_id uuid not null,
  verdict text not null constraint ops_approval_links_verdict check (verdict in ('approve', 'reject')),
  content_hash text not null,
  actor text not null,
  step_id uuid,
  expires_at timestamptz not null,
  used_at timestamptz,
  ended_at timestamptz,
  created_at timestamptz not null default public.ops_clock()
);
comment on table public.ops_approval_links is 'Links that approve or reject one proposal once. Whoever has the token may decide in the name of the label; the token itself is kept nowhere.';
comment on column public.ops_approval_links.token_hash is 'SHA-256 (hex) of the token in the link.';
comment on column public.ops_approval_links.proposal_id is 'The proposal it decides on.';
comment on column public.ops_approval_links.verdict is 'approve or reject.';
comment on column public.ops_approval_links.content_hash is 'Content of the proposal when the link was made: it holds for exactly this.';
comment on column public.ops_approval_links.actor is 'Label that the decision is signed with, such as link:ops-room.';
comment on column public.ops_approval_links.step_id is 'The notify step that sent it; null when made by hand.';
comment on column public.ops_approval_links.expires_at is 'It works until then. Rows are swept a week later.';
comment on column public.ops_approval_links.used_at is 'When it was used.';
comment on column public.ops_approval_links.ended_at is 'When another link of the same label and proposal was used.';
comment on column public.ops_approval_links.created_at is 'When it was made.';
create index if not exists ops_approval_links_proposal on public.ops_approval_links (proposal_id, actor);
create index if not exists ops_approval_links_expiry on public.ops_approval_links (expires_at);

create or replace function public.ops_link_hash(p_token text) returns text
language plpgsql immutable set search_path = '' as $$
begin
  return encode(sha256(convert_to(p_token, 'UTF8')), 'hex');
end $$;
comment on function public.ops_link_hash(text) is 'What is stored of a link''s token. It has 244 random bits, so a plain SHA-256 cannot be guessed back.';

-- Made ----------------------------------------------------------------------------------------------------------

create or replace function public.ops_store_links(p_proposal_id uuid, p_actor text, p_ttl_seconds integer, p_step_id uuid) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_proposal public.ops_mission_proposals;
  v_expires timestamptz;
  v_tokens jsonb;
begin
  if coalesce(trim(p_actor), '') = '' or length(p_actor) > 200 then
    perform public.ops_raise('OPS_011', 'a link needs a label of at most 200 characters', null, 'The decision is signed with it: name the person or the room.');
  elsif p_ttl_seconds not between 60 and 604800 then
    perform public.ops_raise('OPS_011', format('a link cannot hold for %s seconds', p_ttl_seconds), null, 'Let it hold for a minute to a week.');
  end if;
  select * into v_proposal from public.ops_mission_proposals p where p.id = p_proposal_id;
  if v_proposal.id is null then
    perform public.ops_raise('OPS_012', format('there is no proposal %s', p_proposal_id));
  elsif v_proposal.status not in ('pending', 'voting') then
    perform public.ops_raise('OPS_015', format('proposal %s is %s and waits for nobody', p_proposal_id, v_proposal.status));
  end if;
  delete from public.ops_approval_links l using (
    select o.token_hash from public.ops_approval_links o where o.expires_at < v_now - interval '7 days'
    order by o.expires_at limit 100 for update skip locked) old
  where l.token_hash = old.token_hash;
  v_expires := least(v_now + p_ttl_seconds * interval '1 second', v_proposal.expires_at);
  with token as materialized (
    select v.verdict, replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '') as secret from (values ('approve'), ('reject')) v(verdict)
  ), stored as (
    insert into public.ops_approval_links (token_hash, proposal_id, verdict, content_hash, actor, step_id, expires_at, created_at)
    select public.ops_link_hash(t.secret), p_proposal_id, t.verdict, public.ops_content_hash(v_proposal.template, v_proposal.leaves),
      public.ops_person(p_actor), p_step_id, v_expires, v_now from token t
  )
  select jsonb_object_agg(t.verdict, t.secret) into v_tokens from token t;
  return v_tokens || jsonb_build_object('proposal_id', p_proposal_id, 'title', v_proposal.title, 'risk', v_proposal.risk, 'expires_at', v_expires);
end $$;
comment on function public.ops_store_links(uuid, text, integer, uuid) is 'Makes the two links of a waiting proposal; the one place where their tokens are seen. Sweeps old ones. Raises OPS_011, OPS_012, OPS_015.';

create or replace function public.ops_make_approval_links(p_proposal_id uuid, p_actor text, p_ttl_seconds integer default 86400) returns jsonb
language plpgsql set search_path = '' as $$
begin
  return public.ops_store_links(p_proposal_id, p_actor, p_ttl_seconds, null);
end $$;
comment on function public.ops_make_approval_links(uuid, text, integer) is
  'Makes a link that approves and one that rejects a waiting proposal: {approve, reject, proposal_id, title, risk, expires_at}, the first two being tokens for /api/ops/links/<token>, answered this once. They hold for p_ttl_seconds (a day) and not past the proposal. Raises OPS_011, OPS_012, OPS_015.';

create or replace function public.ops_live_step(p_worker text, p_step_id uuid, p_lease_epoch bigint, p_executor text) returns public.ops_mission_steps
language plpgsql stable set search_path = '' as $$
declare
  v_step public.ops_mission_steps;
begin
  select * into v_step from public.ops_mission_steps s
  where s.id = p_step_id and s.lease_epoch = p_lease_epoch and s.worker_id = p_worker and s.status || '' = 'running' and s.lease_expires_at > public.ops_clock();
  if v_step.id is null then
    perform public.ops_raise('OPS_006', format('%s holds no lease on step %s', p_worker, p_step_id), null, 'Stop: the step was taken away, or it has ended.');
  elsif v_step.executor <> p_executor then
    perform public.ops_raise('OPS_014', format('a step of executor %s may not do what %s does', v_step.executor, p_executor));
  end if;
  return v_step;
end $$;
comment on function public.ops_live_step(text, uuid, bigint, text) is 'The running step of this executor that the worker holds under this lease. Raises OPS_006 without a live lease, OPS_014 for another executor.';

create or replace function public.ops_make_links_as_step(p_worker text, p_step_id uuid, p_lease_epoch bigint) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_step public.ops_mission_steps := public.ops_live_step(p_worker, p_step_id, p_lease_epoch, 'notify');
begin
  return public.ops_store_links((v_step.params #>> '{approve,proposal_id}')::uuid, 'link:' || (v_step.params ->> 'channel'),
    coalesce(public.ops_integer(v_step.params #> '{approve,ttl_minutes}'), 1440) * 60, v_step.id);
end $$;
comment on function public.ops_make_links_as_step(text, uuid, bigint) is
  'The links of the proposal that a running notify step names in params.approve, labelled link:<channel>: as ops_make_approval_links. Everything comes from the step''s row. Raises OPS_006, OPS_011, OPS_012, OPS_014, OPS_015.';

-- Looked at and used --------------------------------------------------------------------------------------------

create or replace function public.ops_link_state(p_link public.ops_approval_links, p_proposal public.ops_mission_proposals, p_now timestamptz) returns text
language plpgsql stable set search_path = '' as $$
begin
  return case
    when p_link.used_at is not null then 'used'
    when p_link.ended_at is not null then 'ended'
    when p_link.expires_at <= p_now then 'expired'
    when p_proposal.id is null then 'gone'
    when p_proposal.status not in ('pending', 'voting') then 'decided'
    when p_link.content_hash is distinct from public.ops_content_hash(p_proposal.template, p_proposal.leaves) then 'changed'
    else 'open' end;
end $$;
comment on function public.ops_link_state(public.ops_approval_links, public.ops_mission_proposals, timestamptz) is
  'open, or why a link does not work: used, ended (another link was used), expired, gone, decided, changed.';

create or replace function public.ops_say_link(p_state text, p_status text) returns text
language plpgsql immutable set search_path = '' as $$
begin
  return case p_state
    when 'used' then 'this link was used already'
    when 'ended' then 'the other link was used already'
    when 'expired' then 'this link has run out'
    when 'gone' then 'the proposal is not there any more'
    when 'decided' then format('the proposal is already %s', replace(p_status, '_', ' '))
    when 'changed' then 'the proposal is not what it was when the link was made' end;
end $$;
comment on function public.ops_say_link(text, text) is 'The state of a link in words; null when it is open.';

create or replace function public.ops_look_at_link(p_token text) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_link public.ops_approval_links;
  v_proposal public.ops_mission_proposals;
  v_state text;
begin
  select * into v_link from public.ops_approval_links l where l.token_hash = public.ops_link_hash(p_token);
  if v_link.token_hash is null then
    perform public.ops_raise('OPS_012', 'there is no such link', null, 'It was cut off on the way, or it ran out long ago.');
  end if;
  select * into v_proposal from public.ops_mission_proposals p where p.id = v_link.proposal_id;
  v_state := public.ops_link_state(v_link, v_proposal, public.ops_clock());
  return jsonb_build_object('verdict', v_link.verdict, 'actor', v_link.actor, 'expires_at', v_link.expires_at, 'state', v_state, 'why_not', public.ops_say_link(v_state, v_proposal.status),
    'proposal_id', v_link.proposal_id, 'title', v_proposal.title, 'risk', v_proposal.risk, 'status', v_proposal.status, 'reason', v_proposal.reason, 'created_at', v_proposal.created_at,
    'pattern_id', v_proposal.pattern_id, 'template', case when v_state = 'open' then v_proposal.template end);
end $$;
comment on function public.ops_look_at_link(text) is
  'What a link would do; changes nothing: {verdict, actor, expires_at, state, why_not, proposal_id, title, risk, status, reason, created_at, pattern_id, template}. The template only while it is open. Raises OPS_012.';

create or replace function public.ops_use_link(p_token text, p_reason text default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_hash text := public.ops_link_hash(p_token);
  v_link public.ops_approval_links;
  v_proposal public.ops_mission_proposals;
  v_state text;
begin
  perform public.ops_lock_caps(public.ops_policy_value('proposal_caps'), '{}');
  perform from public.ops_mission_proposals p join public.ops_approval_links l on l.proposal_id = p.id where l.token_hash = v_hash for update of p;
  -- Read under the proposal's lock, so that of two at once the second sees what the first did.
  select * into v_link from public.ops_approval_links l where l.token_hash = v_hash;
  if v_link.token_hash is null then
    perform public.ops_raise('OPS_012', 'there is no such link', null, 'It was cut off on the way, or it ran out long ago.');
  end if;
  select * into v_proposal from public.ops_mission_proposals p where p.id = v_link.proposal_id;
  v_state := public.ops_link_state(v_link, v_proposal, v_now);
  if v_state <> 'open' then
    perform public.ops_raise(case v_state when 'changed' then 'OPS_003' else 'OPS_015' end, public.ops_say_link(v_state, v_proposal.status),
      jsonb_build_object('proposal_id', v_link.proposal_id, 'state', v_state), 'Look at the proposal on the dashboard, or with `ops-loop why`.');
  end if;
  update public.ops_approval_links l set used_at = case when l.token_hash = v_hash then v_now end, ended_at = case when l.token_hash <> v_hash then v_now end
  where l.proposal_id = v_link.proposal_id and l.actor = v_link.actor and l.used_at is null and l.ended_at is null;
  return jsonb_build_object('verdict', v_link.verdict) || case v_link.verdict
    when 'approve' then public.ops_approve_proposal(v_link.proposal_id, v_link.actor, nullif(trim(p_reason), ''), v_link.content_hash)
    else public.ops_reject_proposal(v_link.proposal_id, v_link.actor, nullif(trim(p_reason), '')) end;
end $$;
comment on function public.ops_use_link(text, text) is
  'Does what a link says, once, signed with its label: {verdict, id, status, created, reason, mission_id}. All links of that label to the proposal end with it. A refused decision (a cap, not an approver) leaves the link as it was. Raises OPS_003, OPS_012, OPS_015.';

-- Votes ---------------------------------------------------------------------------------------------------------

create or replace function public.ops_has_proposed(p_role text, p_proposal public.ops_mission_proposals) returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return p_role = p_proposal.proposed_by or exists (
    select from public.ops_agent_events e join public.ops_mission_steps s on s.mission_id = e.mission_id and s.role = p_role and s.executor <> 'vote'
    where e.id = p_proposal.event_id and coalesce(e.data ->> 'step_id', s.id::text) = s.id::text);
end $$;
comment on function public.ops_has_proposed(text, public.ops_mission_proposals) is
  'Whether a role is behind a proposal: named as its proposer, or it ran the step that raised the event that led to it (any step of the mission when the event names none).';

create or replace function public.ops_vote_as_step(p_worker text, p_step_id uuid, p_lease_epoch bigint) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_step public.ops_mission_steps := public.ops_live_step(p_worker, p_step_id, p_lease_epoch, 'vote');
  v_id uuid := v_step.params ->> 'proposal_id';
  v_proposal public.ops_mission_proposals;
  v_receipt jsonb;
begin
  if not exists (select from public.ops_schemas s where s.name = 'policy:agent_roles' and s.schema -> 'properties' ? v_step.role) then
    perform public.ops_raise('OPS_003', format('step %s runs as %s, which is no role that votes', v_step.key, coalesce(v_step.role, 'nobody')), null, 'Write the role into params.role of the template: one of agent_roles, not a placeholder.');
  end if;
  select * into v_proposal from public.ops_mission_proposals p where p.id = v_id;
  if v_proposal.id is null then
    perform public.ops_raise('OPS_012', format('there is no proposal %s', v_id));
  elsif public.ops_has_proposed(v_step.role, v_proposal) then
    perform public.ops_raise('OPS_003', format('%s is behind this proposal and has no vote', v_step.role), jsonb_build_object('proposal_id', v_id), 'Let other roles vote on it.');
  end if;
  v_receipt := case when v_proposal.status in ('pending', 'voting')
    then public.ops_cast_vote(v_id, v_step.role, v_step.params ->> 'vote', left(v_step.params ->> 'reason', 2000))
    else public.ops_proposal_receipt(v_id) end;
  return v_receipt || jsonb_build_object('voter', v_step.role, 'counted', exists (
    select from public.ops_proposal_votes v where v.proposal_id = v_id and v.voter = v_step.role and not v.person));
end $$;
comment on function public.ops_vote_as_step(text, uuid, bigint) is
  'Casts the vote of a running vote step: voter, proposal and choice are the role and params in its row. {id, status, created, reason, mission_id, voter, counted}; counted is false when the proposal was decided before. Raises OPS_003, OPS_006, OPS_012, OPS_014, OPS_015 while a cap holds the proposal.';

insert into public.ops_migrations (version, name) values ('0016', 'ops_links') on conflict do nothing;
