/**
 * `npm run test:plpgsql`: plpgsql_check over every PL/pgSQL function of ours, which finds what only a call would: missing
 * columns, wrong types, statements on paths that no test takes. Skipped with a line that says so where it is missing.
 */
import { Client } from 'pg';
import { findInstalled, startInstalled } from './support/installed-server.js';

type Finding = { fn: string; line: number | null; code: string; message: string; source: string };

/** Trigger functions are checked once for each table that they guard. */
const check = `
  with ours as (
    select p.oid, 0::oid as relation, p.prosrc, null::name as old, null::name as new from pg_proc p join pg_language l on l.oid = p.prolang
    where l.lanname = 'plpgsql' and p.pronamespace = 'public'::regnamespace and p.proname like 'ops\\_%' and p.prorettype <> 'trigger'::regtype
    union all
    select distinct t.tgfoid, t.tgrelid, p.prosrc, t.tgoldtable, t.tgnewtable
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_proc p on p.oid = t.tgfoid where not t.tgisinternal and c.relname like 'ops\\_%'
  )
  select o.oid::regprocedure::text as fn, f.lineno as line, f.sqlstate as code, f.message || coalesce(': ' || f.detail, '') as message,
    coalesce(trim(split_part(o.prosrc, e'\\n', f.lineno)), '') as source
  from ours o cross join lateral plpgsql_check_function_tb(o.oid, o.relation, fatal_errors => false, extra_warnings => true,
    oldtable => o.old, newtable => o.new) f
  order by 1, 2`;

/** What it says and need not be changed, with the reason. */
const accepted: { message: RegExp; fn?: RegExp; source?: RegExp; why: string }[] = [
  { message: /: cast "text" value/, source: /^begin$|^return '\[\]';$/, why: 'a literal counts as text' },
  { message: /unused parameter "p_worker"/, why: 'callers say who they are; the epoch is what counts' },
  {
    message: /unused parameter "p_(old|new)"/,
    fn: /^ops_policy_changed\(/,
    why: 'the trigger hands them over',
  },
  { message: /without RETURN/, fn: /^ops_run_phase\(/, why: 'a CASE that finds no branch raises' },
  {
    message: /"v_theirs"|"v_(last|recorded)"/,
    fn: /^ops_simulate\(/,
    why: 'a record that comes of a CASE has no known columns',
  },
  { message: /never read variable "v_count"/, fn: /^ops_create_missions\(/, why: 'harmless' },
];

/** Reads a column that is not there: what finds this would find others. */
const broken = `create function public.ops_lint_broken() returns void language plpgsql set search_path = '' as
  $$ begin perform p.nowhere from public.ops_policy p; end $$`;

async function findings(url: string): Promise<Finding[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query('create extension plpgsql_check');
    await client.query(broken);
    return (await client.query<Finding>(check)).rows;
  } finally {
    await client.end();
  }
}

const isAccepted = ({ fn, message, source }: Finding): boolean =>
  accepted.some(
    (a) => a.message.test(message) && a.fn?.test(fn) !== false && a.source?.test(source) !== false,
  );

async function run(): Promise<number> {
  const installed = findInstalled('plpgsql_check');
  if (installed === undefined) {
    process.stdout.write(
      'plpgsql: skipped, plpgsql_check is not installed (on Debian: apt-get install --no-install-recommends postgresql-15-plpgsql-check)\n',
    );
    return 0;
  }
  const server = await startInstalled(installed);
  const found = await findings(server.url).finally(server.stop);
  const [seeded, ours] = [found.filter(isSeeded), found.filter((finding) => !isSeeded(finding))];
  const open = ours.filter((finding) => !isAccepted(finding));
  for (const { fn, line, code, message } of open)
    process.stdout.write(`${fn}:${line ?? '?'} ${code} ${message}\n`);
  if (seeded.length === 0) process.stdout.write('the function that was broken on purpose was not found\n');
  process.stdout.write(`plpgsql: ${open.length} findings, ${ours.length - open.length} accepted\n`);
  return open.length === 0 && seeded.length > 0 ? 0 : 1;
}

const isSeeded = ({ fn }: Finding): boolean => fn.startsWith('ops_lint_broken(');

process.exitCode = await run();
