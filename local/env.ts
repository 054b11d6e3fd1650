/**
 * The environment of CLI, worker and local server: one schema, read once per process. Settings come from real
 * variables, then `.env` in the directory the command was called in, then `.env` in the project's root; the first
 * that has a name wins. An empty value counts as not set.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseEnv } from 'node:util';
import { z } from 'zod';
import { OpsError } from '../supabase/client/errors.js';

/** The directory that holds package.json. */
export const projectRoot = dirname(dirname(fileURLToPath(import.meta.url)));

const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

const text = z.string();
const secret = (least: number) => z.string().min(least, `needs at least ${least} characters`);
/** What a bearer token may be made of: visible ASCII without the comma that joins repeated headers. */
const token = (least: number) =>
  secret(least).regex(
    /^[\x21-\x2b\x2d-\x7e]*$/,
    'may only hold visible ASCII characters other than the comma',
  );
const whole = (least: number, most: number) => {
  const message = `must be a whole number from ${least} to ${most}`;
  return z
    .string()
    .regex(/^\d+$/, message)
    .transform(Number)
    .pipe(z.number().min(least, message).max(most, message));
};
const atLeast = (least: number, most: number) => {
  const message = `must be a number of at least ${least} and up to ${most}`;
  return positive(most).pipe(z.number().min(least, message));
};
const positive = (most: number) => {
  const message = `must be a number above 0 and up to ${most}`;
  return z
    .string()
    .regex(/^\d+(\.\d+)?$/, message)
    .transform(Number)
    .pipe(z.number().gt(0, message).max(most, message));
};
const yesWords = ['1', 'true', 'yes', 'on'];
const noWords = ['0', 'false', 'no', 'off'];
const yesOrNo = z
  .string()
  .toLowerCase()
  .refine((word) => yesWords.includes(word) || noWords.includes(word), 'must be true or false')
  .transform((word) => yesWords.includes(word));
const absolutePath = text.refine(isAbsolute, 'must be an absolute path');
const webAddress = z.url({ protocol: /^https?$/, error: 'must be an http(s) address' });
const modelName = text.max(200);
/** Names of local/executors/agent/providers.ts, in the order they are asked. */
const providerList = text.regex(
  /^(together|openai|openrouter|ollama|openclaw|custom)( *, *(together|openai|openrouter|ollama|openclaw|custom))*$/,
  'must list some of together, openai, openrouter, ollama, openclaw, custom, separated by commas',
);
const pricePair = text.regex(
  /^\d{1,6}(\.\d{1,9})?\/\d{1,6}(\.\d{1,9})?$/,
  'must be the prices of input and output, such as 0.15/0.60',
);
/** As the OpenTelemetry specification writes headers: name=value pairs, percent-encoded, with commas between. */
const headerList = text.regex(
  /^[^=,\s]+=([^,%]|%[0-9A-Fa-f]{2})*( *, *[^=,\s]+=([^,%]|%[0-9A-Fa-f]{2})*)*$/,
  'must be name=value pairs with commas between them',
);
/** Node's timers end at 2^31 ms; a day is the longest anyone needs. */
const minutesPerDay = 1440;

/** Every variable that code reads. `.env.example` lists the same ones with the same defaults. */
export const Environment = z.object({
  DATABASE_URL: text.regex(/^postgres(ql)?:\/\//, 'must start with postgresql://').optional(),
  SUPABASE_URL: webAddress.optional(),
  SUPABASE_SERVICE_ROLE_KEY: token(20).optional(),
  OPS_DATA_DIR: text.default('.ops-loop'),

  OPS_API_KEY: token(32).optional(),
  OPS_API_KEY_PREVIOUS: token(32).optional(),
  CRON_SECRET: token(16).optional(),
  GITHUB_WEBHOOK_SECRET: secret(16).optional(),
  GITHUB_WEBHOOK_SECRET_PREVIOUS: secret(16).optional(),
  STRIPE_WEBHOOK_SECRET: secret(16).optional(),
  STRIPE_WEBHOOK_SECRET_PREVIOUS: secret(16).optional(),

  OPS_HOST: text.default('127.0.0.1'),
  OPS_PORT: whole(0, 65_535).default(8787),
  OPS_PUBLIC_URL: webAddress.optional(),
  OPS_MAX_BODY_BYTES: whole(1, 104_857_600).default(1_048_576),
  OPS_INGEST_PER_MINUTE: whole(1, 1_000_000).default(6_000),

  OPS_HEARTBEAT_CRON: text.default('* * * * *'),
  OPS_EVENT_BATCH_SIZE: whole(1, 100_000).default(500),
  OPS_REACTION_BATCH_SIZE: whole(1, 100_000).default(50),
  OPS_STALE_STEP_MINUTES: positive(minutesPerDay).default(15),

  OPS_WORKER_NAME: text.regex(/^\S{1,200}$/, 'must be one word of at most 200 characters').optional(),
  OPS_WORKER_CONCURRENCY: whole(1, 10_000).default(100),
  OPS_EXECUTORS: text.optional(),
  OPS_REACTIVE: yesOrNo.optional(),
  OPS_WRECKIT_BIN: text.optional(),
  /** As in `worker_policy`. */
  OPS_STEP_LEASE_MINUTES: atLeast(0.05, minutesPerDay).default(1),
  OPS_SHUTDOWN_GRACE_SECONDS: positive(86_400).default(20),

  OPS_LLM_PROVIDERS: providerList.optional(),
  OPS_LLM_TIMEOUT_SECONDS: positive(290).default(120),
  TOGETHER_API_KEY: text.optional(),
  TOGETHER_BASE_URL: webAddress.optional(),
  TOGETHER_MODEL: modelName.optional(),
  TOGETHER_USD_PER_MILLION: pricePair.optional(),
  OPENAI_API_KEY: text.optional(),
  OPENAI_BASE_URL: webAddress.optional(),
  OPENAI_MODEL: modelName.optional(),
  OPENAI_USD_PER_MILLION: pricePair.optional(),
  OPENROUTER_API_KEY: text.optional(),
  OPENROUTER_BASE_URL: webAddress.optional(),
  OPENROUTER_MODEL: modelName.optional(),
  OPENROUTER_USD_PER_MILLION: pricePair.optional(),
  OLLAMA_API_KEY: text.optional(),
  OLLAMA_BASE_URL: webAddress.optional(),
  OLLAMA_MODEL: modelName.optional(),
  OLLAMA_USD_PER_MILLION: pricePair.optional(),
  OPENCLAW_GATEWAY_TOKEN: text.optional(),
  OPENCLAW_GATEWAY_URL: webAddress.optional(),
  OPENCLAW_MODEL: modelName.optional(),
  OPENCLAW_USD_PER_MILLION: pricePair.optional(),
  OPS_LLM_CUSTOM_API_KEY: text.optional(),
  OPS_LLM_CUSTOM_BASE_URL: webAddress.optional(),
  OPS_LLM_CUSTOM_MODEL: modelName.optional(),
  OPS_LLM_CUSTOM_USD_PER_MILLION: pricePair.optional(),

  OPS_OPENCLAW_BIN: text.default('openclaw'),
  OPS_OPENCLAW_PATH: text.optional(),
  OPS_OPENCLAW_CONFIG: absolutePath.optional(),
  OPS_OPENCLAW_STATE_DIR: absolutePath.optional(),

  OTEL_EXPORTER_OTLP_ENDPOINT: webAddress.optional(),
  OTEL_EXPORTER_OTLP_HEADERS: headerList.optional(),
  SENTRY_DSN: webAddress.optional(),

  OPS_ENVIRONMENT: text.max(100).optional(),
  OPS_LOG_LEVEL: z.enum(logLevels, { error: `must be one of ${logLevels.join(', ')}` }).default('info'),
});
export type Environment = z.output<typeof Environment>;

export type EnvironmentPlace = {
  /** Where the command was called. */
  directory: string;
  root: string;
  variables: NodeJS.ProcessEnv;
};

/**
 * npm runs scripts in the project's root and says in INIT_CWD where it was called. Elsewhere INIT_CWD is some outer
 * npm's, so the working directory counts.
 */
export function callingDirectory(variables: NodeJS.ProcessEnv = process.env, cwd = process.cwd()): string {
  return variables.INIT_CWD !== undefined && resolve(cwd) === projectRoot ? variables.INIT_CWD : cwd;
}

/** Reads and checks the environment. Throws `OPS_016` naming every variable that is wrong, and no value. */
export function readEnvironment(place: Partial<EnvironmentPlace> = {}): Environment {
  const variables = place.variables ?? process.env;
  const parsed = Environment.safeParse(collectVariables({ ...place, variables }));
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`);
  throw new OpsError('OPS_016', `environment invalid: ${problems.join('; ')}`, {
    hint: 'Correct these variables, or the .env file they come from; .env.example describes each of them.',
    detail: problems,
  });
}

/** The variables of our schema that are set, from real ones and both `.env` files. */
export function collectVariables(place: Partial<EnvironmentPlace> = {}): Record<string, string> {
  const all = allVariables(place);
  const found = Object.keys(Environment.shape).map((name) => [name, all[name] ?? ''] as const);
  return Object.fromEntries(found.filter(([, value]) => value !== ''));
}

/** Those that begin so, which no schema can list by name. */
export const variablesNamed = (prefix: string): NodeJS.Dict<string> =>
  Object.fromEntries(Object.entries(allVariables()).filter(([name]) => name.startsWith(prefix)));

/** Whatever is set, real variables over the `.env` files. */
function allVariables(place: Partial<EnvironmentPlace> = {}): NodeJS.Dict<string> {
  const variables = place.variables ?? process.env;
  const directory = place.directory ?? callingDirectory(variables);
  return { ...readDotEnv(place.root ?? projectRoot), ...readDotEnv(directory), ...variables };
}

function readDotEnv(directory: string): NodeJS.Dict<string> {
  const file = join(directory, '.env');
  return existsSync(file) ? parseEnv(readFileSync(file, 'utf8')) : {};
}

/** Reads single variables for executors: those of our schema as they were parsed, any other from where those come from. */
export const variableOf =
  (env: Environment, variables: NodeJS.Dict<string> = allVariables()) =>
  (name: string): string | undefined => {
    const own = Object.entries(env).find(([known]) => known === name)?.[1];
    return own === undefined ? variables[name] : String(own);
  };
