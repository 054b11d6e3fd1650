/**
 * The control plane on this machine: the same app that Vercel mounts, behind Node's HTTP server.
 *
 * @example
 * const app = createApp({ port, env, log, now: () => new Date() });
 * const server = await startServer({ app, host: env.OPS_HOST, port: env.OPS_PORT });
 * output.note(`Open ${signInUrl(server.url, apiKey)}`);
 * await server.close();
 */
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer, type HttpBindings } from '@hono/node-server';
import { OpsError } from '../supabase/client/errors.js';
import { type App, mintLoginToken } from '../vercel/app/app.js';

export { createApp, parseWebhooks } from '../vercel/app/app.js';

/** Requests that run when the server closes get this long before their connections are cut. */
const defaultCloseGraceMs = 5_000;

export type ServerOptions = {
  app: Pick<App, 'fetch'>;
  host: string;
  /** 0 takes any free port. */
  port: number;
  closeGraceMs?: number;
};
export type RunningServer = {
  /** Where it can be reached from this machine, without a trailing slash. */
  url: string;
  port: number;
  /** Takes no new connection, lets running requests finish, then ends. A second call waits for the first. */
  close(): Promise<void>;
};

/** Resolves once it listens. Throws `OPS_016` when the address is taken or not ours to take. */
export async function startServer({ app, host, port, closeGraceMs }: ServerOptions): Promise<RunningServer> {
  const server = createAdaptorServer({ fetch: app.fetch, hostname: host }) as Server;
  const endStreams = trackStreams(server);
  await listen(server, host, port);
  const address = server.address() as AddressInfo;
  let closing: Promise<void> | undefined;
  return {
    url: `http://${reachableHost(address)}:${address.port}`,
    port: address.port,
    close: () => {
      closing ??= closeServer(server, closeGraceMs ?? defaultCloseGraceMs, endStreams);
      return closing;
    },
  };
}

/**
 * The page with a token that signs in one browser once. It stands in the fragment, which no browser sends to a
 * server, so it is in no log. A terminal keeps it in sight for a while: it holds for `ttlMs`, an hour by default.
 */
export function signInUrl(url: string, apiKey: string, now = new Date(), ttlMs = 3_600_000): string {
  return `${url}/#key=${mintLoginToken(apiKey, now, ttlMs)}`;
}

/** The other end of the socket. Headers that name an address are anybody's to write here: no proxy of ours stands before. */
export function socketAddress(_: Request, env: unknown): string | undefined {
  const { incoming } = env as Partial<HttpBindings>;
  return incoming?.socket.remoteAddress;
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(cannotListen(host, port, cause)));
    server.listen(port, host, resolve);
  });
}

function cannotListen(host: string, port: number, cause: NodeJS.ErrnoException): OpsError {
  const reason =
    cause.code === 'EADDRINUSE' ? 'something listens there already' : (cause.code ?? 'unknown reason');
  return new OpsError('OPS_016', `cannot listen on ${host}:${port}: ${reason}`, {
    hint: 'Set OPS_PORT (0 takes any free port) or OPS_HOST.',
    cause,
  });
}

/** Ends the answers that have begun and go on by themselves: all others are sent whole. Their readers come again. */
function trackStreams(server: Server): () => void {
  const open = new Set<ServerResponse>();
  server.on('request', (_, response) => {
    open.add(response);
    response.once('close', () => open.delete(response));
  });
  return () => {
    for (const response of open) if (response.headersSent && !response.writableEnded) response.destroy();
  };
}

function closeServer(server: Server, graceMs: number, endStreams: () => void): Promise<void> {
  return new Promise((resolve) => {
    endStreams();
    const cut = setTimeout(() => server.closeAllConnections(), graceMs);
    server.close(() => {
      clearTimeout(cut);
      resolve();
    });
    server.closeIdleConnections();
  });
}

/** A wildcard address is reached through loopback; IPv6 stands in brackets. */
function reachableHost({ address, family }: AddressInfo): string {
  if (address === '0.0.0.0' || address === '::') return '127.0.0.1';
  return family === 'IPv6' ? `[${address}]` : address;
}
