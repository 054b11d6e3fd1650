/**
 * Which database a command works on: DATABASE_URL, else a Supabase project through its API, else the embedded one. Only
 * `start` and `demo` create an embedded one (and whoever asks for it with `--embedded`); everybody else joins it while
 * it runs, or fails with `OPS_001`.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { type Connection, parseConnection } from '../supabase/client/connection.js';
import { OpsError } from '../supabase/client/errors.js';
import { readExactly } from '../supabase/client/exact-policies.js';
import { openDatabase } from '../supabase/client/pg.js';
import type { OpsPort } from '../supabase/client/port.js';
import { type Project, parseProject } from '../supabase/client/project.js';
import { openSupabase } from '../supabase/client/supabase.js';
import type { EmbeddedDatabase } from './embedded/embedded.js';
import { type Environment, projectRoot } from './env.js';

/** A database that takes SQL. */
export type SqlDatabase = Connection & {
  kind: 'given' | 'embedded';
  /** With its password: for psql, not for messages. */
  url: string;
  /** Ends an embedded server that this choice started; does nothing otherwise. */
  stop(): Promise<void>;
};

/** A Supabase project through its API: the functions of the engine and nothing else. */
export type ApiDatabase = Pick<Project, 'host' | 'database' | 'label'> & {
  kind: 'supabase';
  project: Project;
  stop(): Promise<void>;
};

export type ChosenDatabase = SqlDatabase | ApiDatabase;

export type OpenDatabase = { port: OpsPort; close(): Promise<void> };

export type Choice = {
  /** Start the embedded database if none is chosen and none runs. */
  startEmbedded?: boolean;
  /** Names the connections in pg_stat_activity and in the policy history. */
  applicationName: string;
};

/** Throws `OPS_016` for settings that don't fit, `OPS_001` when there is nothing to connect to. */
export async function chooseDatabase(env: Environment, choice: Choice): Promise<ChosenDatabase> {
  if (env.DATABASE_URL !== undefined) return describe('given', env.DATABASE_URL, choice, async () => {});
  if (env.SUPABASE_URL !== undefined || env.SUPABASE_SERVICE_ROLE_KEY !== undefined)
    return describeProject(parseProject(env.SUPABASE_URL, env.SUPABASE_SERVICE_ROLE_KEY));
  const dataDir = embeddedDataDir(env);
  const running = await runningServer(dataDir);
  if (choice.startEmbedded !== true && !running) throw noneChosen();
  // Loaded only here: with DATABASE_URL set the npm package need not be there.
  const { startEmbedded } = await import('./embedded/embedded.js');
  const embedded: EmbeddedDatabase = await startEmbedded({ dataDir });
  if (embedded.joined || choice.startEmbedded === true)
    return describe('embedded', embedded.url, choice, embedded.stop);
  await embedded.stop();
  throw noneChosen();
}

/** The directory that holds everything a local start keeps: database, secrets. */
export const dataRoot = (env: Environment): string => resolve(projectRoot, env.OPS_DATA_DIR);

const embeddedDataDir = (env: Environment): string => resolve(dataRoot(env), 'postgres');

/** Opens the choice; nothing connects before the first call. `max` connections, where there are any to count. */
export const openChosen = (chosen: ChosenDatabase, max = 10): OpenDatabase =>
  chosen.kind === 'supabase'
    ? openSupabase(chosen.project)
    : readExactly(openDatabase({ ...chosen.config, max }));

/** The choice, for what needs SQL of its own. Throws `OPS_016` for a project that is reached through its API. */
export function requireSql(chosen: ChosenDatabase): SqlDatabase {
  if (chosen.kind !== 'supabase') return chosen;
  throw new OpsError('OPS_016', `this needs SQL, and ${chosen.label} takes calls of functions only`, {
    hint: "Set DATABASE_URL to the project's connection string, from its Connect page, for this one command.",
  });
}

function describe(
  kind: SqlDatabase['kind'],
  url: string,
  { applicationName }: Choice,
  stop: () => Promise<void>,
): SqlDatabase {
  const connection = parseConnection(url);
  const config = { ...connection.config, application_name: applicationName };
  return { ...connection, config, kind, url, stop };
}

function describeProject(project: Project): ApiDatabase {
  const { host, database, label } = project;
  return { host, database, label, kind: 'supabase', project, stop: async () => {} };
}

/** Whether a server process has the data directory open; its first line in postmaster.pid is its process id. */
async function runningServer(dataDir: string): Promise<boolean> {
  const text = await readFile(resolve(dataDir, 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number.parseInt(text, 10);
  if (!(pid > 0)) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

const noneChosen = (): OpsError =>
  new OpsError('OPS_001', 'no database is chosen and no embedded one is running', {
    hint: 'Set DATABASE_URL, or SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY (in .env or the environment), or run `npm start` in another terminal and try again.',
  });
