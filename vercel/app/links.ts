/**
 * `/api/ops/links/:token`: the other end of an approval link. GET shows what it would do and changes nothing, however
 * often a mail scanner or a chat's preview asks; only POST acts, once. The token is the key here, so it is in no log.
 */
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { z } from 'zod';
import { fromDatabase, OpsError } from '../../supabase/client/errors.js';
import { readBytes } from './body.js';
import type { AppContext, AppDeps, Handler } from './deps.js';
import { answersPage, described, type Endpoint } from './endpoint.js';
import { askPage, donePage, endedPage, failedPage, linkPolicy } from './links-page.js';
import { describe, Refusal, retryAfterSeconds } from './problem.js';

/** A reason of 2,000 characters, each of them percent-encoded. */
const maxFormBytes = 32_768;
const maxReasonChars = 2_000;

const params = z.object({ token: z.string().length(64) });

/** 200 with the question; 410 with why the link does nothing any more; 404 for no such link. */
export function showLink({ port }: AppDeps): Endpoint {
  const spec = {
    summary: 'The page behind an approval link; looking changes nothing',
    params,
    answers: {
      200: answersPage('What the link would do.'),
      404: answersPage('There is no such link.'),
      410: answersPage('The link does nothing any more, and why.'),
    },
  };
  return described(
    spec,
    asPage(async (c) => {
      const look = await port.lookAtLink({ token: tokenOf(c) });
      return look.state === 'open' ? show(c, 200, askPage(look)) : show(c, 410, endedPage(look));
    }),
  );
}

/** 200 with what came of it; 403 from a page that is not ours; 404, 409 when the link does nothing. */
export function followLink({ port }: AppDeps): Endpoint {
  const spec = {
    summary: 'Does what an approval link says, once',
    params,
    otherBodies: { 'application/x-www-form-urlencoded': z.object({ reason: z.string().optional() }) },
    answers: {
      200: answersPage('What came of it.'),
      403: answersPage('It came from a page that is not ours.'),
      404: answersPage('There is no such link.'),
      409: answersPage('The link does nothing any more, and why.'),
    },
  };
  return described(
    spec,
    asPage(async (c) => {
      refuseForeign(c);
      const reason = await readReason(c.req.raw);
      const used = await port.useLink({ token: tokenOf(c), ...(reason !== '' && { reason }) });
      return show(c, 200, donePage(used));
    }),
  );
}

/** A person reads the answer, so errors are pages too. */
function asPage(handler: Handler): Handler {
  return async function linkPage(c) {
    try {
      return await handler(c);
    } catch (thrown) {
      const error = fromDatabase(thrown);
      const requestId = c.get('requestId');
      const { status, detail, hint } = describe(error, '', requestId);
      // The log says why, as it does for every other answer.
      c.error = error;
      if (status === 503) c.header('Retry-After', String(retryAfterSeconds));
      return show(c, status, failedPage(detail, hint, requestId));
    }
  };
}

async function show(c: AppContext, status: number, page: ReturnType<typeof askPage>): Promise<Response> {
  c.header('Content-Security-Policy', linkPolicy);
  c.header('X-Robots-Tag', 'noindex');
  return c.html(await page, status as ContentfulStatusCode);
}

/** Anything that cannot be a token is nothing we ever sent. */
function tokenOf(c: AppContext): string {
  const token = c.req.param('token') ?? '';
  if (/^[0-9a-f]{64}$/.test(token)) return token;
  throw new OpsError('OPS_012', 'there is no such link', { hint: 'It was cut off on the way.' });
}

/** Who has the token may use it; but no other page may have a browser do so. Other clients send no such header. */
function refuseForeign(c: AppContext): void {
  if (['same-origin', 'none', undefined].includes(c.req.header('sec-fetch-site'))) return;
  throw new Refusal('OPS_014', 'this did not come from the page of the link', {
    status: 403,
    hint: 'Open the link itself and decide there.',
  });
}

async function readReason(request: Request): Promise<string> {
  const bytes = await readBytes(request, maxFormBytes);
  const form = new URLSearchParams(new TextDecoder().decode(bytes));
  return (form.get('reason') ?? '').replaceAll('\0', '').trim().slice(0, maxReasonChars);
}
