/**
 * Bounds on how often, counted in the database so that they hold over all instances. Keys that open nothing are counted
 * by client address, events by the label of their sender.
 *
 * A right key always passes, however many wrong ones came from its address: else a stranger behind the same proxy could
 * lock the scheduler out. Guessing gains nothing by that: a key of ours holds 256 random bits.
 */
import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { fromDatabase } from '../../supabase/client/errors.js';
import type { AppContext, AppDeps } from './deps.js';
import { Refusal } from './problem.js';

/** More wrong keys than any misconfigured caller needs to be noticed. */
export const wrongKeysPerMinute = 30;
const windowSeconds = 60;
const countDeadlineMs = 2_000;
/** The alert counts per hour. */
const refusalWindowSeconds = 3_600;
/** The largest number the column takes: a count, not a bound. */
const uncapped = 2_147_483_647;
/** Addresses that an instance remembers as over their limit. */
const mostRemembered = 10_000;

export type Rates = {
  /** Throws 429 `OPS_019` once too many keys that open nothing came from this client. */
  countWrongKey(c: AppContext): Promise<void>;
  /** Throws 429 `OPS_019` when this sender is over its limit. */
  takeIngest(label: string): Promise<void>;
  /** Counts a delivery that was refused for what it is, for the alert `webhook_failures`. Bounds nothing, never throws. */
  countRefusedDelivery(source: string, refusal: unknown): Promise<void>;
};

type Deps = Pick<AppDeps, 'port' | 'env' | 'log' | 'now' | 'clientAddress'>;

export function createRates(deps: Deps): Rates {
  const { port, env, log, clientAddress } = deps;
  const take = bucketTaker(deps);
  return {
    async countWrongKey(c) {
      const bucket = `auth:${clientDigest(clientAddress?.(c.req.raw, c.env))}`;
      await take(bucket, wrongKeysPerMinute, 'too many wrong keys came from this address').catch((error) => {
        if (error instanceof Refusal) throw error;
        // The request is refused anyway; that it was not counted is for the log.
        log.warn({ event: 'http.wrong_key_not_counted', code: fromDatabase(error).code });
      });
    },
    takeIngest: (label) =>
      take(`ingest:${label}`, env.OPS_INGEST_PER_MINUTE, 'this sender is over its requests per minute'),
    async countRefusedDelivery(source, refusal) {
      const { status } = fromDatabase(refusal);
      if (status < 400 || status >= 500 || status === 429) return;
      await port
        .takeRate(
          { bucket: `webhook:${source}`, limit: uncapped, windowSeconds: refusalWindowSeconds },
          { deadlineMs: countDeadlineMs },
        )
        .catch((error: unknown) => {
          log.warn({ event: 'http.refused_delivery_not_counted', code: fromDatabase(error).code });
        });
    },
  };
}

/** Takes one from a bucket; throws 429 once it holds more than `limit` of the last minute. */
function bucketTaker({ port, now }: Deps) {
  /** Over the limit until then: needs no further question. */
  const over = new Map<string, number>();
  return async function take(bucket: string, limit: number, what: string): Promise<void> {
    const at = now().getTime();
    const until = over.get(bucket) ?? 0;
    if (at < until) throw tooMany(what, Math.ceil((until - at) / 1_000));
    const verdict = await port.takeRate({ bucket, limit, windowSeconds }, { deadlineMs: countDeadlineMs });
    if (verdict.allowed) return void over.delete(bucket);
    if (over.size >= mostRemembered) over.clear();
    over.set(bucket, at + verdict.retry_after_seconds * 1_000);
    throw tooMany(what, verdict.retry_after_seconds);
  };
}

/** An IPv6 client has a whole /64 to itself, so that is what is counted. Addresses are not kept in the clear. */
function clientDigest(address: string | undefined): string {
  const client = address === undefined ? 'unknown' : isIPv6(address) ? networkOf(address) : address;
  return createHash('sha256').update(client).digest('hex').slice(0, 32);
}

/** The first four groups, with `::` written out; a mapped IPv4 address stays as it is. */
function networkOf(address: string): string {
  if (address.includes('.')) return address.slice(address.lastIndexOf(':') + 1);
  const [head = '', tail] = address.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array.from({ length: zeros }, () => '0'), ...right];
  return groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(':');
}

const tooMany = (what: string, seconds: number): Refusal =>
  new Refusal('OPS_019', what, {
    hint: 'Wait as long as Retry-After says, then send the same request again.',
    headers: { 'Retry-After': String(seconds) },
  });
