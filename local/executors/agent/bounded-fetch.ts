import { AnswerTooLarge } from './fault.js';

export type FetchOptions = { maxBytes: number; key: string | undefined };

/** All that a provider is told beside the request itself; the library adds more, also from variables of its own. */
const toldHeaders = ['accept', 'content-type', 'user-agent'];

/**
 * `fetch` for talking to one provider: sends only the headers that it needs, follows no redirect, since the key would
 * go along, and reads at most so many bytes of a body, counted after decompression while they come in.
 */
export const boundedFetch =
  ({ maxBytes, key }: FetchOptions): typeof fetch =>
  async (input, init) => {
    const response = await fetch(input, { ...init, headers: needed(init?.headers, key), redirect: 'error' });
    if (response.body === null) return response;
    const { status, statusText, headers } = response;
    return new Response(response.body.pipeThrough(upTo(maxBytes)), { status, statusText, headers });
  };

function needed(given: RequestInit['headers'], key: string | undefined): Headers {
  const headers = new Headers();
  for (const [name, value] of new Headers(given)) if (toldHeaders.includes(name)) headers.set(name, value);
  if (key !== undefined) headers.set('authorization', `Bearer ${key}`);
  return headers;
}

/** Breaks off behind the bound, which also ends the connection. */
function upTo(maxBytes: number): TransformStream<Uint8Array, Uint8Array> {
  let seen = 0;
  return new TransformStream({
    transform(chunk, controller) {
      seen += chunk.byteLength;
      if (seen > maxBytes) controller.error(new AnswerTooLarge(`more than ${maxBytes} bytes`));
      else controller.enqueue(chunk);
    },
  });
}
