/**
 * The schema as the catalog shows it, as text: for review, and to see at once what a migration changes. Owners and
 * their own rights are left out, so that it is the same text whoever installs.
 */
import { fileURLToPath } from 'node:url';
import type { Sql } from '../support/database.js';

/** View definitions and the like are worded by the server, so the text is of one major version. */
export const dumpedMajor = 17;

export const dumpPath = fileURLToPath(new URL('./schema.txt', import.meta.url));

const head = `The schema that all migrations together leave behind, as the catalog of PostgreSQL ${dumpedMajor} shows it.
Written by \`npm run generate\`: never edit.
`;

type Part = { owner: string; text: string };
type Relation = { name: string; kind: string; options: string | null; security: string };

export async function dumpSchema(sql: Sql): Promise<string> {
  const relations = await sql<Relation>(relationsQuery);
  const parts: Part[] = [];
  for (const query of partQueries) parts.push(...(await sql<Part>(query)));
  const functions = await sql<{ source: string }>(functionsQuery);
  const described = relations.map((relation) => describeRelation(relation, parts));
  return [head, ...described, ...functions.map(({ source }) => `${source}\n`)].join('\n');
}

function describeRelation({ name, kind, options, security }: Relation, parts: Part[]): string {
  const own = parts.filter(({ owner }) => owner === name).map(({ text }) => `  ${text}`);
  const first = [kind, name, options === null ? '' : `with (${options})`, security].filter(
    (word) => word !== '',
  );
  return `${[first.join(' '), ...own].join('\n')}\n`;
}

/** Over `pg_class c`. */
const isOurs = "c.relnamespace = 'public'::regnamespace and c.relname like 'ops\\_%'";

const relationsQuery = `
  select c.relname as name, array_to_string(c.reloptions, ', ') as options,
    case c.relkind when 'r' then 'table' when 'p' then 'partitioned table' when 'v' then 'view'
      when 'm' then 'materialized view' when 'S' then 'sequence' else 'relation of kind ' || c.relkind::text end as kind,
    concat_ws(', ', case when c.relrowsecurity then 'row-level security' end, case when c.relforcerowsecurity then 'forced' end) as security
  from pg_class c where ${isOurs} and c.relkind not in ('i', 'I', 't') order by c.relname collate "C"`;

const columnsQuery = `
  select c.relname as owner, concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), case when a.attnotnull then 'not null' end,
    case when a.attidentity <> '' then 'identity' end, case when a.attgenerated <> '' then 'generated' end,
    'default ' || pg_get_expr(d.adbin, d.adrelid)) as text
  from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where ${isOurs} and c.relkind in ('r', 'p', 'v', 'm') order by c.relname, a.attnum`;

const viewsQuery = `
  select c.relname as owner, 'as' || e'\\n' || pg_get_viewdef(c.oid, true) as text
  from pg_class c where ${isOurs} and c.relkind in ('v', 'm')`;

/** Version 18 has NOT NULL as constraints too; the columns say it. */
const constraintsQuery = `
  select c.relname as owner, format('constraint %s %s', k.conname, pg_get_constraintdef(k.oid)) as text
  from pg_class c join pg_constraint k on k.conrelid = c.oid and k.contype <> 'n'
  where ${isOurs} order by k.conname collate "C"`;

const indexesQuery = `
  select c.relname as owner, pg_get_indexdef(i.indexrelid) as text
  from pg_class c join pg_index i on i.indrelid = c.oid join pg_class x on x.oid = i.indexrelid
  where ${isOurs} and not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
  order by x.relname collate "C"`;

const triggersQuery = `
  select c.relname as owner, pg_get_triggerdef(t.oid) as text
  from pg_class c join pg_trigger t on t.tgrelid = c.oid and not t.tgisinternal
  where ${isOurs} order by t.tgname collate "C"`;

const policiesQuery = `
  select c.relname as owner, format('policy %s for %s to %s using (%s) with check (%s)', p.polname,
    case p.polcmd when '*' then 'all' else p.polcmd::text end,
    array_to_string(array(select case when r = c.relowner then 'owner' when r = 0 then 'public' else pg_get_userbyid(r)::text end from unnest(p.polroles) r order by 1), ', '),
    pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) as text
  from pg_class c join pg_policy p on p.polrelid = c.oid where ${isOurs} order by p.polname collate "C"`;

/** What others than the owner may do. */
const grants = (acl: string, owner: string) => `
  select string_agg(g.line, e'\\n' order by g.line collate "C") from (
    select format('grant %s to %s', string_agg(lower(a.privilege_type), ', ' order by a.privilege_type),
      case a.grantee when 0 then 'public' else pg_get_userbyid(a.grantee)::text end) as line
    from aclexplode(${acl}) a where a.grantee <> ${owner} group by a.grantee) g`;

const grantsQuery = `
  select c.relname as owner, g.text from pg_class c
  cross join lateral (${grants("coalesce(c.relacl, acldefault('r', c.relowner))", 'c.relowner')}) g(text)
  where ${isOurs} and c.relkind in ('r', 'p', 'v', 'm') and g.text is not null`;

const partQueries = [
  columnsQuery,
  viewsQuery,
  constraintsQuery,
  indexesQuery,
  triggersQuery,
  policiesQuery,
  grantsQuery,
];

const functionsQuery = `
  select concat_ws(e'\\n', rtrim(pg_get_functiondef(p.oid), e'\\n'),
    (${grants("coalesce(p.proacl, acldefault('f', p.proowner))", 'p.proowner')})) as source
  from pg_proc p where p.pronamespace = 'public'::regnamespace and p.proname like 'ops\\_%'
  order by p.proname collate "C", pg_get_function_identity_arguments(p.oid) collate "C"`;
