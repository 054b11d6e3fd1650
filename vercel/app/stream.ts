/**
 * `GET /api/ops/stream`: what changes, as server-sent events (HTML Living Standard, 9.2): `event`, `mission`,
 * `proposal`, each with the row as it is now, and `gap` when some could not be told. The connection ends by itself; a
 * browser comes again and names the last id it has seen. What came around a reconnection may come twice.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { z } from 'zod';
import type { AppContext, AppDeps } from './deps.js';
import { described, type Endpoint } from './endpoint.js';
import { createFeed, type Feed, type News } from './feed.js';
import { Refusal } from './problem.js';

/** Below the 60 s that the platform lets the function run. */
const connectionMs = 50_000;
const pollMs = 2_000;
/** Proxies close connections on which nothing is said; 15 s is what the standard's own example uses. */
const quietMs = 15_000;
/** How far back a reconnection is caught up with. */
const catchUpMs = 600_000;
/** Each costs a statement in 2 s. */
const mostStreams = 50;

const spec = {
  summary: 'What changes, as server-sent events; `Last-Event-ID` goes on where it ended',
  answers: { 200: { about: 'Ends after 50 s; connect again.', type: 'text/event-stream' } },
};
const headers = { 'Content-Type': 'text/event-stream; charset=utf-8', 'X-Accel-Buffering': 'no' };

export function streamChanges(deps: AppDeps): Endpoint {
  let open = 0;
  return described(spec, async function streamChanges(c) {
    if (c.req.method === 'HEAD') return c.body(null, 200, headers);
    if (open >= mostStreams) throw crowded();
    const stopped = new AbortController();
    // Counted before anything is waited for: many that come at the same moment are not let in together.
    open++;
    stopped.signal.addEventListener('abort', () => open--, { once: true });
    const { feed, missed } = feedOf(c, deps);
    // Before the answer begins, a database that is away is still a 503.
    const first = await feed.next().catch((error: unknown) => {
      stopped.abort();
      throw error;
    });
    const spoken = speak({
      ...pace,
      feed,
      signal: stopped.signal,
      first: { ...first, gap: first.gap || missed },
    });
    return c.body(readable(spoken, stopped), 200, headers);
  });
}

/** From the last id on, if it is one and not too long ago; from now on otherwise. */
function feedOf(c: AppContext, { port, now }: AppDeps): { feed: Feed; missed: boolean } {
  const lastId = z.iso.datetime({ offset: true }).safeParse(c.req.header('last-event-id'));
  const earliest = now().getTime() - catchUpMs;
  if (!lastId.success) return { feed: createFeed(port, now(), true), missed: false };
  const at = Date.parse(lastId.data);
  return { feed: createFeed(port, new Date(Math.max(at, earliest)), false), missed: at < earliest };
}

type Pace = { now(): number; pause(ms: number, signal: AbortSignal): Promise<void> };
const pace: Pace = {
  now: () => performance.now(),
  pause: (ms, signal) => wait(ms, undefined, { signal, ref: false }).catch(() => {}),
};

type Speech = Pace & { feed: Feed; first: News; signal: AbortSignal };

/** The text of the stream, piece by piece: news when there are any, a comment when it was quiet for a while. */
export async function* speak({ feed, first, signal, now, pause }: Speech): AsyncGenerator<string> {
  const end = now() + connectionMs;
  yield `retry: ${pollMs}\n\n${textOf(first)}`;
  let spokenAt = now();
  while (true) {
    await pause(pollMs, signal);
    if (signal.aborted || now() >= end) return;
    const text = textOf(await feed.next());
    if (text === '' && now() - spokenAt < quietMs) continue;
    yield text === '' ? ': nothing new\n\n' : text;
    spokenAt = now();
  }
}

function textOf({ changes, gap, cursor }: News): string {
  const lost = gap ? [`event: gap\ndata: ${JSON.stringify({ until: cursor })}\n\n`] : [];
  const told = changes.map(
    ({ kind, ...row }) => `event: ${kind}\ndata: ${JSON.stringify(row)}\nid: ${cursor}\n\n`,
  );
  return [...lost, ...told].join('');
}

/** Pulled piece by piece, so a reader that is slow is not read ahead for. Whatever ends it, `stopped` is aborted. */
function readable(spoken: AsyncGenerator<string>, stopped: AbortController): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(controller) {
      // A look that fails ends the connection: the next one is told why.
      const { value, done } = await spoken.next().catch(() => ({ value: undefined, done: true }));
      if (done !== true && value !== undefined) return controller.enqueue(encoder.encode(value));
      stopped.abort();
      controller.close();
    },
    cancel: () => stopped.abort(),
  });
}

const crowded = (): Refusal =>
  new Refusal('OPS_019', 'too many streams are open here', {
    hint: 'Wait as long as Retry-After says, or ask `status` instead.',
    headers: { 'Retry-After': '30' },
  });
