/** What the app is given from outside. Nothing below this line reads the environment, the clock or a driver itself. */
import type { Context } from 'hono';
import type { OpsPort } from '../../supabase/client/port.js';
import type { KeyScope } from '../../supabase/client/terms.js';
import type { ControlEnv } from './env.js';

/** The part of a pino logger that the app uses. */
export type Log = Record<
  'info' | 'warn' | 'error',
  (fields: Record<string, unknown>, message?: string) => void
>;

export type AppDeps = {
  port: OpsPort;
  env: ControlEnv;
  log: Log;
  now: () => Date;
  /** Reports an error that nobody expected; `where` are our own words. Never throws. */
  reportError?: ((thrown: unknown, where: string) => Promise<void>) | undefined;
  /** Address that a request came from, as far as whoever mounts the app can tell; `env` is the runtime's own. */
  clientAddress?: (request: Request, env: unknown) => string | undefined;
};

/** Who a request comes from, as its key or session proves it; nothing in a body changes that. */
export type Identity = {
  /** `scheduler` is CRON_SECRET: it beats and does nothing else. */
  scope: KeyScope | 'scheduler';
  /** Signs what the request does: the label of a key, `api-key` for OPS_API_KEY, `dashboard` for a session of it, `cron`. */
  label: string;
  by: 'environment' | 'key' | 'session';
  /** Of the key in the database; null for what rests on the environment. */
  keyId: string | null;
};

export type AppTypes = {
  Variables: {
    requestId: string;
    /** Set by the gates of auth.ts; a route that is open to anyone has none. */
    identity: Identity;
    /** The label of that identity: who signs. */
    actor: string;
  };
};
export type AppContext = Context<AppTypes>;
export type Handler = (c: AppContext) => Response | Promise<Response>;
/** Lets a request through by returning, or throws a `Refusal`. */
export type Gate = (c: AppContext) => void | Promise<void>;
