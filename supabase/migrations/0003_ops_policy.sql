-- 0003 Policies as data that can't be wrong: schemas, templates, conditions, compilation, versions, switches.
--
-- Why so: operators change behaviour by editing a row, often at night. Every write is therefore checked here, in the
-- database, with the place and the remedy in the message; it is versioned and recorded whoever makes it; and the
-- reaction matrix is compiled once per write, so that deciding an event reads columns and never parses text.
-- Locks: create trigger locks ops_policy and ops_policy_history for a moment. Undo: rollbacks/0003_ops_policy.sql.

-- JSON Schema, the subset that our generated schemas use ---------------------------------------------------------

create or replace function public.ops_try_jsonb(p_text text) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  return p_text::jsonb;
exception when others then
  return null;
end $$;
comment on function public.ops_try_jsonb(text) is 'The text as JSON; null when it is none. Never raises.';

create or replace function public.ops_json_path(p_base text, p_path jsonb) returns text
language sql immutable set search_path = '' as $$
  select p_base || coalesce(string_agg(
    case when jsonb_typeof(s.value) = 'number' then '[' || (s.value #>> '{}') || ']'
         when s.value #>> '{}' ~ '^[A-Za-z_][A-Za-z0-9_]*$' then '.' || (s.value #>> '{}')
         else '[' || s.value::text || ']' end, '' order by s.ordinality), '')
  from jsonb_array_elements(p_path) with ordinality s
$$;
comment on function public.ops_json_path(text, jsonb) is
  'A list of keys and indexes as text for people, appended to p_base: $ and ["patterns", 2, "a b"] give $.patterns[2]["a b"].';

create or replace function public.ops_problem(p_path text, p_message text, p_fix text) returns jsonb
language sql immutable set search_path = '' as $$
  select jsonb_build_array(jsonb_build_object('path', p_path, 'message', p_message, 'fix', p_fix))
$$;
comment on function public.ops_problem(text, text, text) is 'A list of one problem: where, what is wrong, what to write instead.';

create or replace function public.ops_type_words(p_type text) returns text
language sql immutable set search_path = '' as $$
  select case p_type
    when 'null' then 'null' when 'boolean' then 'true or false' when 'array' then 'a list' when 'string' then 'text'
    when 'object' then 'an object' when 'integer' then 'an integer' else 'a ' || p_type end
$$;
comment on function public.ops_type_words(text) is 'A JSON type as people say it, for messages.';

create or replace function public.ops_schema_words(p_schema jsonb) returns text
language sql immutable set search_path = '' as $$
  select coalesce(
    p_schema ->> 'description',
    (select 'one of ' || string_agg(e.value::text, ', ' order by e.ordinality)
     from jsonb_array_elements(p_schema -> 'enum') with ordinality e),
    'exactly ' || (p_schema -> 'const')::text,
    (select string_agg(public.ops_schema_words(a.value), ', or ' order by a.ordinality)
     from jsonb_array_elements(coalesce(p_schema -> 'anyOf', p_schema -> 'oneOf')) with ordinality a),
    (select string_agg(public.ops_type_words(t.value), ' or ' order by t.ordinality)
     from jsonb_array_elements_text(
       case jsonb_typeof(p_schema -> 'type') when 'array' then p_schema -> 'type'
         when 'string' then jsonb_build_array(p_schema -> 'type') end) with ordinality t),
    'a JSON value')
$$;
comment on function public.ops_schema_words(jsonb) is 'What a schema asks for, in words, for messages.';

create or replace function public.ops_schema_type_fits(p_types jsonb, p_value jsonb) returns boolean
language sql immutable set search_path = '' as $$
  select case when p_types is null or p_types ? jsonb_typeof(p_value) then true
    when jsonb_typeof(p_value) = 'number' and p_types ? 'integer' then (p_value #>> '{}')::numeric % 1 = 0
    else false end
$$;
comment on function public.ops_schema_type_fits(jsonb, jsonb) is
  'Whether a value is of the type, or of one of the types, that a schema names. No type named means any. 1.0 is an integer.';

create or replace function public.ops_schema_unsupported(p_schema jsonb) returns text[]
language sql immutable set jit = off set search_path = '' as $$
  with recursive parts(path, part) as (
    select '$', p_schema
    union all
    select p.path || '.' || m.key || coalesce('.' || i.name, ''), i.value
    from parts p
    cross join lateral jsonb_each(case jsonb_typeof(p.part) when 'object' then p.part else '{}' end) m
    cross join lateral (
      select null::text as name, m.value where m.key in ('items', 'additionalProperties', 'propertyNames')
      union all
      select e.key, e.value from jsonb_each(
        case when m.key in ('properties', '$defs') and jsonb_typeof(m.value) = 'object' then m.value else '{}' end) e
      union all
      select (a.ordinality - 1)::text, a.value from jsonb_array_elements(
        case when m.key in ('anyOf', 'oneOf', 'prefixItems') and jsonb_typeof(m.value) = 'array' then m.value else '[]' end)
        with ordinality a
    ) i
  )
  select coalesce(array_agg(p.path || '.' || k.key order by p.path, k.key), '{}')
  from parts p
  cross join lateral jsonb_object_keys(case jsonb_typeof(p.part) when 'object' then p.part else '{}' end) k(key)
  where k.key not in (
      'type', 'properties', 'required', 'additionalProperties', 'propertyNames', 'items', 'prefixItems', 'enum', 'const',
      'minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'minLength', 'maxLength', 'pattern', 'minItems',
      'maxItems', 'minProperties', 'maxProperties', 'uniqueItems', 'anyOf', 'oneOf', '$ref', '$defs', 'default',
      'description', 'title', 'format', '$schema', 'examples', '$comment')
    or (k.key = '$ref' and p.part ->> '$ref' !~ '^#(/\$defs/[^/]+)?$')
$$;
comment on function public.ops_schema_unsupported(jsonb) is
  'Keywords of a schema that ops_schema_problems does not interpret, each with its place; empty when the schema checks all it says.';

create or replace function public.ops_schema_check(p_root jsonb, p_schema jsonb, p_value jsonb, p_path text, p_placeholders boolean)
returns jsonb language plpgsql immutable set search_path = '' as $$
declare
  v_type text := jsonb_typeof(p_value);
  v_want text := p_schema ->> 'type';
  v_found jsonb := '[]';
begin
  if p_schema is null then
    return v_found;
  elsif p_schema = 'false' then
    return public.ops_problem(p_path, 'is not allowed here', 'Remove it.');
  elsif p_placeholders and v_type = 'string' and strpos(p_value #>> '{}', '{{') > 0 then
    return v_found;
  end if;
  -- A plain type that fits is by far the commonest case, so it is asked without a call.
  if v_want <> v_type and not public.ops_schema_type_fits(p_schema -> 'type', p_value) then
    return public.ops_problem(p_path,
      format('must be %s; it is %s', public.ops_schema_words(p_schema), public.ops_type_words(v_type)),
      format('Write %s.', public.ops_schema_words(p_schema)));
  elsif (p_schema ? 'enum' and not p_schema -> 'enum' @> jsonb_build_array(p_value)) or p_schema -> 'const' <> p_value then
    return public.ops_problem(p_path,
      format('must be %s; it is %s', public.ops_schema_words(p_schema - 'description'), left(p_value::text, 100)),
      format('Write %s.', public.ops_schema_words(p_schema - 'description')));
  end if;
  if p_schema ? '$ref' then
    v_found := public.ops_schema_check(p_root,
      case p_schema ->> '$ref' when '#' then p_root else p_root #> array['$defs', substr(p_schema ->> '$ref', 9)] end,
      p_value, p_path, p_placeholders);
  end if;
  if p_schema ?| '{anyOf,oneOf}' then
    v_found := v_found || public.ops_schema_check_any(p_root, p_schema, p_value, p_path, p_placeholders);
  end if;
  if v_type = 'object' then
    v_found := v_found || public.ops_schema_check_object(p_root, p_schema, p_value, p_path, p_placeholders);
  elsif v_type = 'array' then
    v_found := v_found || public.ops_schema_check_array(p_root, p_schema, p_value, p_path, p_placeholders);
  elsif v_type = 'string' and p_schema ?| '{minLength,maxLength,pattern}' then
    v_found := v_found || public.ops_schema_check_text(p_schema, p_value #>> '{}', p_path);
  elsif v_type = 'number' and p_schema ? 'type' then
    v_found := v_found || public.ops_schema_check_number(p_schema, (p_value #>> '{}')::numeric, p_path);
  end if;
  return v_found;
end $$;
comment on function public.ops_schema_check(jsonb, jsonb, jsonb, text, boolean) is
  'Checks one value against one schema and everything below it; p_root holds the $defs. A list of {path, message, fix}, [] when all is well or there is no schema.';

create or replace function public.ops_schema_check_any(p_root jsonb, p_schema jsonb, p_value jsonb, p_path text, p_placeholders boolean)
returns jsonb language plpgsql immutable set search_path = '' as $$
declare
  v_branch jsonb;
  v_found jsonb;
  v_near jsonb;
  v_near_count integer := 0;
  v_fits integer := 0;
begin
  for v_branch in select b from jsonb_array_elements(coalesce(p_schema -> 'anyOf', p_schema -> 'oneOf')) b loop
    v_found := public.ops_schema_check(p_root, v_branch, p_value, p_path, p_placeholders);
    if v_found = '[]' then
      v_fits := v_fits + 1;
      exit when p_schema ? 'anyOf' or p_placeholders;
    elsif public.ops_schema_is_meant(v_branch, p_value) then
      v_near := v_found;
      v_near_count := v_near_count + 1;
    end if;
  end loop;
  if v_fits = 1 then
    return '[]';
  elsif v_fits > 1 then
    return public.ops_problem(p_path, 'fits more than one of the forms allowed here', 'Write it so that one form fits.');
  elsif v_near_count = 1 then
    return v_near;
  end if;
  return public.ops_problem(p_path, format('must be %s', public.ops_schema_words(p_schema)),
    format('Write %s.', public.ops_schema_words(p_schema)));
end $$;
comment on function public.ops_schema_check_any(jsonb, jsonb, jsonb, text, boolean) is
  'Checks anyOf and oneOf. When no form fits but one was plainly meant, its own problems are told.';

create or replace function public.ops_schema_is_meant(p_schema jsonb, p_value jsonb) returns boolean
language sql immutable set search_path = '' as $$
  select not p_schema ? '$ref' and public.ops_schema_type_fits(p_schema -> 'type', p_value) and not exists (
    select from jsonb_each(case jsonb_typeof(p_schema -> 'properties') when 'object' then p_schema -> 'properties' else '{}' end) m
    where m.value ? 'const' and m.value -> 'const' is distinct from p_value -> m.key)
$$;
comment on function public.ops_schema_is_meant(jsonb, jsonb) is
  'Whether a value has the type of a form and the constants that tell it from the others.';

create or replace function public.ops_schema_check_object(p_root jsonb, p_schema jsonb, p_value jsonb, p_path text, p_placeholders boolean)
returns jsonb language plpgsql immutable set search_path = '' as $$
declare
  v_known jsonb := coalesce(p_schema -> 'properties', '{}');
  v_others jsonb := coalesce(p_schema -> 'additionalProperties', '{}');
  v_names jsonb := p_schema -> 'propertyNames';
  v_found jsonb := '[]';
  v_key text;
  v_member jsonb;
  v_at text;
begin
  for v_key in select r from jsonb_array_elements_text(p_schema -> 'required') r where not p_value ? r loop
    v_found := v_found || public.ops_problem(public.ops_json_path(p_path, jsonb_build_array(v_key)),
      'is missing', format('Add "%s": %s.', v_key, public.ops_schema_words(v_known -> v_key)));
  end loop;
  if v_known = '{}' and v_others in ('{}', 'true') and v_names is null and not p_schema ?| '{minProperties,maxProperties}' then
    return v_found;
  end if;
  for v_key, v_member in select m.key, m.value from jsonb_each(p_value) m loop
    v_at := p_path || case when v_key ~ '^[A-Za-z_][A-Za-z0-9_]*$' then '.' || v_key else '[' || to_json(v_key) || ']' end;
    if v_known ? v_key then
      v_found := v_found || public.ops_schema_check(p_root, v_known -> v_key, v_member, v_at, p_placeholders);
    elsif v_others = 'false' then
      v_found := v_found || public.ops_problem(v_at, 'is not known here',
        coalesce('Remove it, or use one of: ' || (select string_agg(k, ', ' order by k) from jsonb_object_keys(v_known) k) || '.', 'Remove it.'));
    else
      if v_names is not null and public.ops_schema_check(p_root, v_names, to_jsonb(v_key), v_at, false) <> '[]' then
        v_found := v_found || public.ops_problem(v_at, 'has a name that is not allowed here', format('Name it %s.',
          coalesce(v_names ->> 'description', 'like ' || (v_names ->> 'pattern'), public.ops_schema_words(v_names))));
      end if;
      v_found := v_found || public.ops_schema_check(p_root, v_others, v_member, v_at, p_placeholders);
    end if;
    -- Nobody reads more, and a list that grows by copying must not grow for ever.
    exit when jsonb_array_length(v_found) >= 100;
  end loop;
  if p_schema ?| '{minProperties,maxProperties}' then
    v_found := v_found || public.ops_schema_check_count(p_schema, 'Properties', 'member',
      (select count(*) from jsonb_object_keys(p_value)), p_path);
  end if;
  return v_found;
end $$;
comment on function public.ops_schema_check_object(jsonb, jsonb, jsonb, text, boolean) is
  'Checks required, properties, additionalProperties, propertyNames and the number of members. Stops at 100 problems.';

create or replace function public.ops_schema_check_array(p_root jsonb, p_schema jsonb, p_value jsonb, p_path text, p_placeholders boolean)
returns jsonb language plpgsql immutable set search_path = '' as $$
declare
  v_first jsonb := coalesce(p_schema -> 'prefixItems', '[]');
  v_rest jsonb := coalesce(p_schema -> 'items', '{}');
  v_item jsonb;
  v_at integer := 0;
  v_found jsonb := public.ops_schema_check_count(p_schema, 'Items', 'item', jsonb_array_length(p_value), p_path);
begin
  if jsonb_array_length(p_value) > (p_schema ->> 'maxItems')::numeric then
    return v_found;
  end if;
  if p_schema -> 'uniqueItems' = 'true' and (select count(*) > count(distinct i) from jsonb_array_elements(p_value) i) then
    v_found := v_found || public.ops_problem(p_path, 'has the same item twice', 'Leave each item once.');
  end if;
  if v_first = '[]' and v_rest in ('{}', 'true') then
    return v_found;
  end if;
  for v_item in select i from jsonb_array_elements(p_value) i loop
    v_found := v_found || public.ops_schema_check(p_root, coalesce(v_first -> v_at, v_rest), v_item, p_path || '[' || v_at || ']', p_placeholders);
    v_at := v_at + 1;
    exit when jsonb_array_length(v_found) >= 100;
  end loop;
  return v_found;
end $$;
comment on function public.ops_schema_check_array(jsonb, jsonb, jsonb, text, boolean) is
  'Checks items, prefixItems, uniqueItems and the number of items; of a list that is too long only that. Stops at 100 problems.';

create or replace function public.ops_schema_check_count(p_schema jsonb, p_what text, p_noun text, p_count bigint, p_path text)
returns jsonb language plpgsql immutable set search_path = '' as $$
declare
  v_least numeric := p_schema ->> ('min' || p_what);
  v_most numeric := p_schema ->> ('max' || p_what);
begin
  if p_count < v_least then
    return public.ops_problem(p_path, case p_count when 0 then 'is empty' else
      format('has %s %s(s), fewer than %s', p_count, p_noun, v_least) end, format('Give it at least %s.', v_least));
  elsif p_count > v_most then
    return public.ops_problem(p_path, format('has %s %s(s), more than %s', p_count, p_noun, v_most), format('Give it at most %s.', v_most));
  end if;
  return '[]';
end $$;
comment on function public.ops_schema_check_count(jsonb, text, text, bigint, text) is
  'Checks min… and max… of Items, Properties or Length; [] when the count is in bounds.';

create or replace function public.ops_schema_check_text(p_schema jsonb, p_text text, p_path text) returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  v_found jsonb := public.ops_schema_check_count(p_schema, 'Length', 'character', length(p_text), p_path);
begin
  if v_found = '[]' and p_schema ? 'pattern' and p_text !~ (p_schema ->> 'pattern') then
    return public.ops_problem(p_path,
      format('must be %s; it is %s', coalesce(p_schema ->> 'description', 'text like ' || (p_schema ->> 'pattern')), left(to_jsonb(p_text)::text, 100)),
      format('Write %s.', coalesce(p_schema ->> 'description', 'text that matches ' || (p_schema ->> 'pattern'))));
  end if;
  return v_found;
end $$;
comment on function public.ops_schema_check_text(jsonb, text, text) is 'Checks minLength, maxLength (in characters) and pattern.';

create or replace function public.ops_schema_check_number(p_schema jsonb, p_number numeric, p_path text) returns jsonb
language plpgsql immutable set search_path = '' as $$
begin
  -- Smaller ones are 0 to every reader of JSON and an error to SQL's own doubles, as greater ones are infinite.
  if p_number <> 0 and abs(p_number) < 4.9e-324 or abs(p_number) > 1.79769313486231580e308 then
    return public.ops_problem(p_path, 'is a number that cannot be reckoned with', 'Write one between 1e-323 and 1e308, or 0.');
  elsif p_number < (p_schema ->> 'minimum')::numeric then
    return public.ops_problem(p_path, format('is %s, below %s', p_number, p_schema ->> 'minimum'), format('Write %s or more.', p_schema ->> 'minimum'));
  elsif p_number > (p_schema ->> 'maximum')::numeric then
    return public.ops_problem(p_path, format('is %s, above %s', p_number, p_schema ->> 'maximum'), format('Write %s or less.', p_schema ->> 'maximum'));
  elsif p_number <= (p_schema ->> 'exclusiveMinimum')::numeric then
    return public.ops_problem(p_path, format('is %s, not above %s', p_number, p_schema ->> 'exclusiveMinimum'), format('Write more than %s.', p_schema ->> 'exclusiveMinimum'));
  elsif p_number >= (p_schema ->> 'exclusiveMaximum')::numeric then
    return public.ops_problem(p_path, format('is %s, not below %s', p_number, p_schema ->> 'exclusiveMaximum'), format('Write less than %s.', p_schema ->> 'exclusiveMaximum'));
  end if;
  return '[]';
end $$;
comment on function public.ops_schema_check_number(jsonb, numeric, text) is 'Checks that a double can hold the number, then minimum, maximum and their exclusive forms.';

create or replace function public.ops_schema_problems(p_schema jsonb, p_value jsonb, p_path text default '$', p_placeholders boolean default false)
returns table (path text, message text, fix text) language sql immutable set search_path = '' as $$
  select f.value ->> 'path', f.value ->> 'message', f.value ->> 'fix'
  from jsonb_array_elements(public.ops_schema_check(p_schema, p_schema, coalesce(p_value, 'null'), p_path, p_placeholders)) f
$$;
comment on function public.ops_schema_problems(jsonb, jsonb, text, boolean) is
  'What is wrong with a value by a JSON Schema: no row when nothing is. With p_placeholders text that holds {{ satisfies any schema. Interprets the subset that ops_schema_unsupported knows.';

-- Templates: placeholders are compiled once and rendered on the tree, never on text --------------------------------

create or replace function public.ops_parse_placeholder(p_text text, out part jsonb, out consumed integer, out problem text)
language plpgsql immutable set search_path = '' as $$
declare
  v_head text[] := regexp_match(left(p_text, 1000), '^\s*([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\s*(\?\?|\}\})');
  v_default jsonb;
  v_start integer;
begin
  if v_head is null then
    problem := format('"{{%s" is not {{path}} or {{path ?? default}}, where a path is names joined by dots', left(p_text, 40));
    return;
  end if;
  part := jsonb_build_object('ref', to_jsonb(string_to_array(v_head[1], '.')));
  if part -> 'ref' ->> 0 not in ('event', 'steps', 'mission', 'item', 'index') then
    problem := format('{{%s}} does not begin with event, steps, mission, item or index', v_head[1]);
    return;
  end if;
  consumed := strpos(p_text, '}}') + 1;
  if v_head[2] = '}}' then
    return;
  end if;
  -- A JSON default may itself hold }}: the first end that leaves valid JSON is the end.
  v_start := strpos(p_text, '??') + 2;
  for v_try in 1 .. 100 loop
    exit when consumed <= 1;
    v_default := public.ops_try_jsonb(substr(p_text, v_start, consumed - 1 - v_start));
    exit when v_default is not null;
    consumed := coalesce(nullif(strpos(substr(p_text, consumed), '}}'), 0) + consumed, 0);
  end loop;
  if v_default is null then
    problem := format('the default of {{%s ?? …}} is not JSON that ends with "}}"; text needs double quotes', v_head[1]);
  end if;
  part := part || jsonb_build_object('default', v_default);
end $$;
comment on function public.ops_parse_placeholder(text) is
  'Reads what follows "{{": part {ref, default?} and how many characters it took, "}}" included; or the problem.';

create or replace function public.ops_count_placeholders(p_text text) returns integer
language sql immutable set search_path = '' as $$
  select (length(p_text) - length(replace(p_text, '{{', ''))) / 2
$$;
comment on function public.ops_count_placeholders(text) is 'How many placeholders a text can hold at most: how often {{ is in it.';

create or replace function public.ops_parse_text(p_text text, out parts jsonb, out problem text)
language plpgsql immutable set search_path = '' as $$
declare
  v_rest text := p_text;
  v_open integer;
  v_one record;
begin
  if p_text is null then
    return;
  elsif public.ops_count_placeholders(p_text) > 1000 then
    problem := 'holds more than 1000 placeholders';
    return;
  end if;
  parts := '[]';
  loop
    v_open := strpos(v_rest, '{{');
    exit when v_open = 0;
    if v_open > 1 then
      parts := parts || jsonb_build_object('lit', left(v_rest, v_open - 1));
    end if;
    v_rest := substr(v_rest, v_open + 2);
    v_one := public.ops_parse_placeholder(v_rest);
    problem := v_one.problem;
    if problem is not null then
      return;
    end if;
    parts := parts || v_one.part;
    v_rest := substr(v_rest, v_one.consumed + 1);
  end loop;
  if v_rest <> '' then
    parts := parts || jsonb_build_object('lit', v_rest);
  end if;
end $$;
comment on function public.ops_parse_text(text) is
  'Text as a list of {"lit": text} and {"ref": [path], "default": json}; or the problem with its first malformed placeholder. Never raises.';

create or replace function public.ops_compile_text(p_text text) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_parsed record := public.ops_parse_text(p_text);
begin
  if v_parsed.problem is not null then
    perform public.ops_raise('OPS_004', v_parsed.problem, null, 'Write {{event.data.title}} or {{event.data.title ?? "untitled"}}.');
  end if;
  return v_parsed.parts;
end $$;
comment on function public.ops_compile_text(text) is 'Parts of a text, for ops_render_text; null for null. Raises OPS_004 for a malformed placeholder.';

create or replace function public.ops_find_placeholders(p_tree jsonb)
returns table (path jsonb, is_key boolean, parts jsonb, problem text) language plpgsql immutable rows 10 set jit = off set search_path = '' as $$
#variable_conflict use_column
begin
  if strpos(p_tree::text, '{{') = 0 then
    return;
  end if;
  return query with recursive nodes(path, node) as (
    select '[]'::jsonb, p_tree
    union all
    select n.path || c.segment, c.node
    from nodes n
    cross join lateral (
      select to_jsonb(m.key), m.value from jsonb_each(case jsonb_typeof(n.node) when 'object' then n.node else '{}' end) m
      union all
      select to_jsonb(i.ordinality - 1), i.value
      from jsonb_array_elements(case jsonb_typeof(n.node) when 'array' then n.node else '[]' end) with ordinality i
    ) c(segment, node)
    where strpos(c.segment::text, '{{') > 0 or strpos(c.node::text, '{{') > 0
  )
  select n.path, false, t.parts, t.problem
  from nodes n cross join lateral public.ops_parse_text(n.node #>> '{}') t
  where jsonb_typeof(n.node) = 'string' and strpos(n.node #>> '{}', '{{') > 0
  union all
  select n.path, true, null::jsonb, 'the name of a member holds a placeholder'
  from nodes n where strpos(n.path ->> -1, '{{') > 0;
end $$;
comment on function public.ops_find_placeholders(jsonb) is
  'Every text of a tree that holds {{: its path, its parts, or what is wrong with it. Names of members are told with is_key.';

create or replace function public.ops_compile_leaves(p_tree jsonb) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_leaves jsonb;
  v_bad text[];
begin
  if strpos(p_tree::text, '{{') = 0 then
    return '[]';
  end if;
  select jsonb_agg(jsonb_build_object('path', f.path, 'lone', jsonb_array_length(f.parts) = 1 and f.parts -> 0 ? 'ref', 'parts', f.parts)
           order by f.path) filter (where f.problem is null),
         array_agg(array[public.ops_json_path('$', f.path), f.problem] order by f.path) filter (where f.problem is not null)
  into v_leaves, v_bad
  from public.ops_find_placeholders(p_tree) f;
  if v_bad is not null then
    perform public.ops_raise('OPS_004', v_bad[1][1] || ': ' || v_bad[1][2], jsonb_build_object('path', v_bad[1][1]),
      'Write {{event.data.title}} or {{event.data.title ?? "untitled"}}, in values only.');
  end if;
  return coalesce(v_leaves, '[]');
end $$;
comment on function public.ops_compile_leaves(jsonb) is
  'The leaves of a tree that hold placeholders: a list of {path, lone, parts}, [] when there are none. Raises OPS_004 with the JSON path in message and detail.';

create or replace function public.ops_fill_parts(p_parts jsonb, p_ctx jsonb, out rendered text, out parts jsonb, out error text)
language plpgsql immutable set search_path = '' as $$
declare
  v_part jsonb;
  v_value jsonb;
begin
  rendered := '';
  for v_part in select p from jsonb_array_elements(p_parts) p loop
    if v_part ? 'lit' then
      rendered := rendered || (v_part ->> 'lit');
    elsif p_ctx ? (v_part -> 'ref' ->> 0) then
      v_value := p_ctx #> translate((v_part -> 'ref')::text, '[]', '{}')::text[];
      if (v_value is null or v_value = 'null') and v_part ? 'default' then
        v_value := v_part -> 'default';
      elsif v_value is null then
        error := array_to_string(translate((v_part -> 'ref')::text, '[]', '{}')::text[], '.');
        return;
      end if;
      rendered := rendered || case jsonb_typeof(v_value) when 'string' then v_value #>> '{}' else v_value::text end;
    else
      parts := coalesce(parts, '[]') || case when rendered = '' then '[]' else jsonb_build_array(jsonb_build_object('lit', rendered)) end || v_part;
      rendered := '';
    end if;
    if length(rendered) > 1000000 then
      error := 'the text is longer than 1000000 characters';
      return;
    end if;
  end loop;
  if parts is not null and rendered <> '' then
    parts := parts || jsonb_build_object('lit', rendered);
  end if;
end $$;
comment on function public.ops_fill_parts(jsonb, jsonb) is
  'Fills text from p_ctx. parts is null when nothing is left to resolve, else what is left with the rest folded in; error names the missing path.';

create or replace function public.ops_render_tree(p_tree jsonb, p_leaves jsonb, p_ctx jsonb, out tree jsonb, out leaves jsonb, out error text)
language plpgsql immutable set search_path = '' as $$
declare
  v_leaf jsonb;
  v_ref jsonb;
  v_value jsonb;
  v_path text;
  v_filled record;
  v_copied bigint := 0;
begin
  if jsonb_array_length(p_leaves) > 50 and p_leaves @> '[{"path": ["steps"]}]' then
    select r.tree, r.leaves, r.error into tree, leaves, error from public.ops_render_steps(p_tree, p_leaves, p_ctx) r;
    return;
  end if;
  tree := p_tree;
  leaves := '[]';
  for v_leaf in select l from jsonb_array_elements(p_leaves) l loop
    if v_leaf -> 'lone' = 'true' then
      v_ref := v_leaf #> '{parts,0,ref}';
      if not p_ctx ? (v_ref ->> 0) then
        leaves := leaves || v_leaf;
        continue;
      end if;
      v_value := p_ctx #> translate(v_ref::text, '[]', '{}')::text[];
      if v_value is null or v_value = 'null' then
        v_value := coalesce(v_leaf #> '{parts,0,default}', v_value);
      end if;
      if v_value is null then
        error := array_to_string(translate(v_ref::text, '[]', '{}')::text[], '.');
      end if;
    else
      v_filled := public.ops_fill_parts(v_leaf -> 'parts', p_ctx);
      error := v_filled.error;
      if error is null and v_filled.parts is not null then
        leaves := leaves || jsonb_set(v_leaf, '{parts}', v_filled.parts);
        continue;
      end if;
      v_value := to_jsonb(v_filled.rendered);
    end if;
    exit when error is not null;
    v_path := (v_leaf -> 'path')::text;
    tree := case when v_path = '[]' then v_value
      when strpos(v_path, '\') > 0 then jsonb_set(tree, array(select s from jsonb_array_elements_text(v_leaf -> 'path') s), v_value, false)
      -- Without a backslash JSON's own notation is that of an array, which is much quicker than unnesting.
      else jsonb_set(tree, ('{' || substr(v_path, 2, length(v_path) - 2) || '}')::text[], v_value, false) end;
    -- Each leaf copies the tree: what is large and has many leaves is given up before it takes seconds.
    v_copied := v_copied + pg_column_size(tree);
    exit when pg_column_size(tree) > 1000000 or v_copied > 30000000;
  end loop;
  if error is not null then
    error := public.ops_render_error(public.ops_json_path('$', v_leaf -> 'path'), error);
  elsif pg_column_size(tree) > 1000000 then
    error := 'the rendered tree is larger than 1 MB';
  elsif v_copied > 30000000 then
    error := 'the tree is too large for so many placeholders; make them or the tree fewer';
  end if;
  if error is not null then
    tree := null;
    leaves := null;
  end if;
exception when others then
  tree := null;
  leaves := null;
  error := 'cannot be rendered: ' || sqlerrm;
end $$;
comment on function public.ops_render_tree(jsonb, jsonb, jsonb) is
  'Renders compiled leaves into a tree from p_ctx ({event, steps, mission}, each as far as known). What names an absent root stays in leaves ([] when none). On error tree is null. Never raises.';

create or replace function public.ops_render_steps(p_tree jsonb, p_leaves jsonb, p_ctx jsonb, out tree jsonb, out leaves jsonb, out error text)
language plpgsql immutable set search_path = '' as $$
declare
  v_steps jsonb[] := array(select s from jsonb_array_elements(p_tree -> 'steps') s);
  v_group record;
  v_part record;
  v_bytes bigint := 0;
begin
  leaves := '[]';
  for v_group in
    select case when l #>> '{path,0}' = 'steps' then (l #>> '{path,1}')::integer end as at,
      jsonb_agg(case when l #>> '{path,0}' = 'steps' then jsonb_set(l, '{path}', (l -> 'path') - 0 - 0) else l end order by l -> 'path') as leaves
    from jsonb_array_elements(p_leaves) l group by 1 order by 1 nulls first
  loop
    v_part := public.ops_render_tree(case when v_group.at is null then p_tree - 'steps' else v_steps[v_group.at + 1] end, v_group.leaves, p_ctx);
    v_bytes := v_bytes + pg_column_size(v_part.tree);
    error := case when v_bytes > 1000000 then 'the rendered tree is larger than 1 MB'
      when v_part.error like '$%' and v_group.at is not null then format('$.steps[%s]%s', v_group.at, substr(v_part.error, 2))
      else v_part.error end;
    if error is not null then
      tree := null;
      leaves := null;
      return;
    end if;
    if v_group.at is null then
      p_tree := v_part.tree;
    else
      v_steps[v_group.at + 1] := v_part.tree;
    end if;
    leaves := leaves || (
      select coalesce(jsonb_agg(case when v_group.at is null then l else jsonb_set(l, '{path}', jsonb_build_array('steps', v_group.at) || (l -> 'path')) end), '[]')
      from jsonb_array_elements(v_part.leaves) l);
  end loop;
  tree := p_tree || jsonb_build_object('steps', to_jsonb(v_steps));
end $$;
comment on function public.ops_render_steps(jsonb, jsonb, jsonb) is
  'ops_render_tree for a template with many leaves: step by step, since each leaf copies the tree that it is put into.';

create or replace function public.ops_render_error(p_leaf text, p_missing text) returns text
language sql immutable set search_path = '' as $$
  select case when p_missing like '% %' then p_leaf || ': ' || p_missing
    else format('%s: %s is missing; correct the path or write {{%s ?? "a default"}}', p_leaf, p_missing, p_missing) end
$$;
comment on function public.ops_render_error(text, text) is 'The sentence for a leaf that could not be rendered. p_missing is a path, or a sentence of its own.';

create or replace function public.ops_render_text(p_parts jsonb, p_ctx jsonb, out rendered text, out error text)
language plpgsql immutable set search_path = '' as $$
declare
  v_filled record;
begin
  if p_parts is null then
    return;
  end if;
  v_filled := public.ops_fill_parts(p_parts, p_ctx);
  if v_filled.error is not null then
    error := public.ops_render_error('key', v_filled.error);
  elsif v_filled.parts is not null then
    error := 'key: it asks for something other than the event';
  elsif length(v_filled.rendered) > 1000 then
    error := 'key: it is longer than 1000 characters';
  else
    rendered := v_filled.rendered;
  end if;
exception when others then
  error := 'cannot be rendered: ' || sqlerrm;
end $$;
comment on function public.ops_render_text(jsonb, jsonb) is
  'A compiled key as text, at most 1000 characters; null parts give null. error says why not. Never raises.';

-- Conditions and globs --------------------------------------------------------------------------------------------

create or replace function public.ops_compile_glob(p_glob text) returns text
language sql immutable set search_path = '' as $$
  select regexp_replace(replace(replace(replace(p_glob, '\', '\\'), '%', '\%'), '_', '\_'), '\*+', '%', 'g')
$$;
comment on function public.ops_compile_glob(text) is
  'A glob as a LIKE pattern with backslash escapes: * is any characters, colons too; everything else stands for itself.';

create or replace function public.ops_jsonpath_tokens(p_canonical text) returns text[]
language sql immutable set search_path = '' as $$
  select array_agg(t.match[1] order by t.ordinality)
  from regexp_matches(p_canonical,
    '(\.?"(?:\\.|[^"\\])*"|\.\*\*|\.\*|\[\*\]| to |\.keyvalue\(|\?\(|[()$@,\[\]]|&&|\|\||==|!=|<>|<=|>=|<|>|like_regex| [-+*/%] )', 'g')
    with ordinality t(match)
$$;
comment on function public.ops_jsonpath_tokens(text) is
  'The tokens of a path in PostgreSQL''s own spelling that ops_jsonpath_problem looks at; string literals and names are one token each.';

create or replace function public.ops_regex_problem(p_regex text) returns text
language sql immutable set search_path = '' as $$
  select case
    when r.plain ~ '\\[1-9]' then 'uses a back-reference in like_regex, which can take very long; write the pattern without'
    when r.plain ~ '\(\?<?[=!]' then 'looks ahead or behind in like_regex, which can take very long; write the pattern without'
    when (select sum(case b.match[1] when '' then 1 else 10 end * least(coalesce(nullif(b.match[3], ''), b.match[2])::numeric, 1000))
      from regexp_matches(r.plain, '(\)?)\{(\d+)(?:,(\d*))?\}', 'g') b(match)) > 300
      then 'repeats too often in like_regex; let the counts in {…} add up to at most 300, those of groups counted ten times'
  end
  from (select replace(p_regex, '\\', '') as plain) r
$$;
comment on function public.ops_regex_problem(text) is
  'Why a regular expression of a condition is refused: back-references, looking around, repeat counts that make it huge. Null when it is fine.';

create or replace function public.ops_jsonpath_dear(p_tokens text[]) returns text
language sql immutable set search_path = '' as $$
  select case
    when n.keyvalues > 1 then 'uses keyvalue() more than once, and each multiplies the items; use it once'
    when n.regexes > 10 then format('uses like_regex %s times; join the patterns with | into at most 10', n.regexes)
    when n.sums > 5 then format('reckons %s times; at most 5 of + - * / %%', n.sums)
    when n.filters > 10 then format('filters %s times; at most 10 of ?(…)', n.filters)
    when n.comparisons > 30 then format('compares %s times; at most 30, or use like_regex "^(a|b|c)$"', n.comparisons)
  end
  from (
    select count(*) filter (where t = '.keyvalue(') as keyvalues, count(*) filter (where t = 'like_regex') as regexes,
      count(*) filter (where t ~ '^ [-+*/%] $') as sums, count(*) filter (where t = '?(') as filters,
      count(*) filter (where t in ('==', '!=', '<>', '<', '<=', '>', '>=')) as comparisons
    from unnest(p_tokens) t) n
$$;
comment on function public.ops_jsonpath_dear(text[]) is 'What a condition may use a few times only, and uses too often. Null when it does not.';

create or replace function public.ops_jsonpath_read(p_tokens text[], out problem text, out pairs integer)
language plpgsql immutable set search_path = '' as $$
declare
  v_token text;
  v_before text;
  v_open text[] := '{}';
  v_wild boolean[] := '{false}';  -- per open bracket: the side being read holds a wildcard
  v_left boolean[] := '{false}';  -- per open bracket: the left side of the comparison being read held one
  v_path boolean[] := '{false}';  -- the same two for a path of any kind
  v_left_path boolean[] := '{false}';
  v_level integer := 1;
begin
  pairs := 0;
  foreach v_token in array coalesce(p_tokens, '{}') || ')'::text loop
    if v_token = '.**' then
      problem := 'uses **, which looks at everything there is; write the path out';
    elsif v_token like '"%' and v_before = 'like_regex' then
      problem := public.ops_regex_problem(v_token::jsonb #>> '{}');
    elsif v_token like '"%' and v_before = '$' then
      problem := format('uses the variable $%s, and there are none; write $.data… or $.steps…', v_token::jsonb #>> '{}');
    elsif v_token in ('$', '@', '(') and v_before in (' * ', ' / ', ' % ') then
      problem := 'multiplies or divides by a path, which long numbers make slow; write a number on the right';
    elsif v_token = '$' and '?(' = any (v_open) then
      problem := 'uses $ inside a filter ?(…); use @ there, or compare outside of the filter';
    elsif v_token = ',' and v_open[v_level - 1] = '[' then
      problem := 'lists places in […], which can multiply the items; name one place, a range or *';
    elsif v_token in ('$', '@') then
      v_path[v_level] := true;
    elsif v_token in ('[*]', '.*') then
      v_wild[v_level] := true;
    elsif v_token = ' to ' then
      v_wild[v_level - 1] := true;
    elsif v_token in ('==', '!=', '<>', '<', '<=', '>', '>=') then
      v_left[v_level] := v_wild[v_level];
      v_left_path[v_level] := v_path[v_level];
      v_wild[v_level] := false;
      v_path[v_level] := false;
    elsif v_token in (')', ']', '&&', '||') and v_left_path[v_level] and v_path[v_level] then
      pairs := pairs + 1;
      if v_left[v_level] and v_wild[v_level] then
        problem := 'has wildcards on both sides of a comparison, which compares everything with everything; name one side exactly';
      end if;
    end if;
    exit when problem is not null;
    if v_token in ('&&', '||') then
      v_left[v_level] := false;
      v_wild[v_level] := false;
      v_left_path[v_level] := false;
      v_path[v_level] := false;
    elsif v_token in ('(', '?(', '[', '.keyvalue(') then
      v_open[v_level] := v_token;
      v_wild[v_level] := v_wild[v_level] or v_token = '.keyvalue(';
      v_level := v_level + 1;
      v_wild[v_level] := false;
      v_left[v_level] := false;
      v_path[v_level] := false;
      v_left_path[v_level] := false;
    elsif v_token in (')', ']') and v_level > 1 then
      v_level := v_level - 1;
      -- What a filter tests does not multiply the items it lets through.
      v_wild[v_level] := v_wild[v_level] or (v_open[v_level] = '(' and (v_wild[v_level + 1] or v_left[v_level + 1]));
      v_path[v_level] := v_path[v_level] or (v_open[v_level] = '(' and (v_path[v_level + 1] or v_left_path[v_level + 1]));
      v_open[v_level] := null;
    end if;
    v_before := v_token;
  end loop;
end $$;
comment on function public.ops_jsonpath_read(text[]) is
  'Reads the tokens of a condition: problem, why it is refused, and pairs, how many comparisons have a path on both sides.';

create or replace function public.ops_jsonpath_problem(p_path text) returns text
language plpgsql immutable set search_path = '' as $$
declare
  v_canonical text;
  v_tokens text[];
  v_read record;
begin
  begin
    v_canonical := p_path::jsonpath::text;
    v_tokens := public.ops_jsonpath_tokens(v_canonical);
  exception when others then
    return 'is no SQL/JSON path: ' || left(sqlerrm, 200);
  end;
  v_read := public.ops_jsonpath_read(v_tokens);
  return coalesce(v_read.problem, public.ops_jsonpath_dear(v_tokens),
    case when v_read.pairs > 5 and v_canonical not like 'strict %' then
      format('compares two paths %s times, and each may compare everything with everything; do so at most 5 times, or begin with strict', v_read.pairs) end);
end $$;
comment on function public.ops_jsonpath_problem(text) is
  'Why a condition is refused: it does not parse, names a variable, or could take time out of proportion to the event (**, $ in a filter, wildcards on both sides of a comparison, lists of places, keyvalue() twice, regular expressions with back-references, look-around or huge counts, too much of what is dear). Null when it is fine.';

create or replace function public.ops_compares_paths(p_path jsonpath) returns boolean
language sql immutable set search_path = '' as $$
  -- The first test leaves out nearly all without reading them.
  select case when p_path::text ~ '[=<>] [-+(]*[$@]' and p_path::text not like 'strict %'
    then (public.ops_jsonpath_read(public.ops_jsonpath_tokens(p_path::text))).pairs > 0 else false end
$$;
comment on function public.ops_compares_paths(jsonpath) is
  'Whether a condition compares two paths with each other in lax mode, which compares each item of one list with each of the other: its time grows with the square of the data.';

create or replace function public.ops_list_items(p_document jsonb) returns bigint
language sql immutable set search_path = '' as $$
  select coalesce(sum((n #>> '{}')::bigint), 0) from jsonb_path_query(p_document, 'strict $.** ? (@.type() == "array").size()') n
$$;
comment on function public.ops_list_items(jsonb) is 'How many items all lists of a document have together.';

-- The reaction matrix, compiled ------------------------------------------------------------------------------------

create or replace function public.ops_text_list(p_value jsonb) returns text[]
language sql immutable set search_path = '' as $$
  select case jsonb_typeof(p_value) when 'string' then array[p_value #>> '{}']
    when 'array' then array(select t.value from jsonb_array_elements_text(p_value) with ordinality t order by t.ordinality) end
$$;
comment on function public.ops_text_list(jsonb) is 'One text or a list of texts as text[]; null for anything else.';

create or replace function public.ops_compile_matrix(p_value jsonb, p_revision bigint) returns setof public.ops_policy_patterns
language plpgsql stable set search_path = '' as $$
declare
  v_pattern jsonb;
  v_position integer;
  v_globs text[];
  v_row public.ops_policy_patterns;
begin
  for v_pattern, v_position in select p.value, p.ordinality from jsonb_array_elements(p_value -> 'patterns') with ordinality p loop
    continue when v_pattern -> 'enabled' = 'false';
    v_globs := array(select g from unnest(public.ops_text_list(v_pattern -> 'event_type')) g where strpos(g, '*') > 0);
    v_row.pattern_id := v_pattern ->> 'id';
    v_row.revision := p_revision;
    v_row.position := v_position;
    v_row.name := v_pattern ->> 'name';
    v_row.types := array(select t from unnest(public.ops_text_list(v_pattern -> 'event_type')) t where strpos(t, '*') = 0);
    v_row.likes := array(select public.ops_compile_glob(g) from unnest(v_globs) g);
    v_row.system_likes := array(select public.ops_compile_glob(g) from unnest(v_globs) g
      where g not like '*%' or coalesce((v_pattern -> 'allow_system')::boolean, false));
    v_row.sources := public.ops_text_list(v_pattern -> 'source');
    v_row.tags := public.ops_text_list(v_pattern -> 'tags');
    v_row.where_path := (v_pattern ->> 'where')::jsonpath;
    v_row.probability := (v_pattern ->> 'probability')::double precision;
    v_row.cooldown_minutes := (v_pattern ->> 'cooldown_minutes')::numeric;
    v_row.cooldown_key := public.ops_compile_text(v_pattern ->> 'cooldown_key');
    v_row.limit_count := public.ops_integer(v_pattern #> '{limit,count}');
    v_row.limit_minutes := (v_pattern #>> '{limit,per_minutes}')::numeric;
    v_row.limit_key := public.ops_compile_text(v_pattern #>> '{limit,key}');
    v_row.dedupe_key := public.ops_compile_text(v_pattern ->> 'dedupe_key');
    v_row.canary := (v_pattern ->> 'canary')::double precision;
    v_row.template := v_pattern -> 'template';
    v_row.leaves := public.ops_compile_leaves(v_row.template);
    return next v_row;
  end loop;
end $$;
comment on function public.ops_compile_matrix(jsonb, bigint) is
  'The enabled patterns of a valid matrix as rows of ops_policy_patterns. Writes nothing, so a draft can be simulated. Raises OPS_004 for malformed placeholders.';

-- Templates, checked -----------------------------------------------------------------------------------------------

create or replace function public.ops_step_needs(p_template jsonb)
returns table (step_position integer, step_key text, needs text[]) language sql immutable rows 10 set search_path = '' as $$
  with named as (
    select s.ordinality::integer as step_position, s.value as step, coalesce(s.value ->> 'key', 'step_' || s.ordinality) as step_key
    from jsonb_array_elements(p_template -> 'steps') with ordinality s
  )
  select n.step_position, n.step_key, case
    when n.step ? 'depends_on' then public.ops_text_list(n.step -> 'depends_on')
    when n.step_position = 1 then '{}'
    else array[lag(n.step_key) over (order by n.step_position)] end
  from named n
$$;
comment on function public.ops_step_needs(jsonb) is
  'Each step of a template with its key (step_<n> by default) and the keys it waits for: those in depends_on, none for an empty list, the step before when depends_on is absent.';

create or replace function public.ops_step_ancestors(p_template jsonb) returns jsonb
language plpgsql immutable set search_path = '' as $$
declare
  v_keys text[] := array(select n.step_key from public.ops_step_needs(p_template) n group by n.step_key order by min(n.step_position));
  v_none bit varying := repeat('0', cardinality(v_keys))::bit varying;
  v_sets bit varying[] := array(
    select coalesce((select bit_or(set_bit(v_none, array_position(v_keys, d.need) - 1, 1))
      from public.ops_step_needs(p_template) n cross join lateral unnest(n.needs) d(need)
      where n.step_key = k.name and d.need = any (v_keys)), v_none)
    from unnest(v_keys) with ordinality k(name, place) order by k.place);
begin
  -- Warshall's closure over bit sets: one pass, whatever the order and however many the needs.
  for v_through in 1 .. cardinality(v_keys) loop
    for v_step in 1 .. cardinality(v_keys) loop
      if get_bit(v_sets[v_step], v_through - 1) = 1 then
        v_sets[v_step] := v_sets[v_step] | v_sets[v_through];
      end if;
    end loop;
  end loop;
  return (
    select coalesce(jsonb_object_agg(k.name, (
      select coalesce(jsonb_object_agg(a.name, true), '{}') from unnest(v_keys) with ordinality a(name, place)
      where get_bit(v_sets[k.place], a.place::integer - 1) = 1)), '{}')
    from unnest(v_keys) with ordinality k(name, place));
end $$;
comment on function public.ops_step_ancestors(jsonb) is
  '{step: {ancestor: true}}: for each step those that surely end before it. A step that is its own ancestor is part of a circle. Keys that no step has are left out.';

create or replace function public.ops_step_problems(p_template jsonb, p_path text)
returns table (severity text, path text, message text, fix text) language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return query select 'error', format('%s.steps[%s].key', p_path, n.step_position - 1),
    format('is %s, and an earlier step has that key', n.step_key), 'Give each step a key of its own.'
  from (select n.*, row_number() over (partition by n.step_key order by n.step_position) as nth from public.ops_step_needs(p_template) n) n
  where n.nth > 1;
  return query select 'error', format('%s.steps[%s].when', p_path, s.ordinality - 1), w.problem,
    'Write a condition such as $.steps.look.result.echo.ok == true.'
  from jsonb_array_elements(p_template -> 'steps') with ordinality s
  cross join lateral public.ops_jsonpath_problem(s.value ->> 'when') w(problem)
  where s.value ? 'when' and w.problem is not null;
  if p_template::text ~ '"when": .*steps' then
    return query select o.* from public.ops_when_problems(p_template, p_path) o;
  end if;
  if jsonb_path_exists(p_template, '$.steps[*].depends_on') then
    return query select 'error', d.path, d.message, d.fix from public.ops_order_problems(p_template, p_path) d;
  end if;
end $$;
comment on function public.ops_step_problems(jsonb, text) is
  'What is wrong with the keys, the order and the conditions of a template''s steps.';

create or replace function public.ops_when_problems(p_template jsonb, p_path text)
returns table (severity text, path text, message text, fix text) language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  v_ancestors jsonb := public.ops_step_ancestors(p_template);
begin
  -- In a path's one written form names stand in quotes, and quotes within text have a backslash.
  return query select distinct case when v_ancestors ? m.found[1] then 'warning' else 'error' end, format('%s.steps[%s].when', p_path, n.step_position - 1),
    format('asks for $.steps.%s, and %s', m.found[1], case when v_ancestors ? m.found[1] then 'that step may not have ended by then' else 'no step has that key' end),
    case when v_ancestors ? m.found[1] then 'Add depends_on, so that this step waits for that one.'
      else format('Name a step of this template: %s.', (select string_agg(k, ', ' order by k) from jsonb_object_keys(v_ancestors) k)) end
  from public.ops_step_needs(p_template) n
  cross join lateral (select p_template #>> array['steps', (n.step_position - 1)::text, 'when'] as path) w
  cross join lateral regexp_matches(case when public.ops_jsonpath_problem(w.path) is null then w.path::jsonpath::text else '' end, '\$\."steps"\."((?:[^"\\]|\\.)*)"', 'g') m(found)
  where w.path is not null and not coalesce(v_ancestors -> n.step_key ? m.found[1], false);
end $$;
comment on function public.ops_when_problems(jsonb, text) is
  'Conditions that ask for a step that is not there: they would be false for ever, and nobody would be told. A warning for one that may not have ended by then.';

create or replace function public.ops_order_problems(p_template jsonb, p_path text)
returns table (path text, message text, fix text) language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  v_ancestors jsonb := public.ops_step_ancestors(p_template);
begin
  return query select format('%s.steps[%s].depends_on', p_path, n.step_position - 1),
    case d.need when n.step_key then 'names the step itself' else format('names %s, and no step has that key', d.need) end,
    coalesce((select format('Name steps of this template: %s.', string_agg(k, ', ' order by k)) from jsonb_object_keys(v_ancestors) k where k <> n.step_key having count(*) > 0),
      'The template has no other step: leave depends_on out.')
  from public.ops_step_needs(p_template) n cross join lateral unnest(n.needs) d(need)
  where d.need = n.step_key or not v_ancestors ? d.need;
  return query select p_path || '.steps', format('wait for each other in a circle: %s', string_agg(k.name, ', ' order by k.name)),
    'Take one of these out of the other''s depends_on.'
  from jsonb_object_keys(v_ancestors) k(name)
  where v_ancestors -> k.name ? k.name
    and not exists (select from public.ops_step_needs(p_template) n where n.step_key = k.name and k.name = any (n.needs))
  having count(*) > 0;
end $$;
comment on function public.ops_order_problems(jsonb, text) is
  'Steps that wait for themselves, for a step that is not there, or for each other in a circle.';

create or replace function public.ops_placeholder_problems(p_template jsonb, p_path text)
returns table (severity text, path text, message text, fix text) language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  v_ancestors jsonb;
  v_mine jsonb;
  v_leaf record;
begin
  if strpos(p_template::text, '{{') = 0 then
    return;
  end if;
  -- Those that ask for the event in params are fine, and nearly all are of that kind.
  for v_leaf in
    select f.*, public.ops_json_path(p_path, f.path) as place from public.ops_find_placeholders(p_template) f
    where f.problem is not null or f.path ->> 0 <> 'steps' or f.path ->> 2 <> 'params' or f.parts::text ~ '"ref": \["(steps|item|index)"'
    order by f.path
  loop
    v_ancestors := coalesce(v_ancestors, public.ops_step_ancestors(p_template));
    if v_leaf.problem is not null then
      return query select 'error', v_leaf.place, v_leaf.problem, 'Write {{event.data.title}} or {{event.data.title ?? "untitled"}}, in values only.';
    elsif v_leaf.path ->> 0 = 'title' then
      return query select 'error', v_leaf.place, format('asks for %s, and a title is made before there is one', r.value -> 'ref' ->> 0), 'Use event in titles.'
      from jsonb_array_elements(v_leaf.parts) r where r.value -> 'ref' ->> 0 <> 'event';
    elsif v_leaf.path ->> 0 <> 'steps' or v_leaf.path ->> 2 <> 'params' and v_leaf.path - 0 - 0 <> '["for_each", "items"]' then
      return query select 'error', v_leaf.place, 'holds a placeholder, and only title, params and for_each.items may', 'Write it out.';
    elsif v_leaf.path ->> 2 = 'for_each' and (jsonb_array_length(v_leaf.parts) > 1 or v_leaf.parts::text ~ '"ref": \["(item|index)"') then
      return query select 'error', v_leaf.place, 'is not one placeholder that names a list', 'Write {{event.data.<list>}} or {{steps.<key>.result.<list>}}.';
    else
      return query select 'error', v_leaf.place, format('asks for %s, and the step has no for_each', r.value -> 'ref' ->> 0), 'Add for_each to the step, or ask for event, steps or mission.'
      from jsonb_array_elements(v_leaf.parts) r
      where r.value -> 'ref' ->> 0 in ('item', 'index') and p_template #> array['steps', v_leaf.path ->> 1, 'for_each'] is null;
      v_mine := v_ancestors -> coalesce(p_template #>> array['steps', v_leaf.path ->> 1, 'key'], 'step_' || ((v_leaf.path ->> 1)::integer + 1));
      return query select 'error', v_leaf.place, public.ops_step_ref_problem(r.value -> 'ref', v_ancestors),
        case v_mine when '{}' then 'This step waits for none; add depends_on, or move it down.'
          else format('Name a step that this one waits for: %s.', (select string_agg(k, ', ' order by k) from jsonb_object_keys(v_mine) k)) end
      from jsonb_array_elements(v_leaf.parts) r
      where r.value -> 'ref' ->> 0 = 'steps' and not coalesce(v_mine ? (r.value -> 'ref' ->> 1), false);
    end if;
  end loop;
end $$;
comment on function public.ops_placeholder_problems(jsonb, text) is
  'Placeholders of a template that are malformed, in the wrong place, or ask a step that has not surely ended.';

create or replace function public.ops_fixed_problems(p_template jsonb, p_path text)
returns table (severity text, path text, message text, fix text) language sql stable set search_path = '' as $$
  select 'error', public.ops_json_path(p_path, f.path), format('holds a placeholder, and %s of %s may not', f.path ->> 3, x.name),
    'Write it out: what comes from events is data, and belongs into another parameter.'
  from public.ops_find_placeholders(p_template) f
  cross join lateral (select p_template #> array['steps', f.path ->> 1] as step) s
  join public.ops_executors x on x.name = coalesce(s.step ->> 'executor', s.step ->> 'kind') and f.path ->> 3 = any (x.fixed)
  where f.path ->> 0 = 'steps' and f.path ->> 2 = 'params' and f.problem is null
$$;
comment on function public.ops_fixed_problems(jsonb, text) is
  'Placeholders in parameters that an executor keeps for the operator''s own words, such as a prompt, a command or a role.';

create or replace function public.ops_step_ref_problem(p_ref jsonb, p_ancestors jsonb) returns text
language sql immutable set search_path = '' as $$
  select format('asks for {{%s}}%s', array_to_string(public.ops_text_list(p_ref), '.'), case
    when p_ref ->> 1 is null then ', which names no step'
    when not p_ancestors ? (p_ref ->> 1) then ', and no step has that key'
    else ', and that step may not have ended by then' end)
$$;
comment on function public.ops_step_ref_problem(jsonb, jsonb) is 'Why a reference to a step''s result cannot be asked here.';

create or replace function public.ops_executor_problems(p_template jsonb, p_path text)
returns table (severity text, path text, message text, fix text) language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  v_step jsonb;
  v_at integer := -1;
  v_name text;
  v_schema jsonb;
  v_found jsonb;
begin
  for v_step in select s from jsonb_array_elements(p_template -> 'steps') s loop
    v_at := v_at + 1;
    v_name := coalesce(v_step ->> 'executor', v_step ->> 'kind');
    select e.params_schema into v_schema from public.ops_executors e where e.name = v_name;
    if not found then
      return query select 'error', format('%s.steps[%s].%s', p_path, v_at, case when v_step ? 'executor' then 'executor' else 'kind' end),
        format('OPS_005: there is no executor %s', v_name),
        format('Use one of %s; or start a worker that brings this one; or give the step an executor beside its kind.',
          (select string_agg(e.name, ', ' order by e.name) from public.ops_executors e));
      continue;
    end if;
    v_found := public.ops_schema_check(v_schema, v_schema, coalesce(v_step -> 'params', '{}'), format('%s.steps[%s].params', p_path, v_at), true);
    if v_found <> '[]' then
      return query select 'error', f.value ->> 'path', f.value ->> 'message', f.value ->> 'fix' from jsonb_array_elements(v_found) f;
    end if;
  end loop;
end $$;
comment on function public.ops_executor_problems(jsonb, text) is
  'Steps whose executor (the kind by default) is not registered, and params that its schema refuses. A placeholder satisfies any type.';

create or replace function public.ops_document_problem(p_value jsonb) returns text
language plpgsql immutable set search_path = '' as $$
begin
  return case
    when octet_length(p_value::text) > 1000000 then format('is %s bytes long, more than 1 MB', octet_length(p_value::text))
    when jsonb_path_exists(p_value, '$.**{101}') then 'is nested more than 100 deep'
    when public.ops_count_placeholders(p_value::text) > 10000 then 'holds more than 10000 placeholders'
  end;
end $$;
comment on function public.ops_document_problem(jsonb) is
  'Why a policy or template is too large to be looked into: over 1 MB, nested over 100 deep, or over 10,000 placeholders. Null when it is not.';

create or replace function public.ops_template_problems(p_template jsonb, p_path text default '$')
returns table (severity text, path text, message text, fix text) language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  v_schema jsonb := (select s.schema from public.ops_schemas s where s.name = 'template');
  v_found jsonb;
begin
  if octet_length(p_template::text) > 200 and public.ops_document_problem(p_template) is not null then
    return query select 'error', p_path, public.ops_document_problem(p_template), 'Keep what is large elsewhere and name it here.';
    return;
  elsif public.ops_count_placeholders(p_template::text) > 1000 then
    return query select 'error', p_path, 'holds more than 1000 placeholders', 'Pass a whole object, such as {{event.data}}, instead of its parts.';
    return;
  end if;
  v_found := public.ops_schema_check(v_schema, v_schema, coalesce(p_template, 'null'), p_path, false);
  if v_found <> '[]' then
    return query select 'error', f.value ->> 'path', f.value ->> 'message', f.value ->> 'fix' from jsonb_array_elements(v_found) f;
    return;
  end if;
  -- Plain templates come by the thousand: what they don't have is not looked into.
  if p_template::text ~ '"(key|when|depends_on)": ' then
    return query select * from public.ops_step_problems(p_template, p_path);
  end if;
  if strpos(p_template::text, '{{') > 0 then
    return query select * from public.ops_placeholder_problems(p_template, p_path);
    return query select * from public.ops_fixed_problems(p_template, p_path);
  end if;
  return query select * from public.ops_executor_problems(p_template, p_path);
end $$;
comment on function public.ops_template_problems(jsonb, text) is
  'What is wrong with a mission template: structure first, then keys, order, conditions, placeholders, executors and their params. A message that begins with OPS_005 means an unknown executor; all others are OPS_004.';

-- Policies, checked -----------------------------------------------------------------------------------------------

create or replace function public.ops_matrix_problems(p_value jsonb)
returns table (severity text, path text, message text, fix text) language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
begin
  return query select 'error', format('$.patterns[%s].id', n.at), format('is %s, and an earlier pattern has that id', n.id), 'Give each pattern an id of its own.'
  from (select p.value ->> 'id' as id, p.ordinality - 1 as at, row_number() over (partition by p.value ->> 'id' order by p.ordinality) as nth
        from jsonb_array_elements(p_value -> 'patterns') with ordinality p) n
  where n.nth > 1;
  return query select 'error', format('$.patterns[%s].where', p.ordinality - 1), w.problem, 'Write a condition such as $.data.issue.state == "open".'
  from jsonb_array_elements(p_value -> 'patterns') with ordinality p
  cross join lateral public.ops_jsonpath_problem(p.value ->> 'where') w(problem)
  where p.value ? 'where' and w.problem is not null;
  return query select distinct 'error', format('$.patterns[%s].%s', p.ordinality - 1, k.place), coalesce(t.problem,
      format('asks for %s, and there is only the event yet', r.part -> 'ref' ->> 0)), 'Write text such as "issue:{{event.data.issue.number}}".'
  from jsonb_array_elements(p_value -> 'patterns') with ordinality p
  cross join lateral (values ('cooldown_key', p.value ->> 'cooldown_key'), ('dedupe_key', p.value ->> 'dedupe_key'),
    ('limit.key', p.value #>> '{limit,key}')) k(place, source)
  cross join lateral public.ops_parse_text(k.source) t
  left join lateral (select q.value as part from jsonb_array_elements(t.parts) q where q.value -> 'ref' ->> 0 <> 'event') r on true
  where k.source is not null and (t.problem is not null or r.part is not null);
  return query select t.severity, t.path, t.message, t.fix
  from jsonb_array_elements(p_value -> 'patterns') with ordinality p
  cross join lateral public.ops_template_problems(p.value -> 'template', format('$.patterns[%s].template', p.ordinality - 1)) t;
  return query select 'warning', format('$.patterns[%s].cooldown_key', p.ordinality - 1), 'has no effect without cooldown_minutes', 'Add cooldown_minutes, or remove it.'
  from jsonb_array_elements(p_value -> 'patterns') with ordinality p
  where p.value ? 'cooldown_key' and not p.value ? 'cooldown_minutes';
end $$;
comment on function public.ops_matrix_problems(jsonb) is
  'What is wrong with a reaction matrix of valid structure: ids, conditions, keys and templates.';

create or replace function public.ops_name_problems(p_key text, p_value jsonb)
returns table (severity text, path text, message text, fix text) language sql stable set search_path = '' as $$
  with named(path, name, is_kind) as (
    select format('$.%s[%s]', l.place, n.ordinality - 1), n.value, l.place = 'allowed_step_kinds'
    from unnest(case p_key when 'auto_approve' then '{allowed_step_kinds}'::text[]
      when 'worker_policy' then '{allowed_executors,blocked_executors}'::text[] end) l(place)
    cross join lateral jsonb_array_elements_text(p_value -> l.place) with ordinality n
    union all
    select public.ops_json_path('$', jsonb_build_array(o.place, k.name)), k.name, o.place = 'kind_risk'
    from unnest(case p_key when 'auto_approve' then '{kind_risk}'::text[] when 'worker_policy' then '{executors}'::text[] end) o(place)
    cross join lateral jsonb_object_keys(p_value -> o.place) k(name)
  )
  select 'warning', n.path, format('names %s, and nothing has that name yet', n.name), 'Correct the name, or start a worker that brings it.'
  from named n
  where not exists (select from public.ops_executors e where e.name = n.name)
    and not (n.is_kind and exists (select from public.ops_policy_patterns p
      where jsonb_path_exists(p.template, '$.steps[*].kind ? (@ == $name)', jsonb_build_object('name', n.name))))
  union all
  select 'warning', format('$.allowed_sources[%s]', s.ordinality - 1), format('names %s, and proposals have no such source', s.value),
    'Use api, trigger, reaction, manual or schedule.'
  from jsonb_array_elements_text(p_value -> 'allowed_sources') with ordinality s
  where p_key = 'auto_approve' and s.value not in ('api', 'trigger', 'reaction', 'manual', 'schedule')
$$;
comment on function public.ops_name_problems(text, jsonb) is
  'Warnings for names in auto_approve and worker_policy that no executor, no kind of a pattern and no source has.';

create or replace function public.ops_is_time_zone(p_name text) returns boolean
language plpgsql stable set search_path = '' as $$
begin
  return ('epoch'::timestamptz at time zone p_name) is not null;
exception when others then
  return false;
end $$;
comment on function public.ops_is_time_zone(text) is 'Whether the database can tell the time in a zone of this name.';

create or replace function public.ops_cron_problem(p_cron text, out message text, out fix text)
language plpgsql immutable set search_path = '' as $$
declare
  v_cron text := p_cron;
  v_name record;
begin
  -- Sunday ends a range as 7.
  for v_name in select n.word, n.number from (values ('-SUN', '-7'), ('SUN', '0'), ('MON', '1'), ('TUE', '2'), ('WED', '3'), ('THU', '4'), ('FRI', '5'), ('SAT', '6'),
    ('JAN', '1'), ('FEB', '2'), ('MAR', '3'), ('APR', '4'), ('MAY', '5'), ('JUN', '6'), ('JUL', '7'), ('AUG', '8'), ('SEP', '9'), ('OCT', '10'), ('NOV', '11'), ('DEC', '12')) n(word, number) loop
    v_cron := replace(v_cron, v_name.word, v_name.number);
  end loop;
  select 'counts down: ' || w.match[1], 'Write the smaller end of a range first; what goes over the end is two ranges, such as FRI-SAT,SUN-MON.' into message, fix
  from regexp_matches(v_cron, '(\d+)-(\d+)', 'g') with ordinality r(match, n)
  join regexp_matches(p_cron, '\w+-\w+', 'g') with ordinality w(match, n) on w.n = r.n where r.match[1]::integer > r.match[2]::integer order by r.n limit 1;
  -- A weekday that is named comes whatever the day is.
  if message is null and split_part(v_cron, ' ', 5) = '*' and not exists (
    select from regexp_split_to_table(split_part(v_cron, ' ', 3), ',') d(item)
    cross join regexp_split_to_table(split_part(v_cron, ' ', 4), ',') i(item)
    cross join lateral regexp_matches(i.item, '^(?:[*]|(\d+)(?:-(\d+))?)(?:/(\d+))?$') m(part)
    cross join lateral generate_series(coalesce(m.part[1], '1')::integer, coalesce(m.part[2], m.part[1], '12')::integer, coalesce(m.part[3], '1')::integer) month
    where coalesce(substring(d.item from '^\d+')::integer, 1) <= (array[31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])[month]) then
    message := 'would never come: none of its months has such a day';
    fix := 'Correct the day or the month.';
  end if;
end $$;
comment on function public.ops_cron_problem(text) is
  'What is wrong with a cron that the schema of the policy accepts, and the remedy: a range that counts down, or a day that no month has. Both null when nothing is.';

create or replace function public.ops_time_problems(p_key text, p_value jsonb)
returns table (severity text, path text, message text, fix text) language sql stable set search_path = '' as $$
  select 'error', format('$.schedules[%s].cron', s.ordinality - 1), c.message, c.fix
  from jsonb_array_elements(case p_key when 'schedules' then p_value -> 'schedules' end) with ordinality s
  cross join lateral public.ops_cron_problem(s.value ->> 'cron') c where c.message is not null
  union all
  select 'error', z.path, format('is %s, which is no time zone', z.name), 'Write a name such as "Europe/Berlin" or "UTC".'
  from (select '$.time_zone', p_value ->> 'time_zone'
        union all
        select format('$.schedules[%s].time_zone', s.ordinality - 1), s.value ->> 'time_zone'
        from jsonb_array_elements(case p_key when 'schedules' then p_value -> 'schedules' end) with ordinality s) z(path, name)
  where z.name is not null and not public.ops_is_time_zone(z.name)
$$;
comment on function public.ops_time_problems(text, jsonb) is 'Crons that can never come, and zones that are not, in a policy of valid structure.';

create or replace function public.ops_validate_policy(p_key text, p_value jsonb)
returns table (severity text, path text, message text, fix text) language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  v_schema jsonb := (select s.schema from public.ops_schemas s where s.name = 'policy:' || p_key);
begin
  if v_schema is null then
    return query select 'error', '$', format('there is no policy %s', coalesce(p_key, 'null')), format('Use one of: %s.',
      (select string_agg(substr(s.name, 8), ', ' order by s.name) from public.ops_schemas s where s.name like 'policy:%'));
    return;
  elsif public.ops_document_problem(p_value) is not null then
    return query select 'error', '$', public.ops_document_problem(p_value), 'Keep what is large elsewhere and name it here.';
    return;
  end if;
  return query select 'error', p.path, p.message, p.fix from public.ops_schema_problems(v_schema, p_value) p;
  if found then
    return;
  end if;
  if p_key = 'reaction_matrix' then
    return query select * from public.ops_matrix_problems(p_value);
  elsif p_key in ('auto_approve', 'worker_policy') then
    return query select * from public.ops_name_problems(p_key, p_value);
  elsif p_key = 'alerts' then
    return query select * from public.ops_alert_problems(p_value);
  elsif p_key = 'schedules' then
    return query select 'error', format('$.schedules[%s].id', n.at), format('is %s, and an earlier schedule has that id', n.id), 'Give each schedule an id of its own.'
    from (select s.value ->> 'id' as id, s.ordinality - 1 as at, row_number() over (partition by s.value ->> 'id' order by s.ordinality) as nth
          from jsonb_array_elements(p_value -> 'schedules') with ordinality s) n
    where n.nth > 1
    union all
    select 'error', format('$.schedules[%s].event.type', s.ordinality - 1), format('is %s, which the loop raises itself', s.value #>> '{event,type}'), 'Write a type of your own, such as "report:due" or "schedule:nightly".'
    from jsonb_array_elements(p_value -> 'schedules') with ordinality s
    where s.value #>> '{event,type}' ~ '^(step|mission|proposal|heartbeat|alert|budget|loop|switch|policy|radar):' or s.value #>> '{event,type}' in ('schedule:missed', 'schedule:unplannable');
  end if;
  return query select * from public.ops_time_problems(p_key, p_value);
end $$;
comment on function public.ops_validate_policy(text, jsonb) is
  'What is wrong with a policy, errors and warnings: no row when nothing is. Only errors stop a write. Writes nothing.';

-- Every write of a policy is checked, versioned and recorded ------------------------------------------------------

create or replace function public.ops_serialize_policy() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform pg_advisory_xact_lock(hashtext('public.ops_policy'));
  return null;
end $$;
comment on function public.ops_serialize_policy() is
  'Trigger before each statement that writes policies: one writer at a time, so that versions rise by one and the matrix is compiled from the last of them.';

-- A refusal rolls back all that its transaction wrote. A sequence is not rolled back, so it remembers that there was one.
create sequence if not exists public.ops_policy_refusals as bigint;
comment on sequence public.ops_policy_refusals is 'Counts refused writes of policies, those too that were rolled back. The heartbeat tells what nobody told yet.';

create or replace function public.ops_check_policy() returns trigger
language plpgsql set search_path = '' as $$
declare
  v_errors jsonb;
  v_warning text;
begin
  if tg_op = 'UPDATE' then
    if new.key <> old.key then
      perform public.ops_raise('OPS_015', format('the key of policy %s cannot change', old.key), jsonb_build_object('key', old.key),
        'Insert the new key, then delete the old one.');
    elsif new.value = old.value then
      new.version := old.version;
      new.updated_at := old.updated_at;
      return new;
    end if;
  end if;
  select jsonb_agg(to_jsonb(p) - 'severity') filter (where p.severity = 'error'),
         string_agg(p.path || ' ' || p.message || '. ' || p.fix, e'\n') filter (where p.severity = 'warning')
  into v_errors, v_warning
  from public.ops_validate_policy(new.key, new.value) p;
  if v_errors is not null then
    perform nextval('public.ops_policy_refusals');
    perform public.ops_raise('OPS_008', format('policy %s is not valid: %s %s%s', new.key, v_errors #>> '{0,path}', v_errors #>> '{0,message}',
      case jsonb_array_length(v_errors) when 1 then '' else format(' (and %s more)', jsonb_array_length(v_errors) - 1) end),
      v_errors, v_errors #>> '{0,fix}');
  elsif v_warning is not null then
    raise warning 'policy % is accepted, but: %', new.key, v_warning;
  end if;
  new.version := public.ops_next_policy_version(new.key);
  new.updated_at := public.ops_clock();
  return new;
end $$;
comment on function public.ops_check_policy() is
  'Trigger before insert or update of a policy: refuses what is invalid with OPS_008 (message: first place and problem; detail: all of them; hint: the remedy), else sets version and updated_at. A write that changes no value keeps both.';

create or replace function public.ops_next_policy_version(p_key text) returns bigint
language sql stable set search_path = '' as $$
  select coalesce(max(h.version), 0) + 1 from public.ops_policy_history h where h.key = p_key
$$;
comment on function public.ops_next_policy_version(text) is 'One more than the highest version this key ever had, deletions counted.';

create or replace function public.ops_query_comments(p_query text) returns text
language sql immutable set search_path = '' as $$
  select nullif(left(coalesce(substring(p_query from '^\s*(/\*.*?\*/)') || e'\n', '')
    || coalesce((select string_agg(l.match[1], e'\n' order by l.ordinality)
                 from regexp_matches(p_query, '^[ \t]*(--[^\n]*)$', 'gn') with ordinality l(match)), '')
    || coalesce(e'\n' || substring(p_query from '(/\*[^*]*\*/)[\s;]*$'), ''), 500), '')
$$;
comment on function public.ops_query_comments(text) is
  'The comments of a statement: whole lines of --, and /* */ at its start or end. At most 500 characters; null when there are none.';

create or replace function public.ops_refresh_patterns(p_matrix jsonb, p_revision bigint) returns void
language plpgsql set search_path = '' as $$
declare
  v_was text := public.ops_engine_begin();
begin
  -- Where there is nothing to say: Supabase refuses to its API login a delete without one.
  delete from public.ops_policy_patterns where true;
  insert into public.ops_policy_patterns
    (pattern_id, revision, position, name, types, likes, system_likes, sources, tags, where_path, probability, cooldown_minutes,
     cooldown_key, limit_count, limit_minutes, limit_key, dedupe_key, canary, template, leaves)
  select pattern_id, revision, position, name, types, likes, system_likes, sources, tags, where_path, probability, cooldown_minutes,
     cooldown_key, limit_count, limit_minutes, limit_key, dedupe_key, canary, template, leaves
  from public.ops_compile_matrix(p_matrix, p_revision);
  perform public.ops_engine_end(v_was);
end $$;
comment on function public.ops_refresh_patterns(jsonb, bigint) is
  'Replaces the compiled patterns by those of this matrix; by none when it is null.';

create or replace function public.ops_record_policy(p_key text, p_operation text, p_old jsonb, p_new jsonb, p_version bigint)
returns void language plpgsql set search_path = '' as $$
begin
  insert into public.ops_policy_history
    (key, version, operation, value, old_value, updated_at, session_role, role, application, claims, query, reason)
  values (p_key, p_version, p_operation, p_new, p_old, public.ops_clock(), session_user,
    -- The setting, because current_user is the owner inside a definer function.
    coalesce(nullif(current_setting('role', true), 'none'), session_user),
    nullif(current_setting('application_name', true), ''),
    public.ops_try_jsonb(nullif(current_setting('request.jwt.claims', true), '')),
    public.ops_query_comments(current_query()), nullif(current_setting('ops.reason', true), ''));
  if p_key = 'reaction_matrix' then
    perform public.ops_refresh_patterns(p_new, p_version);
  end if;
  if to_regprocedure('public.ops_policy_changed(text, jsonb, jsonb)') is not null then
    execute 'select public.ops_policy_changed($1, $2, $3)' using p_key, p_old, p_new;
  end if;
end $$;
comment on function public.ops_record_policy(text, text, jsonb, jsonb, bigint) is
  'Appends one version to the history with who, how and why; compiles the matrix when it is that; tells ops_policy_changed.';

create or replace function public.ops_policy_written() returns trigger
language plpgsql set search_path = '' as $$
begin
  if tg_op = 'INSERT' then
    perform public.ops_record_policy(new.key, 'insert', null, new.value, new.version);
  elsif tg_op = 'UPDATE' and new.value <> old.value then
    perform public.ops_record_policy(new.key, 'update', old.value, new.value, new.version);
  elsif tg_op = 'DELETE' then
    perform public.ops_record_policy(old.key, 'delete', old.value, null, public.ops_next_policy_version(old.key));
  elsif tg_op = 'TRUNCATE' then
    perform public.ops_record_policy(p.key, 'delete', p.value, null, public.ops_next_policy_version(p.key)) from public.ops_policy p;
  end if;
  return null;
end $$;
comment on function public.ops_policy_written() is
  'Trigger after insert, update or delete of a policy, and before truncate: records every change of a value.';

create or replace function public.ops_refuse_history_change() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform public.ops_raise('OPS_015', 'the policy history is append-only', jsonb_build_object('operation', lower(tg_op)),
    'Write the policy you want with ops_set_policy or ops_rollback_policy; that adds a version.');
  return null;
end $$;
comment on function public.ops_refuse_history_change() is
  'Trigger that refuses update, delete and truncate of the policy history to everyone, the owner too. Raises OPS_015.';

create or replace function public.ops_refuse_pattern_change() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform public.ops_raise('OPS_015', 'the compiled patterns are not written by hand', jsonb_build_object('operation', lower(tg_op)),
    'Write the reaction_matrix of ops_policy; its patterns follow.');
  return null;
end $$;
comment on function public.ops_refuse_pattern_change() is
  'Trigger that refuses to write compiled patterns to everyone but what compiles them: to the owner too, or a pattern that nobody checked and no history shows would be active. Raises OPS_015.';

create or replace trigger ops_policy_1_serialize before insert or update or delete or truncate on public.ops_policy
  for each statement execute function public.ops_serialize_policy();
create or replace trigger ops_policy_2_check before insert or update on public.ops_policy
  for each row execute function public.ops_check_policy();
create or replace trigger ops_policy_3_record after insert or update or delete on public.ops_policy
  for each row execute function public.ops_policy_written();
create or replace trigger ops_policy_4_truncate before truncate on public.ops_policy
  for each statement execute function public.ops_policy_written();
create or replace trigger ops_policy_patterns_derived before insert or update or delete or truncate on public.ops_policy_patterns
  for each statement when (coalesce(current_setting('ops.engine', true), '') <> 'on') execute function public.ops_refuse_pattern_change();
create or replace trigger ops_policy_history_append_only before update or delete or truncate on public.ops_policy_history
  for each statement execute function public.ops_refuse_history_change();

create or replace view public.ops_policy_audit with (security_invoker = true) as
select h.key as policy_key, h.old_value, h.value as new_value,
  coalesce(h.claims ->> 'email', h.claims ->> 'sub', substring(h.query from '-- user: *(\S+)'),
    case when h.role = h.session_role then h.role else h.role || ' (logged in as ' || h.session_role || ')' end) as changed_by,
  h.updated_at as changed_at, h.version, h.operation, h.reason
from public.ops_policy_history h;
comment on view public.ops_policy_audit is
  'Who changed which policy, when and why. changed_by is the person in the request''s claims or in the SQL editor''s comment, else the role.';

-- An operator's verbs ---------------------------------------------------------------------------------------------

create or replace function public.ops_set_policy(p_key text, p_value jsonb, p_reason text default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_reason text := coalesce(current_setting('ops.reason', true), '');
  v_version bigint;
begin
  if p_key is null or p_value is null then
    perform public.ops_raise('OPS_011', 'ops_set_policy needs a key and a value', null, 'To remove a policy, delete its row.');
  end if;
  perform set_config('ops.reason', coalesce(p_reason, ''), true);
  insert into public.ops_policy as p (key, value) values (p_key, p_value)
  on conflict (key) do update set value = excluded.value
  returning p.version into v_version;
  perform set_config('ops.reason', v_reason, true);
  return jsonb_build_object('key', p_key, 'version', v_version);
end $$;
comment on function public.ops_set_policy(text, jsonb, text) is
  'Writes a policy with a reason for the history; answers {key, version}. A value that is there already makes no new version. Raises OPS_008 when it is not valid, OPS_011 without key or value.';

create or replace function public.ops_rollback_policy(p_key text, p_version bigint, p_reason text default null) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_value jsonb := (select h.value from public.ops_policy_history h where h.key = p_key and h.version = p_version);
begin
  if v_value is null then
    perform public.ops_raise('OPS_012', format('policy %s has no version %s to go back to', coalesce(p_key, 'null'), coalesce(p_version::text, 'null')),
      jsonb_build_object('key', p_key, 'version', p_version),
      'select version, changed_at, changed_by from ops_policy_audit where policy_key = … shows what there is.');
  end if;
  return public.ops_set_policy(p_key, v_value, coalesce(p_reason, 'back to version ' || p_version));
end $$;
comment on function public.ops_rollback_policy(text, bigint, text) is
  'Writes an earlier value of a policy as a new version; answers {key, version}. Raises OPS_012 when there is no such version, OPS_008 when today''s checks refuse it.';

create or replace function public.ops_refusals_so_far() returns bigint
language plpgsql stable set search_path = '' as $$
begin
  return (select case when r.is_called then r.last_value else 0 end from public.ops_policy_refusals r);
end $$;
comment on function public.ops_refusals_so_far() is 'How many writes of policies were ever refused.';

create or replace function public.ops_tell_refusals() returns bigint
language plpgsql set search_path = '' as $$
declare
  v_refused bigint := public.ops_refusals_so_far();
  v_told bigint;
begin
  if v_refused = 0 then
    return 0;
  end if;
  insert into public.ops_limits (key) values ('policy_refusals') on conflict do nothing;
  select l.used into v_told from public.ops_limits l where l.key = 'policy_refusals' for update skip locked;
  if v_told is null or v_told >= v_refused then
    return 0;
  end if;
  update public.ops_limits l set used = v_refused, updated_at = public.ops_clock() where l.key = 'policy_refusals';
  perform public.ops_raise_event('policy:refused', jsonb_build_object('refused', v_refused - v_told,
    'reason', 'refused where it was typed: whoever wrote it has seen the path and the remedy, and the log of the server has them'), 'policy:refused:sql:' || v_refused);
  return v_refused - v_told;
end $$;
comment on function public.ops_tell_refusals() is
  'Raises policy:refused for refusals that left no event, such as those of statements in an SQL editor; answers how many. Any number at once: one tells.';

create or replace function public.ops_record_refusal(p_key text, p_reason text) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_key text := left(coalesce(p_key, 'null'), 100);
  v_reason text := left(coalesce(p_reason, 'no reason was given'), 2000);
begin
  perform public.ops_raise_event('policy:refused', jsonb_build_object('key', v_key, 'reason', v_reason,
      'version', (select p.version from public.ops_policy p where p.key = p_key)),
    format('policy:refused:%s:%s:%s', v_key, md5(v_reason), to_char(public.ops_clock() at time zone 'UTC', 'YYYY-MM-DD"T"HH24')));
  insert into public.ops_limits as l (key, used) values ('policy_refusals', 1)
  on conflict (key) do update set used = least(l.used + 1, public.ops_refusals_so_far()), updated_at = public.ops_clock();
  return jsonb_build_object('key', v_key);
end $$;
comment on function public.ops_record_refusal(text, text) is
  'Raises policy:refused with the reason and the version that stays in force, once per key, reason and hour; answers {key}. The refusal itself rolls back all that its transaction wrote, so whoever got it calls this in the next.';

create or replace function public.ops_switch_mode(p_switches jsonb, p_scope text) returns text
language plpgsql immutable set search_path = '' as $$
begin
  return nullif(p_switches #>> array['scopes', p_scope, 'mode'], 'run');
end $$;
comment on function public.ops_switch_mode(jsonb, text) is 'drain or halt when the policy switches holds this scope; null when it runs.';

create or replace function public.ops_set_switch(p_scope text, p_switch jsonb, p_reason text) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_scopes jsonb;
begin
  if p_scope is null then
    perform public.ops_raise('OPS_011', 'a scope is needed', null,
      'Name one: all, heartbeat, reactions, auto_approve, dispatch, pattern:<id>, executor:<name>, role:<name> or mission:<uuid>.');
  end if;
  -- The lock that every write of a policy takes: two switches at once both hold.
  perform pg_advisory_xact_lock(hashtext('public.ops_policy'));
  v_scopes := coalesce(public.ops_policy_value('switches') -> 'scopes', '{}') - p_scope;
  if p_switch is not null then
    v_scopes := v_scopes || jsonb_build_object(p_scope, p_switch);
  end if;
  return jsonb_build_object('scope', p_scope, 'mode', coalesce(p_switch ->> 'mode', 'run'),
    'version', public.ops_set_policy('switches', jsonb_build_object('scopes', v_scopes), p_reason) -> 'version');
end $$;
comment on function public.ops_set_switch(text, jsonb, text) is
  'Puts one scope into the policy switches, or takes it out when p_switch is null. Answers {scope, mode, version}.';

create or replace function public.ops_pause(p_scope text, p_mode text default 'drain', p_reason text default null) returns jsonb
language sql set search_path = '' as $$
  select public.ops_set_switch(p_scope, jsonb_strip_nulls(jsonb_build_object(
    'mode', coalesce(p_mode, 'drain'), 'reason', left(p_reason, 1000), 'since', public.ops_clock())), p_reason)
$$;
comment on function public.ops_pause(text, text, text) is
  'Stops a scope: drain lets what runs finish, halt stops that too. Scopes: all, heartbeat, reactions, auto_approve, dispatch, pattern:<id>, executor:<name>, role:<name>, mission:<uuid>. Answers {scope, mode, version}. Raises OPS_008 for another scope or mode.';

create or replace function public.ops_resume(p_scope text, p_reason text default null) returns jsonb
language sql set search_path = '' as $$
  select public.ops_set_switch(p_scope, null, p_reason)
$$;
comment on function public.ops_resume(text, text) is
  'Lets a scope run again; a second call changes nothing. Answers {scope, mode, version}.';

-- A matrix that was written while these triggers were not there is compiled now.
do $$ begin
  perform public.ops_refresh_patterns(p.value, p.version) from public.ops_policy p where p.key = 'reaction_matrix';
end $$;

create or replace function public.ops_get_policy(p_key text) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_policy jsonb := (select to_jsonb(p) from public.ops_policy p where p.key = p_key);
begin
  if v_policy is null then
    perform public.ops_raise('OPS_002', format('there is no policy %s', p_key), null, 'Its defaults hold. Write one with ops_set_policy or ops-loop policy set.');
  end if;
  return v_policy;
end $$;
comment on function public.ops_get_policy(text) is 'A policy: {key, value, version, updated_at}. Raises OPS_002 when there is none.';

create or replace function public.ops_list_policy_versions(p_key text default null, p_limit integer default 50, p_before bigint default null)
returns setof public.ops_policy_history language sql stable set search_path = '' as $$
  select h.* from public.ops_policy_history h
  where (p_key is null or h.key = p_key) and (p_before is null or h.version < p_before)
  order by h.updated_at desc, h.version desc limit least(p_limit, 1000)
$$;
comment on function public.ops_list_policy_versions(text, integer, bigint) is 'Versions of a policy, newest first; p_before is the cursor: the last version seen.';

insert into public.ops_migrations (version, name) values ('0003', 'ops_policy') on conflict do nothing;
