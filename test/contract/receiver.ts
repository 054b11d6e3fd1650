/** A stand-in for servers that steps call: listens on loopback, keeps what it got, answers what a test says. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeEach } from 'vitest';

export type Received = { method: string; path: string; headers: IncomingHttpHeaders; body: string };
export type Reply = (response: ServerResponse, received: Received) => void;

export type Receiver = {
  /** `http://127.0.0.1:<port>`, which is also its entry in allowed_hosts. */
  origin: string;
  /** What came in since the test began. */
  readonly received: Received[];
  /** How the next requests are answered; the last one stays. Default 200 without a body. */
  answer(...replies: Reply[]): void;
};

/** Status, headers and body as one reply; an object becomes JSON. */
export const reply =
  (status: number, body: string | Buffer | object = '', headers: Record<string, string> = {}): Reply =>
  (response) => {
    const raw = typeof body === 'string' || Buffer.isBuffer(body);
    const type = raw ? {} : { 'content-type': 'application/json' };
    response.writeHead(status, { ...type, ...headers }).end(raw ? body : JSON.stringify(body));
  };

/** Takes the request and hangs up without a word. */
export const hangUp: Reply = (response) => void response.socket?.destroy();
/** Takes the request and never answers. */
export const saysNothing: Reply = () => {};

/** To be awaited at the top of a test file, so that its address is there when tests are declared. */
export async function openReceiver(): Promise<Receiver> {
  const received: Received[] = [];
  let replies: Reply[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { method = '', url: path = '', headers } = request;
    const one = { method, path, headers, body: Buffer.concat(chunks).toString() };
    received.push(one);
    const [next = reply(200)] = replies.length > 1 ? replies.splice(0, 1) : replies;
    next(response, one);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  beforeEach(() => {
    received.length = 0;
    replies = [];
  });
  afterAll(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    answer: (...next) => {
      replies = next;
    },
  };
}
