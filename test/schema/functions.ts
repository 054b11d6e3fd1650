/**
 * docs/functions.md: every SQL function that somebody outside of the engine calls, as the catalog describes it, grouped
 * by the migration that makes it. What only the engine calls is left to the comments in the database.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { projectRoot } from '../../local/env.js';
import type { Sql } from '../support/database.js';

export const functionsPath = join(projectRoot, 'docs/functions.md');

const head = [
  '# Functions',
  '',
  'Every transition of the loop is one function: from an SQL editor, over `pg`, or as an RPC through Supabase. Arguments go by',
  'name (`select ops_pause(p_scope => …)`); those in brackets may be left out. All run with the rights of their owner; *worker*',
  'marks what the login role `ops_worker` may call besides `service_role`. Errors are those of [errors.md](errors.md).',
  '',
  'Written by `npm run generate` from the comments in the database: never edit.',
  '',
].join('\n');

const query = `
  select p.proname as name, pg_get_function_arguments(p.oid) as arguments, pg_get_function_result(p.oid) as result,
    regexp_replace(obj_description(p.oid, 'pg_proc'), ' Definer: .*$', '') as comment, 'ops_worker' = any (g.roles) as worker
  from public.ops_grant_list() g join pg_proc p on p.proname = g.function_name and p.pronamespace = 'public'::regnamespace
  order by p.proname`;

type Row = { name: string; arguments: string; result: string; comment: string; worker: boolean };

export async function functionsReference(sql: Sql): Promise<string> {
  const rows = await sql<Row>(query);
  const migrations = await readMigrations();
  const sections = migrations.flatMap(({ title, text }) => {
    const own = rows.filter(({ name }) => text.includes(`create or replace function public.${name}(`));
    return own.length === 0 ? [] : [`## ${title}\n`, ...own.map(describe)];
  });
  return [head, ...sections].join('\n');
}

/** The first line of a migration says, up to a colon or full stop, what it is about. */
async function readMigrations(): Promise<{ title: string; text: string }[]> {
  const folder = join(projectRoot, 'supabase/migrations');
  const read = async (file: string) => {
    const text = await readFile(join(folder, file), 'utf8');
    const [, title = file] = /^-- \d+ ([^:.\n]+)/.exec(text) ?? [];
    return { title, text };
  };
  return Promise.all((await readdir(folder)).sort().map(read));
}

function describe({ name, arguments: list, result, comment, worker }: Row): string {
  const shown = list
    .split(/, (?=p_)/)
    .filter((argument) => argument !== '')
    .map((argument) => code(argument.replace(/^(.*?) DEFAULT (.*?)(::[\w[\] ]+)?$/, '[$1 = $2]')));
  const who = worker ? ' · *worker*' : '';
  return `**${name}** (${shown.join(', ')}) → ${code(result)}${who}\n\n${comment.replaceAll('|', '\\|')}\n`;
}

const code = (text: string): string => `\`${text}\``;
