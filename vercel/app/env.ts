/**
 * The variables of the control plane, parsed once per process. An empty value counts as not set, so a line left
 * blank in a form or a file never becomes an empty secret.
 */
import { z } from 'zod';
import { OpsError } from '../../supabase/client/errors.js';
import { readWebhooks, type WebhookVariables } from './webhooks/variables.js';

/** Shortest operations key: 32 characters hold 128 bits even when written in hex. */
export const minApiKeyLength = 32;
/** Vercel's advice for CRON_SECRET (vercel.com/docs/cron-jobs/manage-cron-jobs). */
export const minSecretLength = 16;

/** What a bearer token may be made of: visible ASCII without the comma that joins repeated headers. */
const tokenCharacters = /^[\x21-\x2b\x2d-\x7e]*$/;
const token = (least: number) =>
  z
    .string()
    .min(least, `needs at least ${least} characters`)
    .regex(tokenCharacters, 'may only hold visible ASCII characters other than the comma')
    .optional();
const secret = z.string().min(minSecretLength, `needs at least ${minSecretLength} characters`).optional();
const positive = (most: number) =>
  z.coerce.number('must be a number').gt(0, 'must be above 0').max(most, `must be at most ${most}`);
const count = (most: number) => positive(most).int('must be a whole number');
const word = z.string().max(100).optional();

export const ControlEnvironment = z.object({
  DATABASE_URL: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'must start with postgresql://')
    .optional(),
  /** Without DATABASE_URL: a Supabase project through its API. */
  SUPABASE_URL: z.url({ protocol: /^https?$/, error: 'must be an http(s) address' }).optional(),
  SUPABASE_SERVICE_ROLE_KEY: token(20),

  OPS_API_KEY: token(minApiKeyLength),
  OPS_API_KEY_PREVIOUS: token(minApiKeyLength),
  CRON_SECRET: token(minSecretLength),
  GITHUB_WEBHOOK_SECRET: secret,
  GITHUB_WEBHOOK_SECRET_PREVIOUS: secret,
  STRIPE_WEBHOOK_SECRET: secret,
  STRIPE_WEBHOOK_SECRET_PREVIOUS: secret,

  /** Bytes of one request body; GitHub's own limit holds for its webhook. */
  OPS_MAX_BODY_BYTES: count(104_857_600).default(1_048_576),
  /** Requests that send events, per sender; one may carry many events. */
  OPS_INGEST_PER_MINUTE: count(1_000_000).default(6_000),
  OPS_EVENT_BATCH_SIZE: count(100_000).default(500),
  OPS_REACTION_BATCH_SIZE: count(100_000).default(50),
  OPS_STALE_STEP_MINUTES: positive(1_440).default(15),
  OPS_LOG_LEVEL: z
    .enum(
      ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
      'must be a level in words, such as info',
    )
    .default('info'),

  /** Where unexpected errors are reported; nowhere without it. */
  SENTRY_DSN: z.url({ protocol: /^https?$/, error: 'must be an http(s) address' }).optional(),

  OPS_ENVIRONMENT: word,
  VERCEL_ENV: word,
  NODE_ENV: word,
});
export type ControlEnv = z.output<typeof ControlEnvironment> & {
  /** The variables of other webhook sources by name, `OPS_WEBHOOK_<SOURCE>_…`; none when it is left out. */
  webhooks?: WebhookVariables;
};
type Variables = Readonly<Record<string, string | undefined>>;

/** Throws `OPS_016` naming every variable that is wrong and what it must be; never a value. */
export function parseControlEnv(variables: Variables): ControlEnv {
  const set = Object.fromEntries(Object.entries(variables).filter(([, value]) => value !== ''));
  const parsed = ControlEnvironment.safeParse(set);
  const webhooks = readWebhooks(set);
  if (parsed.success && webhooks.problems.length === 0)
    return { ...parsed.data, webhooks: webhooks.variables };
  const issues = parsed.error?.issues.map(({ path, message }) => `${path.join('.')} ${message}`) ?? [];
  throw invalid([...issues, ...webhooks.problems]);
}

/** The variables of other webhook sources. Throws `OPS_016` as `parseControlEnv`. */
export function parseWebhooks(variables: Variables): WebhookVariables {
  const { variables: known, problems } = readWebhooks(variables);
  if (problems.length > 0) throw invalid(problems);
  return known;
}

function invalid(problems: string[]): OpsError {
  return new OpsError('OPS_016', `environment invalid: ${problems.join('; ')}`, {
    hint: 'Correct these variables where the deployment gets them, then deploy again.',
    detail: problems,
  });
}

export const environmentName = (env: ControlEnv): string =>
  env.OPS_ENVIRONMENT ?? env.VERCEL_ENV ?? env.NODE_ENV ?? 'development';
