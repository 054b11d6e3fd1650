/**
 * A stand-in for a language model's server, which is outside of this machine: it speaks the part of the
 * OpenAI-compatible chat API that we use (platform.openai.com/docs/api-reference/chat), on loopback, and misbehaves
 * on demand. The demo gives it roles to play; tests give it scripts.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline, Readable } from 'node:stream';
import { text as readAll } from 'node:stream/consumers';
import { z } from 'zod';

const Request = z.looseObject({
  model: z.string(),
  messages: z.array(z.looseObject({ role: z.string(), content: z.string().nullish() })),
});

/** What was asked, and how. */
export type Told = { body: z.output<typeof Request>; headers: IncomingMessage['headers']; path: string };

type Tokens = { input: number; output: number; cost?: number };
export type Reply =
  | { text: string; finish?: 'stop' | 'length' | 'content_filter'; tokens?: Tokens | null }
  | { calls: { name: string; arguments: unknown }[]; tokens?: Tokens | null }
  | { refusal: string }
  /** Any status, with the form of an error that the API has unless `body` says otherwise. */
  | { status: number; headers?: Record<string, string>; body?: unknown }
  /** 200 with exactly this body. */
  | { raw: string | Buffer; headers?: Record<string, string> }
  /**
   * `hang`: says nothing. `stall`: half an answer, then nothing. `reset`: half an answer, then the connection breaks.
   * `endless`: an answer without end; with a status an error without end.
   */
  | { misbehave: 'hang' | 'stall' | 'reset' | 'endless'; status?: number };

export type ModelServer = {
  /** With the version, as a provider's base address. */
  url: string;
  /** The latest 1,000 requests, oldest first. */
  told: Told[];
  /** Bytes of endless answers that the other side took. */
  sent(): number;
  close(): Promise<void>;
};

const kept = 1_000;

/** `reply` is asked once per request; `count` is 0 for the first. */
export async function startModelServer(reply: (told: Told, count: number) => Reply): Promise<ModelServer> {
  const told: Told[] = [];
  let count = 0;
  let sent = 0;
  const server = createServer((request, response) => {
    void answer(request, response).catch(() => response.destroy());
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    const parsed = Request.safeParse(JSON.parse((await readAll(request)) || 'null'));
    if (!path.endsWith('/chat/completions') || !parsed.success)
      return send(response, { status: 404, body: { error: { message: `no such path: ${path}` } } });
    const asked = { body: parsed.data, headers: request.headers, path };
    told.push(asked);
    told.splice(0, told.length - kept);
    const given = reply(asked, count++);
    if ('misbehave' in given) misbehave(response, given, (bytes) => (sent += bytes));
    else send(response, given, parsed.data.model);
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    told,
    sent: () => sent,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

function send(response: ServerResponse, reply: Exclude<Reply, { misbehave: unknown }>, model = ''): void {
  if ('raw' in reply) {
    response.writeHead(200, { 'Content-Type': 'application/json', ...reply.headers }).end(reply.raw);
    return;
  }
  const status = 'status' in reply ? reply.status : 200;
  const headers = 'status' in reply ? reply.headers : {};
  const body = 'status' in reply ? (reply.body ?? errorOf(reply.status)) : completion(reply, model);
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body));
}

const errorOf = (status: number) => ({
  error: { message: `status ${status} on purpose`, type: 'stand_in', code: null },
});

function completion(
  reply: Extract<Reply, { text: string } | { calls: unknown } | { refusal: string }>,
  model: string,
) {
  const tokens = 'tokens' in reply ? reply.tokens : undefined;
  return {
    id: 'chatcmpl-1',
    object: 'chat.completion',
    created: 0,
    model,
    choices: [
      { index: 0, finish_reason: finishOf(reply), message: { role: 'assistant', ...messageOf(reply) } },
    ],
    ...(tokens !== null && { usage: usageOf(tokens ?? { input: 100, output: 20 }) }),
  };
}

const finishOf = (reply: Reply): string =>
  'calls' in reply ? 'tool_calls' : 'finish' in reply ? (reply.finish ?? 'stop') : 'stop';

function messageOf(reply: Reply): object {
  if ('refusal' in reply) return { content: null, refusal: reply.refusal };
  if (!('calls' in reply)) return { content: 'text' in reply ? reply.text : null };
  const calls = reply.calls.map(({ name, arguments: given }, index) => ({
    id: `call_${index}`,
    type: 'function',
    function: { name, arguments: typeof given === 'string' ? given : JSON.stringify(given) },
  }));
  return { content: null, tool_calls: calls };
}

const usageOf = ({ input, output, cost }: Tokens) => ({
  prompt_tokens: input,
  completion_tokens: output,
  total_tokens: input + output,
  ...(cost !== undefined && { cost }),
});

const beginning = '{"choices":[{"index":0,"message":{"role":"assistant","content":"';
const piece = 'a'.repeat(65_536);

function misbehave(
  response: ServerResponse,
  { misbehave: how, status = 200 }: Extract<Reply, { misbehave: unknown }>,
  onSent: (bytes: number) => void,
): void {
  if (how === 'hang') return;
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.write(beginning);
  if (how === 'reset') setImmediate(() => response.destroy());
  if (how === 'endless') pipeline(Readable.from(withoutEnd(onSent)), response, () => {});
}

function* withoutEnd(onSent: (bytes: number) => void): Generator<string> {
  for (;;) {
    onSent(piece.length);
    yield piece;
  }
}
