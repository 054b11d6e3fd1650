/**
 * Bodies, bounded before they are believed: bytes are counted while they stream, nesting and keys are counted
 * before anything is built from them.
 *
 * `jsonb` cannot hold U+0000 (SQLSTATE 22P05) or half a surrogate pair (22P02). Both become U+FFFD, in keys and in
 * values, so that a body with one of them is stored like any other instead of failing on every delivery. Objects are
 * rebuilt with own members only, so a key named `__proto__` is a member and touches no prototype.
 */
import { OpsError } from '../../supabase/client/errors.js';
import { endOfString } from '../../supabase/client/json-text.js';
import { Refusal } from './problem.js';

export type BodyLimits = { maxBytes: number; maxKeys: number };

/** Nesting that any honest payload stays far below; it also bounds every recursion over a body. */
const maxDepth = 100;
/** Keys of one body at the default size: more than a full bulk of events has. */
export const defaultMaxKeys = 100_000;

/** Throws 415, 413 or 400; answers the parsed and cleaned value. */
export async function readJson(request: Request, limits: BodyLimits): Promise<unknown> {
  requireJson(request);
  return parseJson(await readBytes(request, limits.maxBytes), limits.maxKeys);
}

/** Like `readJson`, but an empty body, of whatever type, is an empty object. */
export async function readOptionalJson(request: Request, limits: BodyLimits): Promise<unknown> {
  const bytes = await readBytes(request, limits.maxBytes);
  if (bytes.length === 0) return {};
  requireJson(request);
  return parseJson(bytes, limits.maxKeys);
}

/** `application/json` or any `+json` type, in UTF-8. */
export const isJson = (contentType: string | undefined | null): boolean =>
  /^application\/([\w.+-]+\+)?json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(contentType ?? '');

export function requireJson(request: Request): void {
  if (isJson(request.headers.get('content-type'))) return;
  throw wrongType('the body is not declared as JSON', 'Send `Content-Type: application/json`.');
}

/** Reads at most `maxBytes`, whatever Content-Length says. Throws 413 beyond, 415 for a compressed body. */
export async function readBytes(request: Request, maxBytes: number): Promise<Uint8Array> {
  const encoding = request.headers.get('content-encoding') ?? 'identity';
  if (encoding !== 'identity') throw wrongType('compressed bodies are not taken', 'Send the body as it is.');
  if (Number(request.headers.get('content-length') ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of received(request)) {
    size += chunk.length;
    if (size > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** The body's chunks; a sender that goes away in the middle is a bad request, not a fault of ours. */
async function* received(request: Request): AsyncGenerator<Uint8Array> {
  if (request.body === null) return;
  const reader = request.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause) => {
        throw badBody('the body broke off', cause);
      });
      if (done) return;
      yield value;
    }
  } finally {
    // Leaving early must not wait for a sender that keeps sending.
    reader.cancel().catch(() => {});
  }
}

/** Throws 400 for anything but bounded JSON in UTF-8. */
export const parseJson = (bytes: Uint8Array, maxKeys: number): unknown => parseText(decode(bytes), maxKeys);

/** Throws 400 for anything but bounded JSON. */
export function parseText(text: string, maxKeys: number): unknown {
  const { depth, keys } = measure(text);
  if (depth > maxDepth) throw badBody(`the JSON is nested deeper than ${maxDepth} levels`);
  if (keys > maxKeys) throw badBody(`the JSON has more than ${maxKeys} keys`);
  try {
    const value: unknown = JSON.parse(text);
    // Only an escape can bring in a code unit that UTF-8 and JSON do not allow themselves.
    return hasUnstorable(text) ? clean(value) : value;
  } catch {
    throw badBody('the body is not JSON');
  }
}

/** What `jsonb` refuses may be in it, as an escape. */
export const hasUnstorable = (text: string): boolean => /\\u(0000|d[89a-f])/i.test(text);

/** Throws 400 for anything but UTF-8. */
export function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw badBody('the body is not UTF-8');
  }
}

/** Depth and number of keys of a JSON text, in one pass and without building it. */
export function measure(text: string): { depth: number; keys: number } {
  let level = 0;
  let depth = 0;
  let keys = 0;
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '"') i = endOfString(text, i);
    else if (char === ':') keys++;
    else if (char === '{' || char === '[') depth = Math.max(depth, ++level);
    else if (char === '}' || char === ']') level--;
  }
  return { depth, keys };
}

function clean(value: unknown): unknown {
  if (typeof value === 'string') return cleanText(value);
  if (Array.isArray(value)) return value.map(clean);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [cleanText(key), clean(member)]));
}

/** With the `u` flag a pair is one character, so `\p{Cs}` finds halves only. */
const cleanText = (text: string): string => text.replaceAll('\u0000', '\ufffd').replace(/\p{Cs}/gu, '\ufffd');

const badBody = (message: string, cause?: unknown): OpsError =>
  new OpsError('OPS_011', message, { hint: 'Send one JSON document in UTF-8.', cause });
const wrongType = (message: string, hint: string): Refusal =>
  new Refusal('OPS_017', message, { status: 415, hint });
const tooLarge = (maxBytes: number): Refusal =>
  new Refusal('OPS_017', `the body is larger than ${maxBytes} bytes`, {
    hint: 'Send less at once, or raise OPS_MAX_BODY_BYTES.',
  });
