/**
 * What must hold of every object of ours, asked of the catalog. Each rule carries a violation that it must find:
 * a lint that never fails says nothing. `ops_lint_…` are the violations' names.
 *
 * Rules after the Supabase linter (github.com/supabase/splinter: 0001, 0009, 0010, 0011, 0013, 0023, 0028, 0029), which
 * looks at exposed schemas with its own exceptions only, and after what Supabase's API sets for its login role.
 */
import type { Sql } from '../support/database.js';
import { readable, unqualified, wholeTable } from './bodies.js';

export type Rule = {
  name: string;
  /** Why it matters, for who reads the failure. */
  risk: string;
  /** A line for each violation. */
  find(sql: Sql): Promise<string[]>;
  /** Statements that violate this rule and, as far as possible, no other. */
  seed: string;
};

const functions = "pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname like 'ops\\_%'";
const relations = (kinds: string) =>
  `pg_class c where c.relnamespace = 'public'::regnamespace and c.relname like 'ops\\_%' and c.relkind in (${kinds})`;
const tables = relations("'r', 'p'");
const fn = 'p.oid::regprocedure::text as line';

/** A rule that is one query, which answers its violations as `line`. */
const asked =
  (query: string): Rule['find'] =>
  async (sql) =>
    (await sql<{ line: string }>(query)).map(({ line }) => line).sort();

/** A rule over the words of function bodies. */
const read =
  (find: (body: string) => string[]): Rule['find'] =>
  async (sql) => {
    const rows = await sql<{ line: string; body: string }>(
      `select ${fn}, p.prosrc as body from ${functions}`,
    );
    return rows.flatMap(({ line, body }) => find(readable(body)).map((found) => `${line}: ${found}`)).sort();
  };

/** A function that would pass, but for what `rest` and `comment` say. */
const made = (name: string, rest: string, comment = "'x'"): string => `
  create function public.${name}() returns void ${rest};
  revoke all on function public.${name}() from public;
  comment on function public.${name}() is ${comment}`;
const pinned = "set search_path = ''";

export const rules: Rule[] = [
  {
    name: 'every function pins an empty search path, or has a body that was bound when it was made',
    risk: 'a function looks names up where its caller wants it to',
    find: asked(
      `select ${fn} from ${functions} and p.prosqlbody is null and not coalesce('search_path=""' = any (p.proconfig), false)`,
    ),
    seed: made('ops_lint_path', 'language sql as $$ select $$'),
  },
  {
    name: 'every function has a comment',
    risk: 'nobody knows what it answers and which codes it raises',
    find: asked(`select ${fn} from ${functions} and coalesce(obj_description(p.oid, 'pg_proc'), '') = ''`),
    seed: made('ops_lint_mute', `language sql ${pinned} as $$ select $$`, 'null'),
  },
  {
    name: 'every definer says why in its comment, and none is one without need',
    risk: 'its caller acts with the rights of the owner',
    find: asked(`select ${fn} from ${functions} and p.prosecdef and (coalesce(obj_description(p.oid, 'pg_proc'), '') !~ 'Definer: \\S'
      or p.prorettype <> 'trigger'::regtype and not exists (select from public.ops_grant_list() g where g.function_name = p.proname))`),
    seed: made(
      'ops_lint_definer',
      `language sql security definer ${pinned} as $$ select $$`,
      "'Definer: because.'",
    ),
  },
  {
    name: 'functions are granted as ops_grant_list says, and to nobody else',
    risk: 'anon may approve, or a worker may not claim',
    find: asked(`
      with held as (
        select p.oid, p.proname, coalesce(r.rolname, 'public') as role from pg_proc p
        cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a left join pg_roles r on r.oid = a.grantee
        where p.pronamespace = 'public'::regnamespace and p.proname like 'ops\\_%' and a.grantee <> p.proowner
      ), meant as (
        select p.oid, p.proname, x.role from public.ops_grant_list() g cross join unnest(g.roles) x(role)
        join pg_proc p on p.proname = g.function_name and p.pronamespace = 'public'::regnamespace
        where exists (select from pg_roles r where r.rolname = x.role)
      )
      select h.role || ' may call ' || h.oid::regprocedure as line from held h where not exists (select from meant m where m.oid = h.oid and m.role = h.role)
      union all
      select m.role || ' may not call ' || m.oid::regprocedure from meant m where not exists (select from held h where h.oid = m.oid and h.role = m.role)`),
    seed: 'grant execute on function public.ops_health() to anon; revoke execute on function public.ops_health() from ops_worker',
  },
  {
    name: 'tables and views let service_role read, and nobody do anything else',
    risk: 'rows are read or written past the functions',
    find: asked(`
      select format('%s may %s %s', coalesce(r.rolname, 'public'), a.privilege_type, c.relname) as line
      from pg_class c cross join aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a left join pg_roles r on r.oid = a.grantee
      where c.relnamespace = 'public'::regnamespace and c.relname like 'ops\\_%' and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f') and a.grantee <> c.relowner
        and not (coalesce(r.rolname, 'public') = 'service_role' and a.privilege_type = 'SELECT' and c.relkind <> 'S')
      union all
      select format('%s may %s %s.%s', coalesce(r.rolname, 'public'), a.privilege_type, c.relname, t.attname)
      from pg_attribute t join pg_class c on c.oid = t.attrelid cross join aclexplode(t.attacl) a left join pg_roles r on r.oid = a.grantee
      where c.relnamespace = 'public'::regnamespace and c.relname like 'ops\\_%' and a.grantee <> c.relowner`),
    seed: 'grant select on public.ops_policy to authenticated; grant update (value) on public.ops_policy to anon',
  },
  {
    name: 'every table has row-level security on and forced',
    risk: 'a grant given by mistake opens all rows',
    find: asked(
      `select c.relname::text as line from ${tables} and not (c.relrowsecurity and c.relforcerowsecurity)`,
    ),
    seed: 'alter table public.ops_policy no force row level security; alter table public.ops_limits disable row level security',
  },
  {
    name: 'every table has one policy: all, for its owner',
    risk: 'a second policy opens rows to another role',
    find: asked(`select c.relname::text as line from ${tables} and coalesce((
      select count(*) <> 1 or not bool_and(p.polname = 'ops_owner' and p.polcmd = '*' and p.polpermissive and p.polroles = array[c.relowner])
      from pg_policy p where p.polrelid = c.oid), true)`),
    seed: 'create policy reading on public.ops_policy for select to anon using (true); drop policy ops_owner on public.ops_limits',
  },
  {
    name: 'every view reads with the rights of its reader',
    risk: 'row-level security does not hold for who reads the view',
    find: asked(`select c.relname::text as line from ${relations("'v'")} and not coalesce('security_invoker=true' = any (c.reloptions), false)
      union all select c.relname::text from ${relations("'m'")}`),
    seed: "create view public.ops_lint_view as select 1 as one; comment on view public.ops_lint_view is 'x'; comment on column public.ops_lint_view.one is 'x'",
  },
  {
    name: 'every table, view and column has a comment',
    risk: 'nobody knows what it means, its unit, and who writes it',
    find: asked(`
      select c.relname::text as line from ${relations("'r', 'p', 'v'")} and coalesce(obj_description(c.oid, 'pg_class'), '') = ''
      union all
      select c.relname || '.' || a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid
      where c.relnamespace = 'public'::regnamespace and c.relname like 'ops\\_%' and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
        and coalesce(col_description(c.oid, a.attnum), '') = ''`),
    seed: 'comment on column public.ops_policy.value is null; comment on table public.ops_limits is null',
  },
  {
    name: 'every foreign key has an index that begins with its columns',
    risk: 'deleting a parent reads the whole child',
    find: asked(`select k.conrelid::regclass || ' ' || k.conname as line from pg_constraint k join pg_class c on c.oid = k.conrelid
      where k.contype = 'f' and c.relnamespace = 'public'::regnamespace and c.relname like 'ops\\_%' and not exists (
        select from pg_index i where i.indrelid = k.conrelid and i.indisvalid
          and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) ~ '^\\(\\w+ IS NOT NULL\\)$')
          and (i.indkey::int2[])[0:cardinality(k.conkey) - 1] @> k.conkey)`),
    seed: 'alter table public.ops_limits add column lint_id uuid references public.ops_missions (id)',
  },
  {
    name: 'no index is there twice, or unfinished',
    risk: 'every write pays for it, and no plan uses it',
    find: asked(`select i.indexrelid::regclass::text as line from pg_index i join pg_class c on c.oid = i.indrelid
      where c.relnamespace = 'public'::regnamespace and c.relname like 'ops\\_%' and (not i.indisvalid or exists (
        select from pg_index o where o.indrelid = i.indrelid and o.indexrelid < i.indexrelid and o.indkey::text = i.indkey::text and o.indclass::text = i.indclass::text
          and o.indoption::text = i.indoption::text and coalesce(o.indpred::text, '') = coalesce(i.indpred::text, '') and coalesce(o.indexprs::text, '') = coalesce(i.indexprs::text, '')))`),
    seed: 'create index ops_lint_twice on public.ops_policy (key)',
  },
  {
    name: 'every table has a primary key',
    risk: 'Realtime and logical replication refuse updates of a table without one',
    find: asked(
      `select c.relname::text as line from ${tables} and not exists (select from pg_constraint k where k.conrelid = c.oid and k.contype = 'p')`,
    ),
    seed: 'alter table public.ops_limits drop constraint ops_limits_pkey cascade',
  },
  {
    name: 'every trigger of ours is switched on',
    risk: 'a guard that sleeps guards nothing',
    find: asked(`select c.relname || '.' || t.tgname as line from pg_trigger t join pg_class c on c.oid = t.tgrelid
      where c.relnamespace = 'public'::regnamespace and c.relname like 'ops\\_%' and not t.tgisinternal and t.tgenabled in ('D', 'R')`),
    seed: 'alter table public.ops_policy disable trigger user',
  },
  {
    name: 'functions name our objects with their schema',
    risk: 'with an empty search path the name is found nowhere, at the first call and not before',
    find: read(unqualified),
    seed: made('ops_lint_name', `language plpgsql ${pinned} as $$ begin perform from ops_policy; end $$`),
  },
  {
    name: 'functions never update or delete a whole table',
    risk: "Supabase loads safeupdate for its API's login, which refuses such a statement (SQLSTATE 21000) in functions too",
    find: read(wholeTable),
    seed: made(
      'ops_lint_whole',
      `language plpgsql ${pinned} as $$ begin delete from public.ops_limits; end $$`,
    ),
  },
];
