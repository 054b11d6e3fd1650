-- 0011 The demand radar: what people ask for, each mention counted once, scored, and moved from stage to stage.
--
-- Why so: a signal is one row, found by its dedupe key. A mention is counted under the lock of that row, once by its
-- key (the step's id when a step hears it), so that a retried step adds nothing. Score and legal moves are held by
-- triggers, so that an operator's own update is scored, checked and told like the functions' one; whichever road a
-- stage is changed by, its event is raised in the same transaction, at the step's place in its chain when a step did it.
-- Locks: rows of the radar, one after the other in the order of their dedupe keys, each with its row of ops_limits
-- (radar:…). A merge locks two by id; whoever meets it the other way round is rolled back and sent again by the port.
-- Undo: rollbacks/0011_ops_radar.sql.

-- Their arguments have changed, and an overload would leave two of each.
drop function if exists public.ops_radar_add(jsonb);
drop function if exists public.ops_radar_list(text, integer);

-- The score -----------------------------------------------------------------------------------------------------

create or replace function public.ops_radar_strength(p_mentions integer, p_sources integer, p_weight numeric) returns numeric
language plpgsql immutable set search_path = '' as $$
begin
  return round(p_weight * log(2.0, 1 + greatest(p_mentions, 1)) * (1 + 0.25 * (least(greatest(p_sources, 1), 9) - 1)), 3);
end $$;
comment on function public.ops_radar_strength(integer, integer, numeric) is
  'The score of a signal at the moment of its latest mention: weight * log2(1 + mentions) * (1 + (sources - 1) / 4), of which at most 9 sources count. One mention with weight 1 is 1.';

create or replace function public.ops_radar_score(p_score numeric, p_last_seen timestamptz, p_now timestamptz) returns numeric
language plpgsql immutable set search_path = '' as $$
begin
  -- Past 1,000 half-lives a double underflows, which PostgreSQL takes for an error.
  return round((p_score * 0.5::double precision ^ least(greatest(extract(epoch from p_now - p_last_seen) / (30 * 86400), 0), 1000)::double precision)::numeric, 3);
end $$;
comment on function public.ops_radar_score(numeric, timestamptz, timestamptz) is
  'What is left of a score now: half of it for every 30 days since the latest mention.';

create or replace function public.ops_radar_rank(p_score numeric, p_last_seen timestamptz) returns numeric
language plpgsql immutable set search_path = '' as $$
begin
  return case when p_score > 0 then round(log(2.0, p_score) + extract(epoch from p_last_seen) / (30 * 86400), 12) else '-Infinity' end;
end $$;
comment on function public.ops_radar_rank(numeric, timestamptz) is
  'The same order as the score now, at any time: log2 of the score now and this differ by a number that all signals share (forward decay, Cormode et al. 2009). So an index and a cursor hold while scores fade.';

create or replace function public.ops_radar_key(p_title text) returns text
language plpgsql immutable set search_path = '' as $$
begin
  return lower(regexp_replace(trim(p_title), '\s+', ' ', 'g'));
end $$;
comment on function public.ops_radar_key(text) is 'The dedupe key of a signal that was given none: its title in lower case, its spaces evened out.';

-- Stages --------------------------------------------------------------------------------------------------------

create or replace function public.ops_radar_moves(p_stage text) returns text[]
language plpgsql immutable set search_path = '' as $$
begin
  return case p_stage
    when 'watching' then array['validating', 'dropped']
    when 'validating' then array['building', 'dropped']
    when 'building' then array['shipped', 'dropped']
    when 'dropped' then array['watching']
    else '{}'::text[] end;
end $$;
comment on function public.ops_radar_moves(text) is
  'Where a signal may go from a stage: one stage on, or dropped; a dropped one may be watched again; shipped is the end.';

create or replace function public.ops_check_radar_move(p_signal public.ops_demand_radar, p_stage text) returns void
language plpgsql set search_path = '' as $$
declare
  v_moves text[] := public.ops_radar_moves(p_signal.stage);
begin
  if p_signal.merged_into is not null then
    perform public.ops_raise('OPS_015', format('signal %s was merged and moves no more', p_signal.id),
      jsonb_build_object('id', p_signal.id, 'merged_into', p_signal.merged_into), format('Move the one it was merged into: %s.', p_signal.merged_into));
  elsif not p_stage = any (v_moves) then
    perform public.ops_raise('OPS_015', format('a signal cannot go from %s to %s', p_signal.stage, p_stage),
      jsonb_build_object('id', p_signal.id, 'stage', p_signal.stage, 'legal', v_moves),
      case when v_moves = '{}' then 'Shipped is the end: add what is asked for next as a signal of its own.'
        else format('From %s it may go to %s.', p_signal.stage, array_to_string(v_moves, ' or ')) end);
  end if;
end $$;
comment on function public.ops_check_radar_move(public.ops_demand_radar, text) is 'Raises OPS_015 with the legal moves unless a signal may go to a stage.';

create or replace function public.ops_radar_written() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.dedupe_key := coalesce(new.dedupe_key, public.ops_radar_key(new.title));
  if cardinality(new.sources) = 0 then
    new.sources := array[new.source];
  end if;
  if tg_op = 'UPDATE' and old.stage is distinct from new.stage then
    perform public.ops_check_radar_move(old, new.stage);
    new.moved_at := public.ops_clock();
    if coalesce(current_setting('ops.engine', true), '') <> 'on' then
      new.moved_by := session_user;
      new.moved_step := null;
      new.move_reason := case when new.move_reason is distinct from old.move_reason then new.move_reason end;
    end if;
  end if;
  new.score := public.ops_radar_strength(new.mentions, cardinality(new.sources), new.weight);
  new.rank := public.ops_radar_rank(new.score, new.last_seen_at);
  return new;
end $$;
comment on function public.ops_radar_written() is
  'Trigger: completes a signal, scores it, and lets it move to a legal stage only; a move by hand is signed with the role that logged in. Raises OPS_015.';

create or replace function public.ops_radar_told() returns trigger
language plpgsql set search_path = '' as $$
declare
  v_data jsonb := jsonb_strip_nulls(jsonb_build_object('signal_id', new.id, 'title', new.title, 'stage', new.stage, 'tags', new.tags, 'mentions', new.mentions,
    'score', public.ops_radar_score(new.score, new.last_seen_at, public.ops_clock()), 'from', case when tg_op = 'UPDATE' then old.stage end,
    'by', new.moved_by, 'reason', new.move_reason, 'merged_into', new.merged_into, 'step_id', new.moved_step));
begin
  if new.moved_step is null then
    perform public.ops_raise_event('radar:' || new.stage, v_data);
  else
    perform public.ops_raise_mission_event('radar:' || new.stage, (select s.mission_id from public.ops_mission_steps s where s.id = new.moved_step), v_data);
  end if;
  return null;
end $$;
comment on function public.ops_radar_told() is
  'Trigger: a signal came to a stage, so radar:<stage> is raised; as an event of the step''s mission, one deeper than that, when a step did it.';

create or replace trigger ops_radar_added before insert on public.ops_demand_radar
  for each row execute function public.ops_radar_written();
-- Columns that operators add are notes: writing them is no change of the signal.
create or replace trigger ops_radar_changed before update on public.ops_demand_radar
  for each row when ((old.dedupe_key, old.source, old.sources, old.stage, old.mentions, old.weight, old.last_seen_at, old.score, old.rank)
    is distinct from (new.dedupe_key, new.source, new.sources, new.stage, new.mentions, new.weight, new.last_seen_at, new.score, new.rank))
  execute function public.ops_radar_written();
-- Copies of existing rows, with their first_seen_at, are let in without a word.
create or replace trigger ops_radar_heard after insert on public.ops_demand_radar
  for each row when (coalesce(current_setting('ops.engine', true), '') = 'on' or new.first_seen_at >= now())
  execute function public.ops_radar_told();
create or replace trigger ops_radar_moved after update on public.ops_demand_radar
  for each row when (old.stage is distinct from new.stage) execute function public.ops_radar_told();

-- Mentions ------------------------------------------------------------------------------------------------------

create or replace function public.ops_require_step(p_step_id uuid, p_lease_epoch bigint) returns void
language plpgsql set search_path = '' as $$
begin
  if p_step_id is not null and not exists (
    select from public.ops_mission_steps s where s.id = p_step_id and s.status = 'running' and s.lease_epoch = p_lease_epoch) then
    perform public.ops_raise('OPS_006', format('step %s is not running under lease epoch %s', p_step_id, coalesce(p_lease_epoch::text, 'null')),
      jsonb_build_object('step_id', p_step_id, 'lease_epoch', p_lease_epoch), 'Stop: another worker has this step, or it has ended. Nothing was changed.');
  end if;
end $$;
comment on function public.ops_require_step(uuid, bigint) is 'Raises OPS_006 unless the step that a call is made for is running under this lease epoch. Without a step it says nothing.';

create or replace function public.ops_radar_once(p_key text) returns boolean
language plpgsql set search_path = '' as $$
begin
  insert into public.ops_limits (key, window_start, used, updated_at) values ('radar:' || p_key, public.ops_clock(), 1, public.ops_clock()) on conflict do nothing;
  return found;
end $$;
comment on function public.ops_radar_once(text) is 'True the first time it is asked for a key, and again once the heartbeat has forgotten it after 40 days.';

create or replace function public.ops_radar_problem(p_signal jsonb) returns text
language plpgsql immutable set search_path = '' as $$
declare
  v_wrong text;
begin
  if jsonb_typeof(p_signal) is distinct from 'object' then
    return 'is not an object';
  elsif coalesce(trim(p_signal ->> 'title'), '') = '' then
    return 'has no title';
  end if;
  select case when jsonb_typeof(p_signal -> m.name) not in ('string', 'null') then m.name || ' must be text'
    when length(p_signal ->> m.name) > m.longest then format('%s is longer than %s characters', m.name, m.longest)
    when p_signal ->> m.name = '' then m.name || ' is empty' end into v_wrong
  from (values ('title', 500), ('description', 20000), ('source', 200), ('by', 200), ('link', 2000), ('dedupe_key', 500), ('mention_key', 500)) m(name, longest)
  where jsonb_typeof(p_signal -> m.name) not in ('string', 'null') or length(p_signal ->> m.name) > m.longest or p_signal ->> m.name = '' and m.name <> 'description' limit 1;
  return case
    when v_wrong is not null then v_wrong
    when p_signal ->> 'link' !~* '^https?://\S+$' then 'link must be an address that begins with http:// or https://'
    when jsonb_typeof(coalesce(nullif(p_signal -> 'tags', 'null'), '[]')) <> 'array' or jsonb_array_length(coalesce(nullif(p_signal -> 'tags', 'null'), '[]')) > 50
      or jsonb_path_exists(p_signal, 'strict $.tags[*] ? (@.type() != "string" || @ like_regex "^.{101,}$" flag "s")', '{}', true) then 'tags must be at most 50 texts of at most 100 characters'
    when jsonb_typeof(coalesce(p_signal -> 'weight', '1')) <> 'number' or not (coalesce(p_signal ->> 'weight', '1'))::numeric between 0 and 100 then 'weight must be a number from 0 to 100'
  end;
end $$;
comment on function public.ops_radar_problem(jsonb) is 'What is wrong with a signal that somebody sends; null if nothing.';

create or replace function public.ops_radar_mention(p_signal jsonb, p_step_id uuid, p_now timestamptz) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_said jsonb := nullif(p_signal -> 'evidence', 'null');
begin
  return jsonb_strip_nulls(jsonb_build_object('at', p_now, 'source', coalesce(p_signal ->> 'source', 'manual'), 'by', p_signal -> 'by', 'link', p_signal -> 'link', 'step_id', p_step_id))
    || case when v_said is null then '{}' when octet_length(v_said::text) <= 2000 then jsonb_build_object('data', v_said)
      else jsonb_build_object('data', left(v_said::text, 2000) || '…') end;
end $$;
comment on function public.ops_radar_mention(jsonb, uuid, timestamptz) is 'What is kept of one mention: {at, source, by, link, step_id, data}. Of evidence over 2,000 bytes the beginning is kept, as text.';

create or replace function public.ops_radar_latest(p_mentions jsonb) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return jsonb_path_query_array(p_mentions, 'lax $[last - 99 to last]');
end $$;
comment on function public.ops_radar_latest(jsonb) is 'The last 100 of a list.';

create or replace function public.ops_radar_join(p_known text[], p_more text[]) returns text[]
language plpgsql immutable set search_path = '' as $$
begin
  return (p_known || array(select m.name from unnest(p_more) with ordinality m(name, n) where m.name <> all (p_known) group by m.name order by min(m.n)))[1:50];
end $$;
comment on function public.ops_radar_join(text[], text[]) is 'A list with what it does not have yet at its end, up to 50 in all.';

create or replace function public.ops_radar_lock(p_id uuid) returns uuid
language plpgsql set search_path = '' as $$
declare
  v_id uuid;
  v_next uuid := p_id;
begin
  -- A merge asks for an unmerged target, so there is no circle but by hand.
  for i in 1 .. 20 loop
    select r.id, r.merged_into into v_id, v_next from public.ops_demand_radar r where r.id = v_next for no key update;
    exit when v_next is null;
  end loop;
  return v_id;
end $$;
comment on function public.ops_radar_lock(uuid) is 'Locks a signal, or the one it was merged into, and answers its id; null when it is gone.';

create or replace function public.ops_radar_hear(p_key text, p_signal jsonb, p_step_id uuid, out signal_id uuid, out created boolean, out counted boolean)
language plpgsql set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_mention jsonb := public.ops_radar_mention(p_signal, p_step_id, v_now);
  v_source text := v_mention ->> 'source';
  v_tags text[] := array(select jsonb_array_elements_text(coalesce(nullif(p_signal -> 'tags', 'null'), '[]')));
  v_once text := coalesce(p_signal ->> 'mention_key', p_step_id::text);
  v_heard uuid;
begin
  loop
    insert into public.ops_demand_radar as r (dedupe_key, title, description, source, weight, tags, evidence, moved_step, first_seen_at, last_seen_at)
    values (p_key, trim(p_signal ->> 'title'), p_signal ->> 'description', v_source, coalesce((p_signal ->> 'weight')::numeric, 1),
      public.ops_radar_join('{}', v_tags), jsonb_build_array(v_mention), p_step_id, v_now, v_now)
    on conflict (dedupe_key) do nothing returning r.id, r.id into v_heard, signal_id;
    created := found;
    exit when created;
    select r.id into v_heard from public.ops_demand_radar r where r.dedupe_key = p_key;
    signal_id := public.ops_radar_lock(v_heard);
    exit when signal_id is not null; -- else it was deleted in between
  end loop;
  -- By the row that was heard, not the one it was merged into: a merge between two tries counts nothing twice.
  counted := v_once is null or public.ops_radar_once(format('%s:mention:%s', v_heard, v_once));
  if counted and not created then
    update public.ops_demand_radar r set mentions = r.mentions + 1, last_seen_at = greatest(r.last_seen_at, v_now),
      description = coalesce(r.description, p_signal ->> 'description'), tags = public.ops_radar_join(r.tags, v_tags),
      sources = public.ops_radar_join(r.sources, array[v_source]), evidence = public.ops_radar_latest(r.evidence || v_mention)
    where r.id = signal_id;
  end if;
end $$;
comment on function public.ops_radar_hear(text, jsonb, uuid) is
  'One mention of the signal with this key: makes the signal or counts the mention, once per mention key; answers the signal that counts it, whether it is new, and whether it was counted.';

create or replace function public.ops_radar_add(p_signals jsonb, p_step_id uuid default null, p_lease_epoch bigint default null)
returns table ("position" integer, id uuid, created boolean, counted boolean, mentions integer, score numeric, stage text)
language plpgsql set search_path = '' as $$
declare
  v_was text := public.ops_engine_begin();
  v_bad record;
  v_item record;
  v_heard record;
begin
  if jsonb_typeof(p_signals) is distinct from 'array' then
    perform public.ops_raise('OPS_011', 'signals must be a list', null, 'Send [{"title": "…"}].');
  end if;
  select s.n - 1 as n, public.ops_radar_problem(s.item) as problem into v_bad from jsonb_array_elements(p_signals) with ordinality s(item, n)
  where public.ops_radar_problem(s.item) is not null order by s.n limit 1;
  if found then
    perform public.ops_raise('OPS_011', format('signal %s: %s', v_bad.n, v_bad.problem), jsonb_build_object('position', v_bad.n),
      'Nothing was stored. Correct this signal and send the list again.');
  end if;
  perform public.ops_require_step(p_step_id, p_lease_epoch);
  for v_item in
    select s.n::integer - 1 as n, s.item, coalesce(s.item ->> 'dedupe_key', public.ops_radar_key(s.item ->> 'title')) as key
    from jsonb_array_elements(p_signals) with ordinality s(item, n) order by key, s.n
  loop
    v_heard := public.ops_radar_hear(v_item.key, v_item.item, p_step_id);
    return query
    select v_item.n, r.id, v_heard.created, v_heard.counted, r.mentions, public.ops_radar_score(r.score, r.last_seen_at, public.ops_clock()), r.stage
    from public.ops_demand_radar r where r.id = v_heard.signal_id;
  end loop;
  perform public.ops_engine_end(v_was);
end $$;
comment on function public.ops_radar_add(jsonb, uuid, bigint) is
  'Hears signals [{title, description?, source?, by?, link?, tags?, evidence?, weight?, dedupe_key?, mention_key?}]: a new one is watched (radar:watching), a known one counts a further mention, once per mention_key. A step names itself and its lease epoch: then its id is the mention key, and the event is one of its mission. A row each, with its place from 0. Raises OPS_011, OPS_006.';

-- What operators and steps do with a signal ---------------------------------------------------------------------

create or replace function public.ops_radar_hold(p_id uuid) returns public.ops_demand_radar
language plpgsql set search_path = '' as $$
declare
  v_signal public.ops_demand_radar;
begin
  select r.* into v_signal from public.ops_demand_radar r where r.id = p_id for no key update;
  if not found then
    perform public.ops_raise('OPS_012', format('no signal has the id %s', coalesce(p_id::text, 'null')), null, 'ops_radar_list() and `ops-loop radar list` show the ids.');
  end if;
  return v_signal;
end $$;
comment on function public.ops_radar_hold(uuid) is 'Locks a signal and answers it. Raises OPS_012.';

create or replace function public.ops_check_radar_stage(p_stage text, p_more text[] default '{}') returns void
language plpgsql set search_path = '' as $$
declare
  v_known text[] := array['watching', 'validating', 'building', 'shipped', 'dropped'] || p_more;
begin
  if p_stage is null or not p_stage = any (v_known) then
    perform public.ops_raise('OPS_011', format('%s is no stage', coalesce(p_stage, 'null')), null, format('Use one of %s.', array_to_string(v_known, ', ')));
  end if;
end $$;
comment on function public.ops_check_radar_stage(text, text[]) is 'Raises OPS_011 unless it is one of the five stages, or of the further words.';

create or replace function public.ops_radar_move(p_id uuid, p_stage text, p_reason text default null, p_actor text default null,
  p_step_id uuid default null, p_lease_epoch bigint default null)
returns jsonb language plpgsql set search_path = '' as $$
declare
  v_was text := public.ops_engine_begin();
  v_signal public.ops_demand_radar;
  v_from text;
  v_changed boolean;
begin
  perform public.ops_check_radar_stage(p_stage);
  perform public.ops_require_step(p_step_id, p_lease_epoch);
  v_signal := public.ops_radar_hold(p_id);
  v_from := v_signal.stage;
  v_changed := (p_step_id is null or public.ops_radar_once(format('%s:move:%s:%s', p_id, p_step_id, p_stage))) and v_from <> p_stage;
  if v_changed then
    update public.ops_demand_radar r set stage = p_stage, move_reason = left(p_reason, 2000), moved_step = p_step_id,
      moved_by = left(coalesce(p_actor, 'step:' || p_step_id, session_user), 200)
    where r.id = p_id returning r.* into v_signal;
  end if;
  perform public.ops_engine_end(v_was);
  return jsonb_build_object('id', p_id, 'stage', v_signal.stage, 'from', v_from, 'changed', v_changed, 'next', public.ops_radar_moves(v_signal.stage));
end $$;
comment on function public.ops_radar_move(uuid, text, text, text, uuid, bigint) is
  'Moves a signal to a stage and raises radar:<stage>: {id, stage, from, changed, next}. Where it is already, and when this step has made this move before, nothing changes. Raises OPS_015 with the legal moves, OPS_012, OPS_011, OPS_006.';

create or replace function public.ops_radar_weigh(p_id uuid, p_weight numeric, p_step_id uuid default null, p_lease_epoch bigint default null)
returns jsonb language plpgsql set search_path = '' as $$
declare
  v_was text := public.ops_engine_begin();
  v_signal public.ops_demand_radar;
  v_changed boolean;
begin
  if p_weight is null or not p_weight between 0 and 100 then
    perform public.ops_raise('OPS_011', 'a weight is a number from 0 to 100', null, '1 is the weight of a signal nobody has weighed, 0 mutes it.');
  end if;
  perform public.ops_require_step(p_step_id, p_lease_epoch);
  v_signal := public.ops_radar_hold(p_id);
  v_changed := (p_step_id is null or public.ops_radar_once(format('%s:weigh:%s', p_id, p_step_id))) and v_signal.weight <> p_weight;
  if v_changed then
    update public.ops_demand_radar r set weight = p_weight where r.id = p_id returning r.* into v_signal;
  end if;
  perform public.ops_engine_end(v_was);
  return jsonb_build_object('id', p_id, 'weight', v_signal.weight, 'score', public.ops_radar_score(v_signal.score, v_signal.last_seen_at, public.ops_clock()), 'changed', v_changed);
end $$;
comment on function public.ops_radar_weigh(uuid, numeric, uuid, bigint) is
  'Sets the weight that multiplies a signal''s score: {id, weight, score, changed}. A step does so once. Raises OPS_011, OPS_012, OPS_006.';

create or replace function public.ops_radar_merge(p_from uuid, p_into uuid, p_reason text default null, p_actor text default null)
returns jsonb language plpgsql set search_path = '' as $$
declare
  v_was text := public.ops_engine_begin();
  v_from public.ops_demand_radar;
  v_into public.ops_demand_radar;
  v_changed boolean;
begin
  perform from public.ops_demand_radar r where r.id in (p_from, p_into) order by r.id for no key update;
  v_from := public.ops_radar_hold(p_from);
  v_into := public.ops_radar_hold(p_into);
  v_changed := v_from.merged_into is distinct from p_into;
  if v_changed and (p_from = p_into or v_from.stage = 'shipped' or v_from.merged_into is not null or v_into.merged_into is not null) then
    perform public.ops_raise('OPS_015', format('signal %s cannot be merged into %s', p_from, p_into),
      jsonb_build_object('from', p_from, 'into', p_into, 'stage', v_from.stage, 'merged_into', coalesce(v_from.merged_into, v_into.merged_into)),
      'Merge two different signals that were not merged before; a shipped one stays, so merge the other into it.');
  elsif v_changed then
    update public.ops_demand_radar r set mentions = r.mentions + v_from.mentions, sources = public.ops_radar_join(r.sources, v_from.sources),
      tags = public.ops_radar_join(r.tags, v_from.tags), description = coalesce(r.description, v_from.description),
      evidence = public.ops_radar_latest((select coalesce(jsonb_agg(e.m order by (e.m ->> 'at')::timestamptz nulls first), '[]') from jsonb_array_elements(r.evidence || v_from.evidence) e(m))),
      first_seen_at = least(r.first_seen_at, v_from.first_seen_at), last_seen_at = greatest(r.last_seen_at, v_from.last_seen_at)
    where r.id = p_into returning r.* into v_into;
    update public.ops_demand_radar r set merged_into = p_into, stage = 'dropped', move_reason = left(p_reason, 2000), moved_step = null,
      moved_by = left(coalesce(p_actor, session_user), 200)
    where r.id = p_from;
  end if;
  perform public.ops_engine_end(v_was);
  return jsonb_build_object('id', p_into, 'from', p_from, 'changed', v_changed, 'mentions', v_into.mentions,
    'score', public.ops_radar_score(v_into.score, v_into.last_seen_at, public.ops_clock()));
end $$;
comment on function public.ops_radar_merge(uuid, uuid, text, text) is
  'One signal turned out to be another: its mentions, sources, tags and evidence go there, it is dropped, and what is heard under its key counts there from now on: {id, from, changed, mentions, score}. A second call changes nothing. Raises OPS_015, OPS_012.';

-- Looking -------------------------------------------------------------------------------------------------------

create or replace function public.ops_radar_cursor(p_sort text, p_cursor text, out key numeric, out id uuid)
language plpgsql immutable set search_path = '' as $$
declare
  v_parts text[] := regexp_match(p_cursor, '^(score|recent|new|mentions) (-?[0-9]{1,20}(?:\.[0-9]{1,20})?|-Infinity) ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$');
begin
  if p_cursor is not null and v_parts[1] is distinct from p_sort then
    perform public.ops_raise('OPS_011', 'the cursor is not one of this list', null, 'Send the cursor of the last row of the page before, with the same sort and filters.');
  end if;
  key := v_parts[2]::numeric;
  id := v_parts[3]::uuid;
end $$;
comment on function public.ops_radar_cursor(text, text) is 'The place in a list that a cursor names; nulls without one. Raises OPS_011.';

create or replace function public.ops_radar_list(p_stage text default null, p_tag text default null, p_text text default null, p_min_score numeric default null,
  p_sort text default 'score', p_limit integer default 50, p_cursor text default null)
returns table (id uuid, title text, source text, sources integer, stage text, score numeric, weight numeric, tags text[], mentions integer, dedupe_key text,
  first_seen_at timestamptz, last_seen_at timestamptz, moved_at timestamptz, merged_into uuid, cursor text)
language plpgsql stable set search_path = '' as $$
declare
  v_now timestamptz := public.ops_clock();
  v_sort text := coalesce(p_sort, 'score');
  v_least numeric := public.ops_radar_rank(coalesce(p_min_score, 0), v_now);
  v_text text := lower(nullif(p_text, ''));
  v_after record;
begin
  if p_stage is not null then
    perform public.ops_check_radar_stage(p_stage, array['open']);
  end if;
  if v_sort not in ('score', 'recent', 'new', 'mentions') then
    perform public.ops_raise('OPS_011', format('%s is no order', v_sort), null, 'Sort by score, recent, new or mentions.');
  end if;
  v_after := public.ops_radar_cursor(v_sort, p_cursor);
  return query
  select s.id, s.title, s.source, cardinality(s.sources), s.stage, public.ops_radar_score(s.score, s.last_seen_at, v_now), s.weight, s.tags, s.mentions, s.dedupe_key,
    s.first_seen_at, s.last_seen_at, s.moved_at, s.merged_into, concat_ws(' ', v_sort, s.key, s.id)
  from (
    select r.*, case v_sort when 'score' then r.rank when 'recent' then extract(epoch from r.last_seen_at) when 'new' then extract(epoch from r.first_seen_at) else r.mentions end as key
    from public.ops_demand_radar r) s
  where (p_stage is null or s.stage = p_stage or p_stage = 'open' and s.stage not in ('shipped', 'dropped'))
    and (p_tag is null or p_tag = any (s.tags))
    and (v_text is null or strpos(lower(s.title), v_text) > 0 or strpos(lower(s.description), v_text) > 0)
    and (p_min_score is null or s.rank >= v_least)
    and (p_cursor is null or (s.key, s.id) < (v_after.key, v_after.id))
  order by s.key desc, s.id desc limit least(greatest(coalesce(p_limit, 50), 1), 1000);
end $$;
comment on function public.ops_radar_list(text, text, text, numeric, text, integer, text) is
  'Signals, most wanted first (sort score), or by the latest mention (recent), the first one (new) or their number (mentions); of one stage (open: neither shipped nor dropped), with a tag, with a text in title or description, from a score on. Each row has the cursor of the page that begins after it. At most 1,000. Raises OPS_011.';

create or replace function public.ops_radar_top(p_count integer default 10)
returns table (id uuid, title text, source text, sources integer, stage text, score numeric, weight numeric, tags text[], mentions integer, dedupe_key text,
  first_seen_at timestamptz, last_seen_at timestamptz, moved_at timestamptz, merged_into uuid, cursor text)
language sql stable set search_path = '' as $$
  select l.* from public.ops_radar_list(p_stage => 'open', p_limit => p_count) l
$$;
comment on function public.ops_radar_top(integer) is 'The signals wanted most of those neither shipped nor dropped.';

create or replace function public.ops_radar_get(p_id uuid default null, p_dedupe_key text default null) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_signal public.ops_demand_radar;
  v_next public.ops_demand_radar;
begin
  if (p_id is null) = (p_dedupe_key is null) then
    perform public.ops_raise('OPS_011', 'a signal is asked for by its id or by its dedupe key', null, 'Give exactly one of them.');
  end if;
  select r.* into v_signal from public.ops_demand_radar r where r.id = p_id or r.dedupe_key = p_dedupe_key;
  if not found then
    perform public.ops_raise('OPS_012', case when p_id is null then format('no signal has the dedupe key %s', left(p_dedupe_key, 100)) else format('no signal has the id %s', p_id) end,
      null, 'ops_radar_list() and `ops-loop radar list` show the ids.');
  end if;
  -- What is heard under the key of a merged signal counts where it went; by its id it is shown itself.
  for i in 1 .. 20 loop
    exit when p_dedupe_key is null or v_signal.merged_into is null;
    select r.* into v_next from public.ops_demand_radar r where r.id = v_signal.merged_into;
    exit when not found;
    v_signal := v_next;
  end loop;
  return jsonb_build_object('id', v_signal.id, 'title', v_signal.title, 'description', v_signal.description, 'stage', v_signal.stage, 'next', public.ops_radar_moves(case when v_signal.merged_into is null then v_signal.stage end),
    'score', public.ops_radar_score(v_signal.score, v_signal.last_seen_at, public.ops_clock()), 'weight', v_signal.weight, 'mentions', v_signal.mentions, 'source', v_signal.source,
    'sources', v_signal.sources, 'tags', v_signal.tags, 'dedupe_key', v_signal.dedupe_key, 'first_seen_at', v_signal.first_seen_at, 'last_seen_at', v_signal.last_seen_at,
    'moved_at', v_signal.moved_at, 'moved_by', v_signal.moved_by, 'move_reason', v_signal.move_reason, 'moved_step', v_signal.moved_step, 'merged_into', v_signal.merged_into,
    'evidence', v_signal.evidence);
end $$;
comment on function public.ops_radar_get(uuid, text) is
  'One signal by its id, or by a dedupe key that counts for it, with all that is known of it: its score now, the legal moves as next, and its latest 100 mentions as evidence, newest last. Raises OPS_012, OPS_011.';

create or replace function public.ops_check_radar() returns table (invariant text, entity text, id text, detail jsonb)
language sql stable set search_path = '' as $$
  select 'evidence_beyond_mentions', 'signal', r.id::text, jsonb_build_object('mentions', r.mentions, 'evidence', jsonb_array_length(r.evidence))
  from public.ops_demand_radar r where jsonb_array_length(r.evidence) > least(r.mentions, 100)
  union all
  select 'merged_signal_open', 'signal', r.id::text, jsonb_build_object('stage', r.stage, 'merged_into', r.merged_into)
  from public.ops_demand_radar r where r.merged_into is not null and r.stage <> 'dropped'
$$;
comment on function public.ops_check_radar() is 'Signals with more evidence than mentions or than is kept, and merged ones that are not dropped.';

insert into public.ops_migrations (version, name) values ('0011', 'ops_radar') on conflict do nothing;
