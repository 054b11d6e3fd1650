import type { OpsPort } from '../../supabase/client/port.js';
import type { Answer, Item } from './completer.js';
import type { Written } from './outcome.js';

/** Sends outcomes of one kind in one call. */
export type Send = (kind: Written['kind'], items: Item[]) => Promise<Answer[]>;

export type WriteBackPort = Pick<OpsPort, 'completeSteps' | 'failSteps' | 'releaseSteps'>;

export function sendOver(port: WriteBackPort, worker: string): Send {
  return (kind, items) => {
    if (kind === 'complete') return port.completeSteps({ worker, results: items.flatMap(asResult) });
    if (kind === 'fail') return port.failSteps({ worker, failures: items.flatMap(asFailure) });
    return port.releaseSteps({ worker, leases: items.map(asLease) });
  };
}

const asLease = ({ attempt: { step } }: Item) => ({ step_id: step.id, lease_epoch: step.lease_epoch });

function asResult(item: Item) {
  const { outcome, meta } = item;
  if (outcome.kind !== 'complete') return [];
  const events = outcome.events.length > 0 && { events: outcome.events };
  return [{ ...asLease(item), result: outcome.result, ...events, ...(meta && { meta }) }];
}

function asFailure(item: Item) {
  const { outcome, meta } = item;
  return outcome.kind === 'fail' ? [{ ...asLease(item), ...outcome.failure, ...(meta && { meta }) }] : [];
}
