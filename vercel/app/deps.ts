/** What the app is given from outside. Nothing below this line reads the environment, the clock or a driver itself. */
import type { Context } from 'hono';
import type { OpsPort } from '../../supabase/client/port.js';
import type { ControlEnv } from './env.js';

/** The part of a pino logger that the app uses. */
export type Log = Record<
  'info' | 'warn' | 'error',
  (fields: Record<string, unknown>, message?: string) => void
>;

export type AppDeps = { port: OpsPort; env: ControlEnv; log: Log; now: () => Date };

export type AppTypes = {
  Variables: {
    requestId: string;
    /** Who let the request in: `api` (a key), `cron`, `dashboard` (a session). Set by the gates of auth.ts. */
    actor: string;
  };
};
export type AppContext = Context<AppTypes>;
export type Handler = (c: AppContext) => Response | Promise<Response>;
/** Lets a request through by returning, or throws a `Refusal`. */
export type Gate = (c: AppContext) => void | Promise<void>;
