/** A whole call: each hop is admitted anew, and what is secret stays with the origin it was meant for. */
import { StepError } from '../contract.js';
import { type Answer, exchange, type Wire } from './exchange.js';
import type { Grant } from './grants.js';
import { admit, parseTarget, type Resolve } from './guard.js';
import { brokenOff } from './outcome.js';

export type CallOptions = {
  grants: readonly Grant[];
  resolve: Resolve;
  signal: AbortSignal;
  timeoutSeconds: number;
  /** Bytes of the answer that are kept; the rest is not read. */
  keepBytes: number;
  /** Whether the call may be made twice: decides what becomes of one that broke off. */
  mayRepeat: boolean;
  /** Headers that another origin never gets, beside the well-known ones. */
  secretHeaders?: ReadonlySet<string>;
  maxRedirects: number;
  /** Statuses that are an answer even if they redirect. */
  expect?: readonly number[];
};
export type Called = { answer: Answer; url: URL; redirects: number };

/** Answers whatever status came. Throws a `StepError` when the call was refused or got no answer. */
export async function call(first: Wire, options: CallOptions): Promise<Called> {
  const timeout = AbortSignal.timeout(Math.ceil(options.timeoutSeconds * 1000));
  const limits = { signal: AbortSignal.any([options.signal, timeout]), keepBytes: options.keepBytes };
  let wire = first;
  for (let redirects = 0; ; redirects++) {
    const answer = await hop(wire, options, limits, redirects > 0);
    const next = redirected(wire, answer, options);
    if (next === undefined) return { answer, url: wire.url, redirects };
    if (redirects >= options.maxRedirects) throw tooMany(first.url, options.maxRedirects);
    wire = next;
  }
}

async function hop(
  wire: Wire,
  { grants, resolve, mayRepeat }: CallOptions,
  limits: { signal: AbortSignal; keepBytes: number },
  sentBefore: boolean,
): Promise<Answer> {
  const addresses = await orAborted(limits.signal, admit(wire.url, grants, resolve)).catch((cause) => {
    throw cause instanceof StepError
      ? cause
      : brokenOff(wire.url.host, { sent: sentBefore, cause }, mayRepeat);
  });
  const exchanged = await exchange(wire, addresses, limits);
  if (exchanged.ok) return exchanged.answer;
  throw brokenOff(wire.url.host, { ...exchanged, sent: sentBefore || exchanged.sent }, mayRepeat);
}

/** A resolver cannot be told to stop, so it is left behind. */
function orAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

const redirects = [301, 302, 303, 307, 308];
/** Never for another origin, whoever set them. */
const wellKnownSecrets = ['authorization', 'cookie', 'proxy-authorization'];

/** Pure: the request that a redirect asks for (Fetch standard, 4.4); undefined when the answer is no redirect. */
function redirected(
  wire: Wire,
  { status, headers }: Pick<Answer, 'status' | 'headers'>,
  { expect = [], secretHeaders = new Set() }: Pick<CallOptions, 'expect' | 'secretHeaders'>,
): Wire | undefined {
  if (!redirects.includes(status) || headers.location === undefined || expect.includes(status))
    return undefined;
  const url = parseTarget(headers.location, wire.url);
  const becomesGet = (status === 303 && wire.method !== 'HEAD') || (status < 303 && wire.method === 'POST');
  const dropped = new Set([
    ...(url.origin === wire.url.origin ? [] : [...wellKnownSecrets, ...secretHeaders]),
    ...(becomesGet ? ['content-type'] : []),
  ]);
  const kept = Object.fromEntries(Object.entries(wire.headers).filter(([name]) => !dropped.has(name)));
  return becomesGet
    ? { method: 'GET', url, headers: kept }
    : { method: wire.method, url, headers: kept, body: wire.body };
}

const tooMany = ({ host }: URL, most: number): StepError =>
  new StepError(`${host} redirects more than ${most} times`, {
    outcome: 'permanent',
    errorClass: 'TooManyRedirects',
  });
