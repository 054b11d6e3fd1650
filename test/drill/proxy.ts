/**
 * A TCP proxy between clients and the database that can be as bad as a network: slow, silent, cut, half closed, or
 * handing over a few bytes at a time. What it does to a connection counts for old and new ones alike.
 */
import { once, setMaxListeners } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

export type Weather =
  | { kind: 'fair' }
  /** Each chunk arrives this much later. */
  | { kind: 'delay'; ms: number }
  /** Nothing passes; connections are accepted and stay open. What was sent meanwhile arrives when it ends. */
  | { kind: 'silence' }
  /** What clients send arrives, what the server answers does not. End it with a cut. */
  | { kind: 'mute' }
  /** Chunks of so many bytes, each in a turn of its own. */
  | { kind: 'slice'; bytes: number };

export type Cut =
  /** Both sides get a reset. */
  | 'reset'
  /** The client sees an orderly end; the server sees nothing until it writes. */
  | 'end-to-client'
  /** The server sees an orderly end; the client sees nothing. */
  | 'end-to-server'
  /** The server's side is gone and the client is never told. */
  | 'vanish';

export type TcpProxy = {
  port: number;
  setWeather(weather: Weather): void;
  /** Cuts the connections for which `chosen` says so; answers how many. */
  cut(how: Cut, chosen?: () => boolean): number;
  open(): number;
  close(): Promise<void>;
};

/** `vanished`: what the client sends goes nowhere, and nobody tells it. */
type Link = { client: Socket; server: Socket; vanished: boolean };

export type Target = {
  host: string;
  /** Asked at every connection: the database may have moved. */
  port: () => number;
  /** Where to listen. Default: on the target's host. */
  listenHost?: string;
};

export async function startProxy(target: Target): Promise<TcpProxy> {
  const links = new Set<Link>();
  let weather: Weather = { kind: 'fair' };
  let cleared = newSignal();
  const sky = {
    now: () => weather,
    /** Resolves when the weather has changed. */
    changed: () => cleared.signal,
  };
  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const server = connect({ host: target.host, port: target.port(), allowHalfOpen: true, noDelay: true });
    const link: Link = { client, server, vanished: false };
    links.add(link);
    const forget = () => {
      links.delete(link);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) socket.on('error', forget);
    void Promise.all([carry(link, sky, 'requests'), carry(link, sky, 'answers')]).then(forget);
  });
  listener.listen(0, target.listenHost ?? target.host);
  await once(listener, 'listening');
  return {
    port: (listener.address() as AddressInfo).port,
    setWeather: (next) => {
      weather = next;
      cleared.abort();
      cleared = newSignal();
    },
    cut: (how, chosen = () => true) => {
      const hit = [...links].filter(chosen);
      for (const link of hit) cutLink(link, how);
      return hit.length;
    },
    open: () => links.size,
    close: async () => {
      const closed = once(listener, 'close');
      listener.close();
      for (const { client, server } of links) {
        client.destroy();
        server.destroy();
      }
      await closed;
    },
  };
}

type Sky = { now(): Weather; changed(): AbortSignal };
type Direction = 'requests' | 'answers';

/** Any number of connections wait for the weather to change. */
function newSignal(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}

/** Carries one direction to its end. Reading stops while a chunk is held back, so memory stays bounded. */
async function carry(link: Link, sky: Sky, what: Direction): Promise<void> {
  const [from, to] = what === 'requests' ? [link.client, link.server] : [link.server, link.client];
  try {
    for await (const chunk of from) if (!link.vanished) await deliver(chunk as Buffer, to, sky, what);
    to.end();
  } catch {
    // The other side is gone; whoever noticed first has ended both.
  }
}

async function deliver(chunk: Buffer, to: Socket, sky: Sky, what: Direction): Promise<void> {
  while (sky.now().kind === 'silence') await once(sky.changed(), 'abort');
  const weather = sky.now();
  if (weather.kind === 'mute' && what === 'answers') return;
  if (weather.kind === 'delay') await pause(weather.ms);
  if (weather.kind !== 'slice') return await send(chunk, to);
  // A large chunk in tiny slices would outlast the drill; it is cut into a bounded number.
  const bytes = Math.max(weather.bytes, Math.ceil(chunk.length / 64));
  for (let at = 0; at < chunk.length; at += bytes) {
    await send(chunk.subarray(at, at + bytes), to);
    await pause(0);
  }
}

async function send(chunk: Buffer, to: Socket): Promise<void> {
  if (to.destroyed) throw new Error('the other side is gone');
  if (!to.write(chunk)) await Promise.race([once(to, 'drain'), once(to, 'close')]);
}

function cutLink(link: Link, how: Cut): void {
  const { client, server } = link;
  if (how === 'end-to-client') client.end();
  else if (how === 'end-to-server') server.end();
  else {
    link.vanished = how === 'vanish';
    // Without its listener the end of this side is not passed on.
    if (link.vanished) server.removeAllListeners('error').on('error', () => {});
    else client.resetAndDestroy();
    server.resetAndDestroy();
  }
}
