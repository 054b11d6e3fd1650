/**
 * The command lines of openclaw. Pure. Every value stands behind its option's equals sign, so none can become an option
 * of its own, and there is no place for a message: it goes through a file or stdin.
 */
import type { AgentParams, ExecParams } from './params.js';

type Value = string | number | undefined;

const options = (values: Record<string, Value>): string[] =>
  Object.entries(values).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}=${value}`]));

/** Without one given the run has no deadline of OpenClaw's: the step's own timeout ends it. */
const deadline = (seconds: number | undefined): { timeout: number } => ({ timeout: seconds ?? 0 });

/** `config` and `directory` are absolute paths; the message comes on stdin. */
export function execArguments(params: ExecParams, place: { config: string; directory: string }): string[] {
  const { model, fallbacks = [], thinking, timeout_seconds } = params;
  return [
    'agent',
    'exec',
    '--json',
    ...options({ 'message-file': '-', config: place.config, cwd: place.directory }),
    // In code mode the model's own code runs in OpenClaw's process, whatever tools were granted (docs/tools/code-mode).
    ...options({ 'code-mode': 'direct', model }),
    ...fallbacks.map((fallback) => `--fallback=${fallback}`),
    ...options({ thinking, ...deadline(timeout_seconds) }),
  ];
}

/** `messageFile` is an absolute path. */
export function agentArguments(params: AgentParams, messageFile: string): string[] {
  const { timeout_seconds } = params;
  return [
    'agent',
    '--json',
    ...(params.local === true ? ['--local'] : []),
    ...(params.deliver === true ? ['--deliver'] : []),
    ...options({
      'message-file': messageFile,
      agent: params.agent,
      'session-key': params.session_key,
      'session-id': params.session_id,
      to: params.to,
      channel: params.channel,
      model: params.model,
      thinking: params.thinking,
      verbose: params.verbose,
      'reply-channel': params.reply_channel,
      'reply-to': params.reply_to,
      'reply-account': params.reply_account,
      ...deadline(timeout_seconds),
    }),
  ];
}
