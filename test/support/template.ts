import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { ensureApiRoles } from '../../local/embedded/database.js';
import { migrate, seed } from '../../local/migrations.js';
import { OpsError } from '../../supabase/client/errors.js';

export type Template = { name: string; error: string };

/** Makes a migrated and seeded database that nobody can connect to, ready to be cloned. */
export async function buildTemplate(adminUrl: string): Promise<Template> {
  const name = randomName('template');
  await withAdministrator(adminUrl, async (client) => {
    // A given server need not be Supabase's.
    await ensureApiRoles(client);
    await client.query(`create database ${name}`);
  });
  try {
    await migrate(databaseUrl(adminUrl, name));
    await seed(databaseUrl(adminUrl, name));
    await administer(adminUrl, `alter database ${name} allow_connections false`);
    return { name, error: '' };
  } catch (error) {
    await dropTemplate(adminUrl, name);
    return { name: '', error: `the template database could not be built: ${describe(error)}` };
  }
}

export async function dropTemplate(adminUrl: string, name: string): Promise<void> {
  if (name !== '') await administer(adminUrl, `drop database if exists ${name} with (force)`);
}

/** A name for a database or role of this run: lower case, never in need of quotes. */
export function randomName(what: string): string {
  return `ops_test_${what}_${randomBytes(5).toString('hex')}`;
}

/** Runs statements as the administrator, each in its own transaction: `create database` wants that. */
export function administer(adminUrl: string, ...statements: string[]): Promise<void> {
  return withAdministrator(adminUrl, async (client) => {
    for (const statement of statements) await client.query(statement);
  });
}

async function withAdministrator(adminUrl: string, work: (client: Client) => Promise<void>): Promise<void> {
  const client = new Client({ connectionString: adminUrl, application_name: 'test administrator' });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

/** The same server, another database and, if given, another login. */
export function databaseUrl(
  url: string,
  database: string,
  login?: { role: string; password: string },
): string {
  const result = new URL(url);
  result.pathname = `/${database}`;
  if (login !== undefined) {
    result.username = login.role;
    result.password = login.password;
  }
  return result.href;
}

function describe(error: unknown): string {
  if (error instanceof OpsError) return `${error.code} ${error.message} (${error.hint ?? 'no hint'})`;
  return error instanceof Error ? error.message : String(error);
}
