/**
 * A stand-in for PostgREST behind Supabase's gateway: real HTTP over the real database, built from what they document
 * (docs.postgrest.org: functions, transactions, errors, authentication; supabase.com/docs: API keys, timeouts, max rows).
 * Parity with the real ones is by documentation; no request of this suite ever reached them.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { Client, Pool } from 'pg';
import { type Called, createCaller, Refusal } from './postgrest-call.js';
import { type Claims, createGate, type Gate } from './postgrest-keys.js';
import { describe } from './postgrest-status.js';

/** What gateways do on bad days. */
export type Fault = { status: number; body?: string; location?: string; hangUp?: boolean };
export type PostgrestOptions = {
  /** A superuser's. */
  databaseUrl: string;
  /** Longest statement. Default: that of Supabase's login role `authenticator`, 8 s. */
  timeoutMs?: number;
  /** Most rows of one answer. Default: "Max rows" of a new project, 1,000. */
  maxRows?: number;
  /** Answers instead, when it answers something. */
  interfere?: (path: string) => Fault | undefined;
};
export type Postgrest = Pick<Gate, 'keys' | 'sign'> & {
  url: string;
  /** What came in, latest last. */
  requests: { path: string; headers: IncomingMessage['headers']; body: string; status: number }[];
  close(): Promise<void>;
};
type Reply = { status: number; body?: string | undefined; headers?: Record<string, string> };

export async function startPostgrest(options: PostgrestOptions): Promise<Postgrest> {
  const { databaseUrl, interfere } = options;
  await ensureLoginRole(databaseUrl);
  const pool = openPool(databaseUrl);
  const gate = createGate();
  const requests: Postgrest['requests'] = [];
  const answer = createAnswer(pool, gate, options);
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const [body, path] = [await text(request), request.url ?? ''];
    const fault = interfere?.(path);
    if (fault?.hangUp === true) return void request.socket.destroy();
    const reply = fault === undefined ? await answer(request, body) : faulty(fault);
    requests.push({ path, headers: request.headers, body, status: reply.status });
    const headers = { 'Content-Type': 'application/json; charset=utf-8', ...reply.headers };
    response.writeHead(reply.status, headers).end(reply.body);
  };
  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy());
  });
  const url = await listen(server);
  return { url, keys: gate.keys, sign: gate.sign, requests, close: () => close(server, pool) };
}

const faulty = ({ status, body, location }: Fault): Reply => ({
  status,
  body,
  headers: { 'Content-Type': 'text/html', ...(location !== undefined && { Location: location }) },
});

/** The login that PostgREST has: it may become the three API roles and owns nothing. Nobody can log in as it here. */
async function ensureLoginRole(databaseUrl: string): Promise<void> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(`do $$ begin
      perform pg_advisory_xact_lock(hashtext('authenticator'));
      if not exists (select from pg_roles where rolname = 'authenticator') then
        create role authenticator nologin noinherit nocreatedb nocreaterole nosuperuser;
        grant anon, authenticated, service_role to authenticator;
      end if; end $$`);
  } finally {
    await client.end();
  }
}

function openPool(databaseUrl: string): Pool {
  const pool = new Pool({ connectionString: databaseUrl, max: 20, connectionTimeoutMillis: 10_000 });
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

function createAnswer(pool: Pool, { admit }: Gate, { maxRows = 1_000, timeoutMs = 8_000 }: PostgrestOptions) {
  const callFunction = createCaller(pool);
  return async (request: IncomingMessage, body: string): Promise<Reply> => {
    let claims: Claims = { role: 'anon' };
    try {
      claims = admit(request.headers);
      const role = String(claims.role);
      const fn = functionOf(request);
      const called = await callFunction({ fn, text: body, claims, role, maxRows, timeoutMs });
      return answered(called, /count=exact/.test(String(request.headers.prefer)));
    } catch (error) {
      const { status, body: said } = describe(error, String(claims.role));
      return { status, body: JSON.stringify(said) };
    }
  };
}

/** 204 for a function that answers nothing, 206 for a part of the rows if the whole was counted. */
function answered({ body, rows, total }: Called, counted: boolean): Reply {
  if (body === undefined) return { status: 204 };
  if (rows === undefined || total === undefined) return { status: 200, body };
  const range = `${rows === 0 ? '*' : `0-${rows - 1}`}/${counted ? total : '*'}`;
  return { status: counted && rows < total ? 206 : 200, body, headers: { 'Content-Range': range } };
}

function functionOf({ url, method, headers }: IncomingMessage): string {
  const fn = /^\/rest\/v1\/rpc\/(\w+)$/.exec(url ?? '')?.[1];
  if (fn === undefined) throw new Refusal(404, 'PGRST125', 'Invalid path specified in request URL');
  if (method !== 'POST')
    throw new Refusal(405, 'PGRST101', 'Only GET, HEAD and POST verbs are allowed on RPC');
  if (!/^application\/json/.test(headers['content-type'] ?? ''))
    throw new Refusal(415, 'PGRST107', 'Content-Type not acceptable');
  if ((headers['content-profile'] ?? 'public') !== 'public')
    throw new Refusal(406, 'PGRST106', 'Invalid schema', 'Only the following schemas are exposed: public');
  return fn;
}

function listen(server: Server): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      resolve(`http://127.0.0.1:${port}`);
    });
  });
}

async function close(server: Server, pool: Pool): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await pool.end();
}
