/**
 * What operators decide: one zod schema per key of `ops_policy`. The database checks every write by the JSON Schemas
 * generated from these (`npm run generate`), so they use only what JSON Schema can say: no refinements, transforms or
 * defaults. Objects are strict, so a typo is refused with the names that are known. A description completes
 * "Write …" in the message to whoever wrote something else. What only the database can know (does the executor
 * exist?) is checked in SQL, in 0003_ops_policy.sql.
 */
import { z } from 'zod';
import { alertNames, type PolicyKey, switchModes } from '../terms.js';
import { document, identifier, minutesPerYear, ReactionMatrix, risk, text, whole, word } from './matrix.js';

/** The database takes every name that it can tell the time by; this only keeps the field short. */
const timeZone = text(60).describe('a time zone such as "Europe/Berlin"');
const eventName = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)*$/)
  .describe('an event type such as "report:due"');

export const AutoApprove = z.strictObject({
  enabled: z.boolean(),
  /** Grants: missing or empty means none. */
  allowed_step_kinds: z.array(word).max(1000).optional(),
  max_risk_level: risk.optional(),
  /** Filters: missing means any source of proposals, empty means none. */
  allowed_sources: z.array(text(200)).max(100).optional(),
  daily_limit: whole(0, 1_000_000_000).optional(),
  /** Raises the risk of a kind or executor. */
  kind_risk: z.record(word, risk).optional(),
});

const cap = whole(0, 1_000_000_000);
/** One number for each of them, or a number by name; both are per day. */
const capEach = z.union([cap, z.record(text(200), cap)]);
export const ProposalCaps = z.strictObject({
  daily_limit: cap.optional(),
  hourly_limit: cap.optional(),
  per_source: capEach.optional(),
  per_pattern: capEach.optional(),
  max_pending: cap.optional(),
  on_exceed: z.enum(['wait', 'reject']).optional(),
  time_zone: timeZone.optional(),
});

const names = z.array(text(500)).max(1000);
const hostName = String.raw`(\*\.)?([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])`;
/** Its groups: scheme, wildcard, host, port with its colon, ranges. local/executors/http/grants.ts says what they mean. */
export const hostEntry = new RegExp(`^(?:(https?)://)?${hostName}(:[0-9]{1,5})?(?:@([0-9A-Fa-f:.,/]+))?$`);
const host = z
  .string()
  .max(500)
  .regex(hostEntry)
  .describe(
    'a host such as "api.github.com", "*.example.com", "http://127.0.0.1:8080" or "wiki.internal@10.0.0.0/8"',
  );
const variable = z
  .string()
  .max(200)
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/)
  .describe('the name of an environment variable such as "SLACK_URL"');

/** Where notify sends to. Which fields a type needs is checked when it is used; secrets stand in the environment. */
export const Channel = z.strictObject({
  type: z.enum(['slack', 'discord', 'telegram', 'webhook']),
  /** Variable with the address, where the address is the secret. */
  url_secret: variable.optional(),
  /** The address of a webhook, or of a Bot API server of one's own. */
  url: text(2000).optional(),
  token_secret: variable.optional(),
  signing_secret: variable.optional(),
  /** A number or "@name", as text. */
  chat_id: text(200).optional(),
});
export type Channel = z.infer<typeof Channel>;

/** Words of `openclaw agent --thinking` (OpenClaw, docs/cli/agent.md); which of them a model has is its provider's. */
export const openclawThinkingLevels = [
  'off',
  'minimal',
  'low',
  'medium',
  'high',
  'xhigh',
  'adaptive',
  'max',
  'ultra',
] as const;

/** A value that a step gives for one argument of a command. local/executors/minion/values.ts says what is checked. */
const CommandValue = z.strictObject({
  value: z.enum(['word', 'integer', 'path', 'new_path', 'pattern', 'text']),
  /** `word`: one of these. An option is never a value, so none begins with a dash. */
  words: z
    .array(z.string().max(200).regex(/^[^-]/).describe('a word that does not begin with "-"'))
    .max(100)
    .optional(),
  /** `integer`. */
  min: whole(-1_000_000_000, 1_000_000_000).optional(),
  max: whole(-1_000_000_000, 1_000_000_000).optional(),
  /** `pattern`: a regular expression over the whole value. */
  pattern: text(500).optional(),
  /** `pattern` and `text`: characters. */
  max_length: whole(1, 100_000).optional(),
  /** Stands before the value in the same argument, such as `--title=`: one that begins with a dash ends with `=`. */
  prefix: z
    .string()
    .max(200)
    .regex(/^([^-].*|-.*=)$/)
    .describe('a text such as "--title=" or "file:"')
    .optional(),
  /** May be left out when no value is left for it. */
  optional: z.boolean().optional(),
  /** Up to so many values, each an argument of its own. */
  repeat: whole(1, 1000).optional(),
});
export type CommandValue = z.output<typeof CommandValue>;

/** What a name in `allowed_commands` stands for. */
export const Command = z.strictObject({
  program: text(1000).optional(),
  /** A text is always there as it is; an object takes a value of the step. */
  arguments: z
    .array(z.union([text(4000), CommandValue]))
    .max(100)
    .optional(),
  /** Inside of the workspace. */
  cwd: text(1000).optional(),
  /** Variables of the worker that are handed on. */
  env: z.array(variable).max(100).optional(),
  timeout_seconds: z.number().positive().max(604_800).optional(),
  retry_exit_codes: z.array(whole(1, 255)).max(50).optional(),
  interpreter_consent: z.boolean().optional(),
});
export type Command = z.output<typeof Command>;

export const WorkerPolicy = z.strictObject({
  /** Attempts in all before the dead letter. */
  max_retries: whole(1, 100).optional(),
  lease_minutes: z.number().positive().max(1440).optional(),
  stale_minutes: z.number().positive().max(10_080).optional(),
  timeout_seconds: z.number().positive().max(604_800).optional(),
  backoff: z
    .strictObject({
      base_seconds: z.number().positive().max(86_400).optional(),
      cap_seconds: z.number().positive().max(604_800).optional(),
    })
    .optional(),
  /** So many dead letters in a row within the window, and the loop pauses that executor or pattern by itself. */
  breaker: z
    .strictObject({
      consecutive: whole(1, 100_000).optional(),
      window_minutes: z.number().positive().max(minutesPerYear).optional(),
    })
    .optional(),
  /** Filters: missing means any executor, empty means none. */
  allowed_executors: z.array(word).max(1000).optional(),
  blocked_executors: z.array(word).max(1000).optional(),
  executors: z
    .record(
      word,
      z.strictObject({
        max_running: whole(0, 1_000_000).optional(),
        rate: z
          .strictObject({
            count: whole(0, 1_000_000),
            per_minutes: z.number().positive().max(minutesPerYear),
          })
          .optional(),
        timeout_seconds: z.number().positive().max(604_800).optional(),
        /** Declared safe: tried again after a crash, a timeout or an unknown outcome. Goes before the executor's trait. */
        idempotent: z.boolean().optional(),
        /** Bounds per value of a parameter, such as one step per repository. */
        per_key: z
          .strictObject({
            param: text(200),
            max_running: whole(0, 1_000_000).optional(),
            rate: z
              .strictObject({
                count: whole(0, 1_000_000),
                per_minutes: z.number().positive().max(minutesPerYear),
              })
              .optional(),
          })
          .optional(),
      }),
    )
    .optional(),
  // Grants: missing or empty means none.
  allowed_openclaw_subcommands: names.optional(),
  allowed_openclaw_agents: names.optional(),
  allowed_openclaw_models: names.optional(),
  allowed_openclaw_recipients: names.optional(),
  /** Variables of the worker that openclaw is given. */
  openclaw_environment: z.array(variable).max(1000).optional(),
  /** Filters: missing means every level, empty means none. */
  allowed_openclaw_thinking: z.array(z.enum(openclawThinkingLevels)).max(20).optional(),
  /** As they are typed: `run`, `run --force`, `doctor`, `doctor --fix`, … */
  allowed_wreckit_subcommands: names.optional(),
  /** Outside of the workspace, by absolute path. */
  allowed_repositories: z.array(text(1000)).max(1000).optional(),
  /** Variables of the worker that wreckit and its agents are given. */
  wreckit_environment: z.array(variable).max(100).optional(),
  allowed_tools: names.optional(),
  allowed_commands: names.optional(),
  commands: z.record(word, Command).optional(),
  allowed_hosts: z.array(host).max(1000).optional(),
  /** By variable: the hosts that http may send its value to. */
  allowed_secrets: z
    .record(
      variable,
      z
        .array(
          z
            .string()
            .max(500)
            .regex(new RegExp(`^${hostName}$`))
            .describe('a host such as "api.github.com" or "*.example.com"'),
        )
        .max(100),
    )
    .optional(),
  channels: z.record(word, Channel).optional(),
  /** What models cost, by `<provider>/<model>`, in US dollars per million tokens. */
  model_prices: z
    .record(
      text(300),
      z.strictObject({ input: z.number().min(0).max(1_000_000), output: z.number().min(0).max(1_000_000) }),
    )
    .optional(),
  workspace_root: text(1000).optional(),
  /** Workers run in a sandbox of their own: agents may be told to skip their permission checks. */
  sandboxed: z.boolean().optional(),
});

export const AgentRole = z.strictObject({
  instructions: z.string().max(50_000).optional(),
  model: text(200).optional(),
  /** Its name at each provider, where that differs from `model`. */
  models: z.record(word, text(200)).optional(),
  /** Filters and orders: missing means the worker's providers in their order, empty means none. */
  providers: z.array(word).max(20).optional(),
  /** Grants: models that a step may name itself; missing or empty means none. */
  allowed_models: z.array(text(200)).max(100).optional(),
  /** Grants: missing or empty means none. */
  tools: names.optional(),
  temperature: z.number().min(0).max(2).optional(),
  max_tokens: whole(1, 10_000_000).optional(),
  thinking: z.enum(['off', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max', 'adaptive']).optional(),
});
export const AgentRoles = z.strictObject({
  minion: AgentRole.optional(),
  sage: AgentRole.optional(),
  scout: AgentRole.optional(),
  quill: AgentRole.optional(),
  xalt: AgentRole.optional(),
  observer: AgentRole.optional(),
});

// The rest --------------------------------------------------------------------------------------------------------

const amount = z.number().min(0).max(1e12);
const Budget = z.strictObject({
  usd_per_day: amount.optional(),
  usd_per_month: amount.optional(),
  tokens_per_day: amount.optional(),
  tokens_per_month: amount.optional(),
  runs_per_day: amount.optional(),
  runs_per_month: amount.optional(),
});
export const Budgets = z.strictObject({
  time_zone: timeZone.optional(),
  global: Budget.optional(),
  role: z.record(word, Budget).optional(),
  executor: z.record(word, Budget).optional(),
  pattern: z.record(identifier, Budget).optional(),
  /** By executor or role: set aside before the start, settled after it. */
  reserve: z.record(word, z.strictObject({ usd: amount.optional(), tokens: amount.optional() })).optional(),
});

const Voting = z.strictObject({
  enabled: z.boolean().optional(),
  min_votes: whole(1, 1000).optional(),
  /** Share of yes among the votes cast that approves. */
  approve_share: z.number().min(0).max(1).optional(),
  reject_share: z.number().min(0).max(1).optional(),
});
export const Approvals = z.strictObject({
  /** After this a waiting proposal gets the default action; missing means it waits for ever. */
  expires_minutes: z.number().positive().max(minutesPerYear).optional(),
  default_action: z.enum(['expire', 'reject']).optional(),
  approvers: z.array(text(200)).max(1000).optional(),
  quorum: whole(1, 100).optional(),
  /** Filters: missing means anybody, empty means nobody. Labels of keys, and roles of agents. */
  voters: z.array(text(200)).max(1000).optional(),
  voting: z
    .strictObject({
      low: Voting.optional(),
      medium: Voting.optional(),
      high: Voting.optional(),
      critical: Voting.optional(),
    })
    .optional(),
  /** Voters whose no is final. */
  veto: z.array(text(200)).max(100).optional(),
});

/** Minute, hour, day, month, weekday: numbers, ranges, lists and steps; names of months and weekdays in capitals. */
const cronFields = [
  '[0-5]?[0-9]',
  '([01]?[0-9]|2[0-3])',
  '(0?[1-9]|[12][0-9]|3[01])',
  '(0?[1-9]|1[0-2]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)',
  '([0-7]|SUN|MON|TUE|WED|THU|FRI|SAT)',
];
const cronField = (value: string): string => {
  const item = `([*]|${value}(-${value})?)(/[1-9][0-9]?)?`;
  return `${item}(,${item})*`;
};

export const Schedules = z.strictObject({
  schedules: z
    .array(
      z.strictObject({
        id: identifier,
        enabled: z.boolean().optional(),
        cron: z
          .string()
          .max(200)
          .regex(new RegExp(`^${cronFields.map(cronField).join(' ')}$`))
          .describe('five cron fields such as "0 9 * * 1"'),
        time_zone: timeZone.optional(),
        missed: z.enum(['skip', 'one', 'all']).optional(),
        /** Slots older than this are let go whatever `missed` says; a day by default. */
        look_back_minutes: whole(1, minutesPerYear).optional(),
        event: z.strictObject({ type: eventName, data: document.optional() }),
      }),
    )
    .max(1000),
});

export const Alerts = z.strictObject({
  enabled: z.boolean().optional(),
  /** What rates are measured over; an hour by default. */
  window_minutes: z.number().positive().max(1_440).optional(),
  /** A rate over fewer says nothing; 20 by default. */
  min_samples: whole(1, 1_000_000).optional(),
  /** Between two scheduled heartbeats; 5 by default, as in vercel.json. */
  heartbeat_minutes: z.number().positive().max(10_080).optional(),
  /** By name of `ops_alert_rules()`, which has the defaults. */
  rules: z
    .partialRecord(
      z.enum(alertNames),
      z.strictObject({
        enabled: z.boolean().optional(),
        warning: z.number().optional(),
        critical: z.number().optional(),
      }),
    )
    .optional(),
});

const days = z.number().positive().max(36_600);
export const Retention = z.strictObject({
  /** Days that finished rows stay; 90 by default. */
  days: days.optional(),
  events_days: days.optional(),
  missions_days: days.optional(),
  runs_days: days.optional(),
  dead_letters_days: days.optional(),
  heartbeats_days: days.optional(),
});

export const LoopLimits = z.strictObject({
  /** Missions between a root event and the latest; 8 by default. */
  max_depth: whole(0, 1000).optional(),
  /** Reactions that one root event may lead to, beyond its own first ones; 100 by default. */
  max_fan_out: whole(0, 1_000_000).optional(),
  /** Times one pattern may stand in one chain; 3 by default. */
  max_repeats: whole(0, 1000).optional(),
});

const scope = z
  .string()
  .max(200)
  .regex(
    /^(all|heartbeat|reactions|auto_approve|dispatch|(pattern|executor|role):[A-Za-z0-9_.-]+|mission:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/,
  )
  .describe(
    'all, heartbeat, reactions, auto_approve, dispatch, pattern:<id>, executor:<name>, role:<name> or mission:<uuid>',
  );
export const Switches = z.strictObject({
  scopes: z
    .record(
      scope,
      z.strictObject({
        mode: z.enum(switchModes),
        reason: z.string().max(1000).optional(),
        since: z.string().max(40).optional(),
      }),
    )
    .optional(),
});

/** The schema of each key of `ops_policy`. */
export const policies = {
  reaction_matrix: ReactionMatrix,
  auto_approve: AutoApprove,
  proposal_caps: ProposalCaps,
  worker_policy: WorkerPolicy,
  agent_roles: AgentRoles,
  budgets: Budgets,
  approvals: Approvals,
  schedules: Schedules,
  alerts: Alerts,
  retention: Retention,
  loop_limits: LoopLimits,
  switches: Switches,
} satisfies Record<PolicyKey, z.ZodType>;

export type Policies = { [K in PolicyKey]: z.infer<(typeof policies)[K]> };
