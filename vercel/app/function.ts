/**
 * The app as a Vercel function: built from the environment at the first request, kept for the life of the instance.
 * A wrong environment answers every request with the list of variables to correct, and opens nothing.
 */
import pino from 'pino';
import { parseConnection } from '../../supabase/client/connection.js';
import { createErrorReports } from '../../supabase/client/error-reports.js';
import { OpsError } from '../../supabase/client/errors.js';
import { readExactly } from '../../supabase/client/exact-policies.js';
import { openDatabase } from '../../supabase/client/pg.js';
import { createPort, type OpsPort } from '../../supabase/client/port.js';
import { parseProject } from '../../supabase/client/project.js';
import { openSupabase } from '../../supabase/client/supabase.js';
import type { AppDeps } from './deps.js';
import { type ControlEnv, environmentName, parseControlEnv } from './env.js';
import { closeHeaders } from './headers.js';
import type { App } from './mount.js';
import { describe, traceless } from './problem.js';
import { version } from './version.js';

/** One instance serves several requests at once, and there may be many instances: few connections, soon given back. */
const poolConfig = {
  max: 4,
  idleTimeoutMillis: 10_000,
  allowExitOnIdle: true,
  application_name: 'ops-loop vercel',
};

type Answerer = (request: Request) => Response | Promise<Response>;
type CreateApp = (deps: AppDeps) => App;

/**
 * What a function file exports under the names of its methods: the app that `createApp` makes over these variables.
 * Nothing is read or opened before the first request.
 */
export function createAnswerer(
  createApp: CreateApp,
  variables: Readonly<Record<string, string | undefined>> = process.env,
): Answerer {
  let app: App | undefined;
  return (request) => {
    try {
      app ??= buildApp(createApp, parseControlEnv(variables));
    } catch (error) {
      return answerMisconfigured(error, request);
    }
    return app.fetch(request);
  };
}

function buildApp(createApp: CreateApp, env: ControlEnv): App {
  const log = pino({ level: env.OPS_LOG_LEVEL });
  const now = () => new Date();
  return createApp({ port: openPort(env), env, log, now, clientAddress, reportError: reporter(env) });
}

/** An instance may be frozen as soon as it has answered, so a report leaves before that. */
function reporter(env: ControlEnv): AppDeps['reportError'] {
  const reports = createErrorReports({
    dsn: env.SENTRY_DSN,
    environment: environmentName(env),
    release: version,
  });
  return reports && (async (thrown, where) => reports.report(thrown, where).then(() => reports.flush()));
}

/** Vercel overwrites this header, whatever the client sent (vercel.com/docs, Request headers). */
const clientAddress = (request: Request): string | undefined =>
  request.headers.get('x-forwarded-for')?.split(',')[0]?.trim();

/** Without a database the app still lives: `health` answers, everything else says what is missing. */
function openPort(env: ControlEnv): OpsPort {
  if (env.DATABASE_URL !== undefined)
    return readExactly(openDatabase({ ...parseConnection(env.DATABASE_URL).config, ...poolConfig })).port;
  const { SUPABASE_URL, SUPABASE_SERVICE_ROLE_KEY } = env;
  if (SUPABASE_URL !== undefined || SUPABASE_SERVICE_ROLE_KEY !== undefined)
    return openSupabase(parseProject(SUPABASE_URL, SUPABASE_SERVICE_ROLE_KEY)).port;
  return createPort(() => {
    throw new OpsError('OPS_001', 'no database is configured', {
      hint: 'Set DATABASE_URL, or SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY.',
    });
  });
}

function answerMisconfigured(thrown: unknown, request: Request): Response {
  const error =
    thrown instanceof OpsError
      ? thrown
      : new OpsError('OPS_018', 'the app could not be built', { cause: thrown });
  const { code, message, hint } = error;
  // One of ours says all there is to know; where it was thrown says nothing.
  const cause = code === 'OPS_018' ? { error: traceless(thrown) } : {};
  pino().error({ event: 'http.misconfigured', code, hint, ...cause }, message);
  const problem = describe(error, new URL(request.url).pathname, crypto.randomUUID());
  const headers = new Headers({ 'Content-Type': 'application/problem+json' });
  closeHeaders(headers, request.url);
  return Response.json(problem, { status: error.status, headers });
}
