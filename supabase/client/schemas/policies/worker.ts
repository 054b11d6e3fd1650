/** `worker_policy`: how steps are tried, and what executors are granted. */
import { z } from 'zod';
import { Command, openclawThinkingLevels } from './commands.js';
import { Channel, host, secretHost } from './destinations.js';
import {
  minutesPerDay,
  minutesPerWeek,
  minutesPerYear,
  names,
  rate,
  secondsPerDay,
  secondsPerWeek,
  shortestLeaseMinutes,
  spanUpTo,
  text,
  variable,
  whole,
  word,
} from './fields.js';

const price = z.number().min(0).max(1_000_000);

/** How many at once, and how many in a time. */
const running = { max_running: whole(0, 1_000_000).optional(), rate: rate.optional() };

export const WorkerPolicy = z.strictObject({
  /** Attempts in all before the dead letter. */
  max_retries: whole(1, 100).optional(),
  /** At least 3 s: a lease has to outlast the answer that brings it, on a busy machine too. */
  lease_minutes: z.number().min(shortestLeaseMinutes).max(minutesPerDay).optional(),
  stale_minutes: spanUpTo(minutesPerWeek).optional(),
  timeout_seconds: spanUpTo(secondsPerWeek).optional(),
  backoff: z
    .strictObject({
      base_seconds: spanUpTo(secondsPerDay).optional(),
      cap_seconds: spanUpTo(secondsPerWeek).optional(),
    })
    .optional(),
  /** So many dead letters in a row within the window, and the loop pauses that executor or pattern by itself. */
  breaker: z
    .strictObject({
      consecutive: whole(1, 100_000).optional(),
      window_minutes: spanUpTo(minutesPerYear).optional(),
    })
    .optional(),
  /** Filters: missing means any executor, empty means none. */
  allowed_executors: z.array(word).max(1000).optional(),
  blocked_executors: z.array(word).max(1000).optional(),
  executors: z
    .record(
      word,
      z.strictObject({
        ...running,
        timeout_seconds: spanUpTo(secondsPerWeek).optional(),
        /** Declared safe: tried again after a crash, a timeout or an unknown outcome. Goes before the executor's trait. */
        idempotent: z.boolean().optional(),
        /** Bounds per value of a parameter, such as one step per repository. */
        per_key: z.strictObject({ param: text(200), ...running }).optional(),
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
  allowed_secrets: z.record(variable, z.array(secretHost).max(100)).optional(),
  channels: z.record(word, Channel).optional(),
  /** What models cost, by `<provider>/<model>`, in US dollars per million tokens. */
  model_prices: z.record(text(300), z.strictObject({ input: price, output: price })).optional(),
  workspace_root: text(1000).optional(),
  /** Workers run in a sandbox of their own: agents may be told to skip their permission checks. */
  sandboxed: z.boolean().optional(),
});
