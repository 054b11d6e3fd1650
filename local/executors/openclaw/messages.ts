/** What OpenClaw's error texts say about trying again. Pure. There are no codes for it, so these are its own sentences. */
import { StepError } from '../contract.js';

type Kind = {
  says: RegExp;
  outcome: 'permanent' | 'rate_limited' | 'retryable';
  errorClass: string;
  hint?: string;
};

/** Seen with 2026.9.6; the first that fits counts. */
const known: readonly Kind[] = [
  {
    says: /ECONNREFUSED|Gateway (is )?not (reachable|running)/i,
    outcome: 'retryable',
    errorClass: 'GatewayAway',
    hint: 'Start the Gateway (`openclaw gateway run`).',
  },
  {
    says: /does not recognize|unknown (option|agent|model)|invalid thinking level|--config file|pass (at least|exactly) one/i,
    outcome: 'permanent',
    errorClass: 'Refused',
  },
  {
    says: /unauthorized|token mismatch|pairing required|authentication failed|HTTP 40[13]|no API key|re-authenticate/i,
    outcome: 'permanent',
    errorClass: 'Login',
    hint: 'Sign OpenClaw in, or grant it the variable with the key in openclaw_environment of worker_policy.',
  },
  { says: /rate.?limit|HTTP 429|too many requests/i, outcome: 'rate_limited', errorClass: 'RateLimited' },
  { says: /rejected the request|HTTP 4\d\d/i, outcome: 'permanent', errorClass: 'ModelRequest' },
];

const maxChars = 1_000;

function build(message: string, { outcome, errorClass, hint }: Omit<Kind, 'says'>): StepError {
  const text = `openclaw failed: ${message.slice(0, maxChars)}`;
  return new StepError(text, { outcome, errorClass, ...(hint !== undefined && { hint }) });
}

/** An error of a run that cannot have done anything: retryable unless its text says otherwise. */
export function ofMessage(message: string): StepError {
  const kind = known.find(({ says }) => says.test(message));
  return build(message, kind ?? { outcome: 'retryable', errorClass: 'AgentFailed' });
}

/** An error of the command line itself; undefined when its text does not say that nothing was sent. */
export function refusalOf(message: string, otherwise: 'permanent'): StepError;
export function refusalOf(message: string, otherwise: undefined): StepError | undefined;
export function refusalOf(message: string, otherwise: 'permanent' | undefined): StepError | undefined {
  const kind = known.slice(0, 3).find(({ says }) => says.test(message));
  if (kind !== undefined) return build(message, kind);
  return otherwise && build(message, { outcome: otherwise, errorClass: 'Refused' });
}
