/**
 * The `notify` executor: tells people or programs something through a channel that `worker_policy.channels` describes,
 * on request with links that approve or reject a proposal.
 *
 * It is given text and the name of a channel; where that leads and with which secret is policy's. So it touches the
 * outside, but hands no secret to what it is told.
 *
 * @example params
 * { "channel": "ops-room", "title": "Waits: {{event.data.title}}", "text": "{{event.data.reason}}",
 *   "approve": { "proposal_id": "{{event.data.proposal_id}}" } }
 */
import { z } from 'zod';
import { OpsError } from '../../../supabase/client/errors.js';
import { defineExecutor, type StepContext, StepError } from '../contract.js';
import { call } from '../http/call.js';
import type { Answer } from '../http/exchange.js';
import { parseGrants } from '../http/grants.js';
import { parseTarget, type Resolve, resolveName } from '../http/guard.js';
import { unexpected } from '../http/outcome.js';
import { engineRefusal } from '../refusal.js';
import { channelFindings, findChannel, given, speeches } from './channel.js';
import type { Decide, Delivery, Speech } from './message.js';

const timeoutSeconds = 20;
/** Enough for what providers answer. */
const keepBytes = 16 * 1024;

const Params = z.strictObject({
  channel: z.string().min(1).max(100),
  title: z.string().min(1).max(300).optional(),
  text: z.string().min(1).max(4_000),
  /** http(s) address that is shown under the text. */
  link: z.string().min(1).max(1_000).optional(),
  approve: z
    .strictObject({
      proposal_id: z.uuid(),
      /** How long the links hold; a day by default. */
      ttl_minutes: z.int().min(1).max(10_080).optional(),
    })
    .optional(),
});
type Params = z.output<typeof Params>;

const Result = z.object({
  channel: z.string(),
  type: z.string(),
  /** False when the proposal was decided before anybody had to be asked. */
  sent: z.boolean(),
  reason: z.string().optional(),
  message_id: z.string().optional(),
  /** When the links end. */
  expires_at: z.string().optional(),
});
type Result = z.input<typeof Result>;

export type NotifyDeps = { resolve: Resolve; now: () => Date };

export const createNotify = (deps: NotifyDeps) =>
  defineExecutor({
    name: 'notify',
    params: Params,
    result: Result,
    traits: { idempotent: false, risk: 'medium', touches: ['outside'], fixed: ['channel'] },
    run: (ctx) => run(ctx, deps),
    doctor: async (ctx) => channelFindings(ctx),
  });

export const notify = createNotify({ resolve: resolveName, now: () => new Date() });

async function run(ctx: StepContext<Params>, { resolve, now }: NotifyDeps): Promise<Result> {
  const { params } = ctx;
  const channel = findChannel(ctx, params.channel);
  const { type } = channel;
  const speech = speeches[type];
  const link = params.link === undefined ? undefined : shownLink(params.link);
  const decide = params.approve === undefined ? undefined : await makeLinks(ctx);
  if (decide instanceof OpsError)
    return { channel: params.channel, type, sent: false, reason: decide.message };
  const { title, text } = params;
  const delivery = speech.deliver({ title, text, link, decide }, given(channel, ctx, now()));
  const answer = await send(ctx, speech, delivery, resolve);
  const messageId = speech.messageId?.(answer);
  return {
    ...{ channel: params.channel, type, sent: true },
    ...(messageId && { message_id: messageId }),
    ...(decide && { expires_at: decide.expiresAt }),
  };
}

/** What may be called may be shown; its fragment, which no call has, is kept. */
function shownLink(text: string): string {
  parseTarget(text);
  return new URL(text).href;
}

async function send(
  ctx: StepContext<Params>,
  { hosts, mayRepeat, wait }: Speech,
  { url, headers, body }: Delivery,
  resolve: Resolve,
): Promise<Answer> {
  const allowed = z.array(z.string()).catch([]).parse(ctx.config.worker_policy.allowed_hosts);
  const target = parseTarget(url);
  const { answer } = await call(
    {
      method: 'POST',
      url: target,
      headers: {
        ...{ 'content-type': 'application/json', 'user-agent': 'ops-loop' },
        ...{ ...headers, 'idempotency-key': ctx.idempotencyKey },
      },
      body,
    },
    {
      ...{ resolve, signal: ctx.signal, timeoutSeconds, keepBytes, mayRepeat },
      grants: parseGrants([...hosts, ...allowed]),
      // A message that is sent on goes somewhere that nobody named.
      maxRedirects: 0,
    },
  );
  if (answer.status >= 200 && answer.status < 300) return answer;
  throw unexpected(target.host, withoutSecrets(answer, target), mayRepeat, wait?.(answer));
}

/** An answer may repeat what it was sent, where an address is a secret and a link a key; errors are stored. */
function withoutSecrets(answer: Answer, { pathname }: URL): Answer {
  const text = answer.text.replaceAll(/[0-9a-f]{64}/g, '…');
  return { ...answer, text: pathname.length > 1 ? text.replaceAll(pathname, '…') : text };
}

/** The links as full addresses, or why there are none: the proposal waits no more. */
async function makeLinks(ctx: StepContext<Params>): Promise<Decide | OpsError> {
  const base = publicUrl(ctx.setting('OPS_PUBLIC_URL'));
  const { stepId, leaseEpoch } = ctx;
  try {
    const links = await ctx.db.makeLinksAsStep({ stepId, leaseEpoch });
    const address = (token: string) => `${base}/api/ops/links/${token}`;
    return {
      approve: address(links.approve),
      reject: address(links.reject),
      expiresAt: links.expires_at,
      proposalId: links.proposal_id,
    };
  } catch (error) {
    if (error instanceof OpsError && error.code === 'OPS_015') return error;
    throw engineRefusal(error);
  }
}

function publicUrl(value: string | undefined): string {
  if (value !== undefined && /^https?:\/\//.test(value) && URL.canParse(value))
    return value.replace(/\/+$/, '');
  throw new StepError('links need the address that people reach the control plane at', {
    outcome: 'permanent',
    errorClass: 'NoPublicUrl',
    hint: 'Set OPS_PUBLIC_URL where the worker runs, such as https://ops.example.com.',
  });
}
