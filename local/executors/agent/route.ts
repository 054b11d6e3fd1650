/** Asks one provider after the other until one answers. */
import type { Logger } from 'pino';
import { StepError } from '../contract.js';
import { type Answer, callProvider, type Question } from './call.js';
import { Fault } from './fault.js';
import type { Health } from './health.js';
import type { Called } from './meter.js';
import type { Price } from './prices.js';
import type { Provider } from './providers.js';
import { type Failed, noAnswer } from './verdict.js';

/** A provider with the model it would be asked for. */
export type Candidate = { provider: Provider; model: string | undefined; price: Price | undefined };
export type Answered = Answer & { provider: string; model: string; latencyMs: number };

export type RouteDeps = {
  health: Health;
  secret: (name: string) => string | undefined;
  signal: AbortSignal;
  timeoutMs: number;
  log: Pick<Logger, 'warn'>;
  onCall: (called: Called) => void;
  now: () => number;
};

/**
 * The first answer, in the order of the candidates. A provider whose breaker is open or that holds us off is passed
 * over. Throws `StepError` when nobody answered (see verdict.ts), and the signal's reason once that is aborted.
 */
export async function askInOrder(
  candidates: readonly Candidate[],
  question: Question,
  deps: RouteDeps,
): Promise<Answered> {
  if (candidates.length === 0) throw nobodyToAsk();
  const failures: Failed[] = [];
  for (const candidate of candidates) {
    try {
      return await askOne(candidate, question, deps);
    } catch (error) {
      deps.signal.throwIfAborted();
      if (!(error instanceof Fault)) throw error;
      failures.push({ provider: candidate.provider.name, fault: error });
      deps.log.warn({
        event: 'model.failed',
        provider: candidate.provider.name,
        kind: error.kind,
        status: error.status,
      });
    }
  }
  throw noAnswer(failures);
}

async function askOne(
  { provider, model, price }: Candidate,
  question: Question,
  { health, secret, signal, timeoutMs, onCall, now }: RouteDeps,
): Promise<Answered> {
  if (model === undefined) throw new Fault('model', 'has no model named for it');
  return health.guard(provider.name, model, async () => {
    const start = now();
    const called = (): Called => ({ provider: provider.name, model, price, latencyMs: now() - start });
    try {
      const answer = await callProvider(provider, model, question, {
        key: secret(provider.keyName),
        signal,
        timeoutMs,
      });
      onCall({ ...called(), usage: answer.usage });
      return { ...answer, provider: provider.name, model, latencyMs: now() - start };
    } catch (error) {
      onCall({ ...called(), error });
      throw error;
    }
  });
}

const nobodyToAsk = (): StepError =>
  new StepError(
    'there is no model provider to ask; set OPS_LLM_PROVIDERS, or correct the providers of the role',
    {
      outcome: 'permanent',
      errorClass: 'NoProvider',
    },
  );
