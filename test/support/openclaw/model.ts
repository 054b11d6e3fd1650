/**
 * A stand-in for a model behind an OpenAI-compatible API, for the real OpenClaw: streams chat completions on loopback.
 * What it does stands in the message: "Call <tool> <json>" calls that tool once and then repeats what came of it,
 * "Refuse" is a 400, "Say nothing" leaves the request open, anything else is answered with one sentence.
 */
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

type Message = { role: string; content: unknown };
type Asked = { model: string; messages: Message[]; tools?: { function: { name: string } }[] };
export type Model = {
  /** The base URL of the API. */
  url: string;
  /** The names of the tools that each request offered, oldest first. */
  offered: string[][];
  close(): Promise<void>;
};

export const answer = 'The focused tests pass.';
/** Tokens of every answer. */
export const usage = { prompt_tokens: 120, completion_tokens: 8, total_tokens: 128 };

export async function startModel(): Promise<Model> {
  const offered: string[][] = [];
  const server = createServer(async (request, response) => {
    const asked = JSON.parse(await text(request)) as Asked;
    offered.push((asked.tools ?? []).map(({ function: { name } }) => name));
    reply(asked, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    offered,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function reply(asked: Asked, response: ServerResponse): void {
  const said = textOf(asked.messages);
  if (said.includes('Say nothing')) return;
  if (said.includes('Refuse'))
    response.writeHead(400, { 'content-type': 'application/json' }).end('{"error":{"message":"no"}}');
  else stream(asked, response, deltaOf(asked, said));
}

function deltaOf({ messages }: Asked, said: string): object {
  const [, name, json] = /Call (\w+) (\{.*\})$/m.exec(said) ?? [];
  const result = messages.findLast(({ role }) => role === 'tool');
  if (result !== undefined) return { content: `It said: ${flat(result.content).slice(0, 300)}` };
  if (name === undefined) return { content: answer };
  return { tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name, arguments: json } }] };
}

const flat = (content: unknown): string => (typeof content === 'string' ? content : JSON.stringify(content));
const textOf = (messages: Message[]): string =>
  messages
    .filter(({ role }) => role === 'user')
    .flatMap(({ content }) =>
      Array.isArray(content) ? content.map((part: { text?: string }) => part.text ?? '') : [flat(content)],
    )
    .join('\n');

function stream({ model }: Asked, response: ServerResponse, delta: object): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = (chunk: object) =>
    response.write(
      `data: ${JSON.stringify({ id: 'c1', object: 'chat.completion.chunk', created: 1, model, ...chunk })}\n\n`,
    );
  const finish = 'tool_calls' in delta ? 'tool_calls' : 'stop';
  send({ choices: [{ index: 0, delta: { role: 'assistant', ...delta }, finish_reason: null }] });
  send({ choices: [{ index: 0, delta: {}, finish_reason: finish }] });
  send({ choices: [], usage });
  response.end('data: [DONE]\n\n');
}
