/** Every shape that openclaw is documented or known to print, as the JSON text of its stdout. */

const figures = {
  usage: { input: 120, output: 8, cacheRead: 0, cacheWrite: 0, total: 128, cost: { total: 0.00038 } },
  costUsd: 0.00038,
  assistantTurns: 1,
  model: 'm1',
  provider: 'standin',
  sessionId: '019a-session',
};
const payloads = [{ text: 'The tests pass.', mediaUrl: null }];
type Fields = { [name: string]: unknown };

/** `agent exec --json`. */
export const envelope = (over: Fields = {}): string =>
  JSON.stringify(
    { ok: true, status: 'ok', final: 'The tests pass.', payloads, ...figures, ...over },
    null,
    2,
  );

export const failedEnvelope = (message: string, over: Fields = {}): string =>
  envelope({
    ...{ ok: false, status: 'error', final: '', payloads: [] },
    ...{ error: { message, kind: 'agent_error' }, ...over },
  });

/** What `agent exec` prints when something was thrown: nobody knows how far it had come. */
export const thrownEnvelope = (message: string): string =>
  JSON.stringify({
    ...{ ok: false, status: 'error', final: '', payloads: [], model: null, provider: null },
    ...{ sessionId: '019a-session', error: { message, kind: 'exception' } },
  });

/** `agent --json`, run by a Gateway. */
export const turn = (over: Fields = {}, meta: Fields = {}, said: unknown = payloads): string =>
  JSON.stringify(
    {
      ...{ runId: 'run-1', status: 'ok', summary: 'completed' },
      result: { payloads: said, meta: { durationMs: 292, agentMeta: figures, ...meta } },
      ...over,
    },
    null,
    2,
  );

/** `agent --json`, run in openclaw's own process. */
export const embeddedTurn = (meta: Fields = {}): string =>
  JSON.stringify({ payloads, meta: { durationMs: 292, agentMeta: figures, ...meta } });

/** Any command that failed as a command. */
export const cliError = (message: string, over: Fields = {}): string =>
  JSON.stringify({ ok: false, error: { type: 'cli_error', message }, ...over });
