/**
 * The `supabase-js` adapter: one `client.rpc(fn, args)` by POST per call, for places that reach a Supabase project by
 * HTTPS alone. What the server rolled back is sent again with jitter, as in `pg.ts`.
 *
 * Two things differ from a connection of one's own. There is no LISTEN, so workers poll. And a top-level JSON null
 * as an argument arrives as SQL's null, because PostgREST reads arguments with `json_to_record`; no function of ours
 * takes one. Numbers go out digit by digit as with `pg`, and come back so from calls that are marked `exact`.
 */
import { randomUUID } from 'node:crypto';
import type { SupabaseClient, SupabaseClientOptions } from '@supabase/supabase-js';
import { createFault, fromApi } from './api-fault.js';
import type { Request } from './call.js';
import { OpsError } from './errors.js';
import { parseExact, stringify } from './json-text.js';
import { type CallOptions, createPort, type OpsPort } from './port.js';
import type { Project } from './project.js';
import { resend } from './resend.js';

/** Supabase ends statements of its API roles after 8 s; a call that has not answered by 10 s will not. */
const defaultDeadlineMs = 10_000;
/** Rows of one answer: "Max rows" of a project unless its owner changed it (supabase.com/docs, API settings). */
export const maxRows = 1_000;

export type SupabaseDatabase = { port: OpsPort; close(): Promise<void> };

/** `answer` is filled in for whoever asked for it. */
type Parcel = { body: string; answer?: string | undefined };
type Sender = { client(): Promise<SupabaseClient>; parcels: Map<string, Parcel> };

/** Nothing is sent, and the library is not loaded, before the first call. */
export function openSupabase(project: Project): SupabaseDatabase {
  const parcels = new Map<string, Parcel>();
  let opening: Promise<SupabaseClient> | undefined;
  const client = () => {
    opening ??= createRpcClient(project, parcels);
    return opening;
  };
  const port = createPort(async (request, options) => {
    try {
      return await resend(() => send({ client, parcels }, request, options));
    } catch (error) {
      throw fromApi(error, project.host);
    }
  });
  return { port, close: async () => {} };
}

async function createRpcClient(project: Project, parcels: Map<string, Parcel>): Promise<SupabaseClient> {
  const { createClient } = await import('@supabase/supabase-js');
  return createClient(project.url, project.key, {
    // Neither sessions nor their timers: whoever has this key is nobody's user.
    accessToken: async () => project.key,
    realtime: { transport: NoSocket as unknown as Transport },
    global: { fetch: fetchWith(project, parcels) },
  });
}

type Transport = NonNullable<NonNullable<SupabaseClientOptions<'public'>['realtime']>['transport']>;
/** The client makes a Realtime client too, which asks for a WebSocket class; Node 20 has none, and none is opened. */
class NoSocket {}

/**
 * supabase-js writes bodies with `JSON.stringify` and reads answers with `JSON.parse`, which both round. It is
 * therefore given a ticket for a body; the body that the ticket stands for is sent, and its answer kept beside it.
 */
const fetchWith =
  ({ keyKind }: Project, parcels: Map<string, Parcel>): typeof fetch =>
  async (input, init = {}) => {
    const headers = new Headers(init.headers);
    // The gateway makes the token of a secret key; as a bearer it would be a malformed one (supabase.com/docs, API keys).
    if (keyKind === 'secret') headers.delete('Authorization');
    const parcel = parcels.get(String(init.body));
    const body = parcel?.body ?? init.body ?? null;
    // Whoever redirects would get the key.
    const response = await fetch(input, { ...init, headers, body, redirect: 'error' });
    if (parcel !== undefined && 'answer' in parcel) parcel.answer = await response.clone().text();
    return response;
  };

async function send(
  { client, parcels }: Sender,
  request: Request,
  { deadlineMs = defaultDeadlineMs }: CallOptions,
): Promise<unknown[]> {
  const { fn, kind, exact } = request;
  const ticket = randomUUID();
  const parcel: Parcel = { body: stringify(argumentsOf(request)), ...(exact && { answer: undefined }) };
  const deadline = AbortSignal.timeout(deadlineMs);
  parcels.set(JSON.stringify(ticket), parcel);
  try {
    const options = kind === 'rows' ? ({ count: 'exact' } as const) : {};
    const answer = await (await client()).rpc(fn, ticket, options).abortSignal(deadline);
    if (answer.status === 0 && deadline.aborted) throw overdue(fn, deadlineMs);
    if (answer.error !== null) throw createFault(answer.status, answer.error);
    // No function of ours answers nothing: supabase-js makes this of a 404 without a body.
    if (answer.status === 204) throw createFault(404, {});
    const data = parcel.answer === undefined ? answer.data : parseExact(parcel.answer);
    return kind === 'rows' ? allRows(fn, { ...answer, data }) : [data];
  } finally {
    parcels.delete(JSON.stringify(ticket));
  }
}

const argumentsOf = ({ fn, args, kind }: Request): Record<string, unknown> =>
  Object.fromEntries(
    args.map(({ name, value }) => [name, kind === 'rows' ? capped(fn, name, value) : value]),
  );

/** A limit over what comes back asks for that much; a list that is answered row by row must fit. Throws `OPS_011`. */
function capped(fn: string, name: string, value: unknown): unknown {
  if (Array.isArray(value) && value.length > maxRows)
    throw new OpsError(
      'OPS_011',
      `${fn} got a list of ${value.length}; over the API ${maxRows} are the most`,
      {
        hint: 'Send it in parts.',
      },
    );
  return name === 'p_limit' && typeof value === 'number' ? Math.min(value, maxRows) : value;
}

/** The API cuts answers without a word, but tells the whole count when asked. A claim that is cut would be lost work. */
function allRows(fn: string, { data, count }: { data: unknown; count: number | null }): unknown[] {
  const rows = Array.isArray(data) ? data : [data];
  if (count === null || count <= rows.length) return rows;
  throw new OpsError('OPS_016', `${fn} answered ${count} rows, of which the API let ${rows.length} through`, {
    hint: `Set "Max rows" in the API settings of the project to ${maxRows} or more.`,
  });
}

const overdue = (fn: string, deadlineMs: number): OpsError =>
  new OpsError('OPS_001', `${fn} did not answer within ${deadlineMs} ms`, {
    hint: 'The outcome is unknown; the call is safe to repeat. Look at pg_stat_activity for what it waits for.',
  });
