/**
 * The `http` executor: one call to a host that `worker_policy.allowed_hosts` grants.
 *
 * @example params
 * { "method": "POST", "url": "https://api.github.com/repos/o/r/issues", "json": { "title": "{{event.data.title}}" },
 *   "headers": { "authorization": { "secret": "GITHUB_TOKEN", "scheme": "Bearer" } }, "save": "json" }
 */
import { z } from 'zod';
import {
  type DoctorContext,
  defineExecutor,
  type Finding,
  type StepContext,
  StepError,
} from '../contract.js';
import { type Called, call } from './call.js';
import type { Answer } from './exchange.js';
import { parseGrant, parseGrants } from './grants.js';
import { parseStepUrl, type Resolve, resolveName } from './guard.js';
import { buildHeaders } from './headers.js';
import { isIdempotent, unexpected } from './outcome.js';
import { keepBytes, keptHeaders, Params, Result } from './params.js';

const defaultTimeoutSeconds = 30;
const maxRedirects = 3;

/** What policy grants; anything malformed grants nothing. */
const Policy = z.object({
  allowed_hosts: z.array(z.string()).catch([]),
  allowed_secrets: z.record(z.string(), z.array(z.string())).catch({}),
});
const readPolicy = ({ config }: Pick<StepContext, 'config'>) => {
  const { allowed_hosts = [], allowed_secrets = {} } = config.worker_policy;
  return Policy.parse({ allowed_hosts, allowed_secrets });
};

export const createHttp = ({ resolve }: { resolve: Resolve }) =>
  defineExecutor({
    name: 'http',
    params: Params,
    result: Result,
    traits: { idempotent: false, risk: 'high', touches: ['secrets', 'outside'], fixed: ['method'] },
    run: (ctx) => run(ctx, resolve),
    doctor: async (ctx) => [...grantFindings(ctx), ...secretFindings(ctx)],
  });

export const http = createHttp({ resolve: resolveName });

async function run(ctx: StepContext<Params>, resolve: Resolve): Promise<z.input<typeof Result>> {
  const { params } = ctx;
  const { method = 'GET', expect, idempotent = isIdempotent(method) } = params;
  const policy = readPolicy(ctx);
  const url = withQuery(parseStepUrl(params.url), params.query);
  const { headers, secretHeaders } = buildHeaders(params, url, policy.allowed_secrets, (name) =>
    ctx.secret(name),
  );
  const body = params.json === undefined ? params.body : JSON.stringify(params.json);
  const called = await call(
    {
      ...{ method, url, body },
      headers: { ...traceHeader(ctx), ...headers, 'idempotency-key': ctx.idempotencyKey },
    },
    {
      ...{ resolve, secretHeaders, maxRedirects, keepBytes, signal: ctx.signal, mayRepeat: idempotent },
      grants: parseGrants(policy.allowed_hosts),
      timeoutSeconds: params.timeout_seconds ?? defaultTimeoutSeconds,
      ...(expect && { expect }),
    },
  );
  const { answer } = called;
  if (!isExpected(answer.status, expect)) throw unexpected(called.url.host, answer, idempotent);
  return describe(called, params.save);
}

/** A step that writes out a trace context of its own keeps it. */
const traceHeader = ({ traceparent }: StepContext) => (traceparent === undefined ? {} : { traceparent });

function withQuery(url: URL, query: Params['query'] = {}): URL {
  for (const [name, value] of Object.entries(query)) url.searchParams.append(name, String(value));
  return url;
}

const isExpected = (status: number, expect: readonly number[] | undefined): boolean =>
  expect?.includes(status) ?? (status >= 200 && status < 300);

function describe({ answer, url, redirects }: Called, save: Params['save']): z.input<typeof Result> {
  const { status, bytes, truncated } = answer;
  const headers = Object.fromEntries(
    keptHeaders.flatMap((name) => {
      const value = answer.headers[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
  const body =
    save === undefined ? {} : { body: save === 'json' ? parseBody(url.host, answer) : answer.text };
  return { status, url: url.origin + url.pathname, redirects, headers, bytes, truncated, ...body };
}

/** The call has been made, so an answer that cannot be read is no reason to make it again. */
function parseBody(place: string, { status, text, truncated }: Answer): unknown {
  if (truncated) throw unreadable(`${place} answered ${status} with more than ${keepBytes} bytes of JSON`);
  try {
    return JSON.parse(text);
  } catch {
    throw unreadable(`${place} answered ${status}, but not with JSON`);
  }
}

const unreadable = (message: string): StepError =>
  new StepError(message, { outcome: 'permanent', errorClass: 'UnreadableAnswer' });

function grantFindings(ctx: DoctorContext): Finding[] {
  const { allowed_hosts } = readPolicy(ctx);
  const unread = allowed_hosts.filter((entry) => parseGrant(entry) === undefined);
  const message =
    unread.length > 0
      ? `worker_policy.allowed_hosts has entries that grant nothing: ${unread.join(', ')}`
      : `${allowed_hosts.length} entries in worker_policy.allowed_hosts`;
  return [{ name: 'http hosts', ok: unread.length === 0, message }];
}

function secretFindings(ctx: DoctorContext): Finding[] {
  const missing = Object.keys(readPolicy(ctx).allowed_secrets).filter((name) => !ctx.secret(name));
  return missing.map((name) => ({
    name: 'http secrets',
    ok: false,
    message: `worker_policy.allowed_secrets grants ${name}, which is not set here`,
    hint: `Set ${name} where the worker runs, or take it out of the policy.`,
  }));
}
