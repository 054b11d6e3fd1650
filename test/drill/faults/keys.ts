/**
 * The key of the control plane is changed while senders use it, as the runbook says: the new key is deployed beside
 * the old one, each sender moves in its own time, then the old key goes. A deployment is a new app in the same place.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { createApp, startServer } from '../../../local/server.js';
import type { OpsPort } from '../../../supabase/client/port.js';
import { parseControlEnv } from '../../../vercel/app/env.js';
import type { Arena } from '../arena.js';
import { monotonicMs } from '../effects.js';
import { databaseBoundMs, type Fault } from '../fault.js';
import type { Dice } from '../random.js';

const senders = 6;
const everyMs = 150;
let serial = 0;

type Plane = { url: string; deploy(keys: Record<string, string>): void; close(): Promise<void> };

async function startPlane(port: OpsPort, keys: Record<string, string>): Promise<Plane> {
  const silent = { info: () => {}, warn: () => {}, error: () => {} };
  const appFor = (variables: Record<string, string>) =>
    createApp({ port, env: parseControlEnv(variables), log: silent, now: () => new Date() });
  let current = appFor(keys);
  const { url, close } = await startServer({
    app: { fetch: (...args) => current.fetch(...args) },
    host: '127.0.0.1',
    port: 0,
  });
  return {
    url,
    close,
    deploy: (next) => {
      current = appFor(next);
    },
  };
}

/** One event over HTTP, noted in the ledger; answers the status, or 0 without one. */
async function send({ ledger }: Arena, url: string, key: string): Promise<number> {
  const dedupe_key = `rotation-${++serial}-${process.pid}`;
  const end = ledger.invoke('event', dedupe_key, monotonicMs());
  try {
    const response = await fetch(`${url}/api/ops/events`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ type: 'drill:work', data: { n: serial }, dedupe_key }),
    });
    const { created } = (await response.json()) as { created?: boolean };
    end(response.ok ? 'ok' : response.status === 401 ? 'fail' : 'unknown', created);
    return response.status;
  } catch {
    end('unknown');
    return 0;
  }
}

type Sender = { key: string; refused: number };

async function keepSending(arena: Arena, url: string, sender: Sender, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    if ((await send(arena, url, sender.key)) === 401) sender.refused++;
    await pause(everyMs, undefined, { signal }).catch(() => {});
  }
}

/** Old key; both, while one sender after the other moves; new key alone. Answers what the old one opens in the end. */
async function rotate(arena: Arena, plane: Plane, crew: Sender[], dice: Dice): Promise<number> {
  const [old, young] = [crew[0]?.key ?? '', randomBytes(24).toString('hex')];
  await pause(500);
  plane.deploy({ OPS_API_KEY: young, OPS_API_KEY_PREVIOUS: old });
  for (const sender of dice.shuffle(crew)) {
    await pause(dice.whole(50, 400));
    sender.key = young;
  }
  // Longer than a call takes: nothing is under way with the old key any more.
  await pause(10 * everyMs);
  plane.deploy({ OPS_API_KEY: young });
  await pause(500);
  return send(arena, plane.url, old);
}

export const keyRotation: Fault = {
  name: 'key-rotation',
  what: 'OPS_API_KEY changed by way of OPS_API_KEY_PREVIOUS under six senders over HTTP',
  boundMs: databaseBoundMs,
  strike: async (arena, dice) => {
    const first = randomBytes(24).toString('hex');
    const plane = await startPlane(arena.client.port, { OPS_API_KEY: first });
    const stopping = new AbortController();
    const crew: Sender[] = Array.from({ length: senders }, () => ({ key: first, refused: 0 }));
    const sending = crew.map((sender) => keepSending(arena, plane.url, sender, stopping.signal));
    try {
      const status = await rotate(arena, plane, crew, dice);
      if (status !== 401) throw new Error(`the old key was answered with ${status} after its end`);
    } finally {
      stopping.abort();
      await Promise.all(sending);
      await plane.close();
    }
    const refused = crew.reduce((sum, sender) => sum + sender.refused, 0);
    if (refused > 0) throw new Error(`${refused} calls with a valid key were refused`);
    return undefined;
  },
};
