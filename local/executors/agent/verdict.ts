/** What it means for a step that no provider answered. Pure. */
import { StepError } from '../contract.js';
import type { Fault, FaultKind } from './fault.js';

export type Failed = { provider: string; fault: Fault };

/** Kinds that the next attempt may do without, and those that only time heals; the others need a person. */
const retryable: readonly FaultKind[] = ['server', 'timeout', 'connection', 'answer', 'size'];
const waiting: readonly FaultKind[] = ['limited', 'open'];

/** Groups like errors, whoever the provider is. */
const classes: Record<FaultKind, string> = {
  key: 'ModelKey',
  credit: 'ModelCredit',
  limited: 'ModelLimited',
  server: 'ModelServer',
  timeout: 'ModelTimeout',
  connection: 'ModelConnection',
  answer: 'ModelAnswer',
  size: 'ModelSize',
  request: 'ModelRequest',
  open: 'ModelOpen',
  model: 'ModelMissing',
};

const advice: Partial<Record<FaultKind, string>> = {
  key: 'Put a working key where the worker gets its environment, restart it, or run `ops-loop llm reset`.',
  credit: 'Top the account up, then run `ops-loop llm reset` and retry the step.',
  request: 'Correct the model of the role or the params of the step, then retry it.',
  model: "Name a model: in the role, in the step, or as the provider's default in the environment.",
};

/**
 * Retryable when some provider may answer next time; rate limited, with the shortest wait that was named, when all
 * that could are limited or left alone; permanent when only a person can help.
 */
export function noAnswer(failures: readonly Failed[]): StepError {
  const decisive = failures.find(is(retryable)) ?? failures.find(is(waiting)) ?? failures[0];
  const kind = decisive?.fault.kind ?? 'model';
  const said = failures.map(({ provider, fault }) => `${provider} ${fault.message}`).join('; ');
  const outcome = retryable.includes(kind)
    ? 'retryable'
    : waiting.includes(kind)
      ? 'rate_limited'
      : 'permanent';
  const help = outcome === 'permanent' ? advice[kind] : undefined;
  return new StepError(['no model answered: ', said, help === undefined ? '' : `. ${help}`].join(''), {
    outcome,
    errorClass: classes[kind],
    hint: help,
    cause: decisive?.fault,
    ...(outcome === 'rate_limited' && { retryAfterSeconds: shortestWait(failures) }),
  });
}

const is =
  (kinds: readonly FaultKind[]) =>
  ({ fault }: Failed): boolean =>
    kinds.includes(fault.kind);

/** Seconds, rounded up; undefined when nobody named one. */
function shortestWait(failures: readonly Failed[]): number | undefined {
  const waits = failures.flatMap(({ fault }) =>
    is(waiting)({ provider: '', fault }) ? (fault.retryAfterMs ?? []) : [],
  );
  return waits.length === 0 ? undefined : Math.ceil(Math.min(...waits) / 1_000);
}
