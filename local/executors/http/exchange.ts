/** One request to addresses that were admitted, and its answer, bounded in time and bytes. No redirect is followed. */
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream';
import { TextDecoder } from 'node:util';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { Agent, type Dispatcher, request } from 'undici';
import { pinnedConnector, type Resolved } from './guard.js';

export type Wire = {
  method: Dispatcher.HttpMethod;
  url: URL;
  /** Names in lower case. */
  headers: Readonly<Record<string, string>>;
  body?: string | undefined;
};
export type Answer = {
  status: number;
  headers: Readonly<Record<string, string>>;
  text: string;
  /** Bytes that were read, after decompression. */
  bytes: number;
  truncated: boolean;
};
/** `sent` false: nothing has left this machine. */
export type Exchanged = { ok: true; answer: Answer } | { ok: false; sent: boolean; cause: unknown };

/** Long enough for a far host, short enough to try another. */
const connectMs = 10_000;

export async function exchange(
  wire: Wire,
  addresses: readonly Resolved[],
  { signal, keepBytes }: { signal: AbortSignal; keepBytes: number },
): Promise<Exchanged> {
  let sent = false;
  const connect = pinnedConnector(addresses, connectMs, () => {
    sent = true;
  });
  // The signal bounds the whole, so the client's own limits only have to be out of its way.
  const dispatcher = new Agent({ connect, headersTimeout: 0, bodyTimeout: 0 });
  try {
    signal.throwIfAborted();
    const response = await request(wire.url, {
      method: wire.method,
      headers: { ...wire.headers },
      body: wire.body ?? null,
      dispatcher,
      signal,
    });
    return { ok: true, answer: await readAnswer(response, keepBytes) };
  } catch (cause) {
    return { ok: false, sent, cause };
  } finally {
    await dispatcher.destroy();
  }
}

async function readAnswer(response: Dispatcher.ResponseData, keepBytes: number): Promise<Answer> {
  const headers = flat(response.headers);
  const { chunks, bytes, truncated } = await readSome(decoded(response.body, headers), keepBytes);
  const decoder = textDecoder(headers['content-type'] ?? '');
  // A character cut in half at the end is left out.
  const text = decoder.decode(Buffer.concat(chunks), { stream: truncated });
  return { status: response.statusCode, headers, text, bytes, truncated };
}

async function readSome(body: AsyncIterable<Buffer>, keepBytes: number) {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    const room = keepBytes - bytes;
    chunks.push(chunk.subarray(0, room));
    bytes += Math.min(chunk.length, room);
    // Leaving the loop ends the connection: what else it would send is nobody's business.
    if (chunk.length > room) return { chunks, bytes, truncated: true };
  }
  return { chunks, bytes, truncated: false };
}

/** We ask for none, but some servers compress all the same. */
function decoded(body: Readable, headers: Readonly<Record<string, string>>): Readable {
  const decoder = decoderOf(headers['content-encoding'] ?? 'identity');
  // An error of either side comes out of the iteration over the decoder.
  return decoder === undefined ? body : pipeline(body, decoder, () => {});
}

function decoderOf(encoding: string) {
  if (/^(x-)?gzip$/i.test(encoding)) return createGunzip();
  if (/^deflate$/i.test(encoding)) return createInflate();
  return /^br$/i.test(encoding) ? createBrotliDecompress() : undefined;
}

/** UTF-8 unless the answer names another character set that is known here. */
function textDecoder(contentType: string): TextDecoder {
  const [, label = 'utf-8'] = /;\s*charset="?([\w-]+)"?/i.exec(contentType) ?? [];
  try {
    return new TextDecoder(label);
  } catch {
    return new TextDecoder();
  }
}

const flat = (headers: Dispatcher.ResponseData['headers']): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value]],
    ),
  );
