/** What every shape that openclaw prints means for its step. */
import { describe, expect, test } from 'vitest';
import { StepError } from '../../local/executors/contract.js';
import { readSaid } from '../../local/executors/openclaw/envelope.js';
import { Params } from '../../local/executors/openclaw/params.js';
import { type Ended, judge } from '../../local/executors/openclaw/verdict.js';
import {
  cliError,
  embeddedTurn,
  envelope,
  failedEnvelope,
  thrownEnvelope,
  turn,
} from '../support/openclaw/shapes.js';

type End = {
  out?: string;
  err?: string;
  code?: number | null;
  signal?: NodeJS.Signals;
  ending?: Ended['finished']['ending'];
  fellBack?: boolean;
};

/** The outcome and class of the failure with its text, or the text of the answer. */
function judged(end: End, asked: object): unknown {
  const params = Params.parse({ message: 'm', ...asked });
  if (params.mode === 'gateway') throw new Error('that mode starts no program');
  const { out = '', err = '', code = 0, signal = null, ending = 'exited', fellBack = false } = end;
  const stderr = { text: err, bytes: err.length, truncated: false };
  try {
    const said = readSaid(out, params.mode);
    return judge({ params, finished: { ending, code, signal, stderr }, said, fellBack }).text;
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    return [error.outcome, error.errorClass, error.message];
  }
}
const fails = (outcome: string, errorClass: string, words = '') => [
  outcome,
  errorClass,
  expect.stringContaining(words),
];

const exec = { mode: 'exec' };
const withTools = { mode: 'exec', tools: ['read'] };
const agent = { mode: 'agent', agent: 'ops' };
const text = 'The tests pass.';
const used = { toolSummary: { calls: 1, tools: ['read'] } };

describe('agent exec', () => {
  test.each<[string, End, object, unknown]>([
    ['a clean envelope', { out: envelope() }, exec, text],
    ['noise before it', { out: `[plugins] {"level":"info"}\n${envelope()}` }, exec, text],
    ['noise behind it', { out: `${envelope()}\n{"status":"ok","result":{}}\n{"meta":{}}` }, exec, text],
    [
      'an error of somebody else behind it',
      { out: `${envelope()}\n${cliError('plugin failed')}` },
      exec,
      text,
    ],
    ['empty payloads', { out: envelope({ final: '', payloads: [] }) }, exec, ''],
    ['no final text', { out: envelope({ final: undefined }) }, exec, text],
    [
      'ended by us when it was complete',
      { out: envelope(), ending: 'aborted', code: null, signal: 'SIGTERM' },
      withTools,
      text,
    ],
    [
      'exit 1, no tools',
      { code: 1, out: thrownEnvelope('reset') },
      exec,
      fails('retryable', 'AgentFailed', 'reset'),
    ],
    ['exit 1, no reason', { code: 1, out: failedEnvelope('') }, exec, fails('retryable', 'AgentFailed')],
    [
      'exit 1, no tool used',
      { code: 1, out: failedEnvelope('x') },
      withTools,
      fails('retryable', 'AgentFailed'),
    ],
    [
      'exit 1 after a tool',
      { code: 1, out: failedEnvelope('x', used) },
      withTools,
      fails('unknown', 'AgentFailed', 'x'),
    ],
    [
      'exit 1 after a call behind its tool search',
      { code: 1, out: failedEnvelope('x', { bridgeCalls: { search: 1, call: 2 } }) },
      withTools,
      fails('unknown', 'AgentFailed'),
    ],
    [
      'an exception, tools given',
      { code: 1, out: thrownEnvelope('rate limit') },
      withTools,
      fails('unknown', 'AgentFailed'),
    ],
    [
      'a rate limit',
      { code: 1, out: thrownEnvelope('⚠️ API rate limit reached. Please try again later.') },
      exec,
      fails('rate_limited', 'RateLimited'),
    ],
    [
      'a refused login',
      { code: 1, out: thrownEnvelope('m1 request failed (authentication failed, HTTP 401).') },
      exec,
      fails('permanent', 'Login'),
    ],
    [
      'a refused request',
      { code: 1, out: thrownEnvelope('LLM request failed: provider rejected the request schema') },
      exec,
      fails('permanent', 'ModelRequest'),
    ],
    [
      'a thinking level that the model has not',
      { code: 1, out: thrownEnvelope('Invalid thinking level. Use one of: off.') },
      exec,
      fails('permanent', 'Refused'),
    ],
    [
      'a command line it does not take',
      { code: 1, out: cliError('OpenClaw does not recognize option "--x".') },
      withTools,
      fails('permanent', 'Refused'),
    ],
    [
      'exit 2',
      { code: 2, out: envelope({ ok: false, status: 'timeout' }) },
      exec,
      fails('unknown', 'TimedOut'),
    ],
    [
      'a timeout with exit 1',
      { code: 1, out: envelope({ ok: false, status: 'timeout' }) },
      exec,
      fails('unknown', 'TimedOut'),
    ],
    ['exit 2, nothing said', { code: 2 }, exec, fails('unknown', 'Unreadable')],
    ['exit 0, nothing said', { out: 'all good\n' }, exec, fails('unknown', 'Unreadable')],
    ['half an answer', { out: envelope().slice(0, -40) }, exec, fails('unknown', 'Unreadable')],
    ['an answer of another command', { out: turn() }, exec, fails('unknown', 'Unreadable')],
    [
      'exit 143',
      { code: 143, err: 'ended' },
      exec,
      fails('unknown', 'Unreadable', '143 without an answer that can be read: ended'),
    ],
    ['a signal', { code: null, signal: 'SIGKILL' }, exec, fails('unknown', 'Unreadable', 'SIGKILL')],
    ['ended by us', { ending: 'aborted', code: null }, exec, fails('unknown', 'Interrupted')],
    ['out of our time', { ending: 'timed_out', code: null }, exec, fails('unknown', 'TimedOut')],
    [
      'ended by us after it failed',
      { ending: 'aborted', code: 1, out: failedEnvelope('x') },
      exec,
      fails('unknown', 'Interrupted', '019a-session'),
    ],
    [
      'an answer, but exit 3',
      { code: 3, out: envelope() },
      exec,
      fails('unknown', 'AgentFailed', 'exited with 3'),
    ],
    ['not ok, but exit 0', { out: failedEnvelope('x') }, exec, fails('unknown', 'AgentFailed')],
    [
      'ok and an error',
      { out: envelope({ error: { message: 'x' } }) },
      exec,
      fails('unknown', 'AgentFailed'),
    ],
    [
      'a status that nobody knows',
      { out: envelope({ status: 'partial' }) },
      exec,
      fails('unknown', 'AgentFailed'),
    ],
  ])('%s', (_, end, params, expected) => {
    expect(judged(end, params)).toEqual(expected);
  });
});

describe('agent', () => {
  const lost = { runId: 'run-9', origin: 'gateway' };
  test.each<[string, End, unknown]>([
    ["a Gateway's turn", { out: turn() }, text],
    ['a turn whose model fell back', { out: turn({}, { executionTrace: { runner: 'embedded' } }) }, text],
    ['noise that looks like a turn', { out: `${turn()}\n{"level":"info","meta":{"plugin":"x"}}\n` }, text],
    ['empty payloads', { out: turn({}, {}, []) }, ''],
    ['payloads that are none', { out: turn({}, { finalAssistantVisibleText: 'Yes.' }, 'none') }, 'Yes.'],
    ['a turn in openclaw itself', { out: embeddedTurn() }, fails('unknown', 'EmbeddedFallback')],
    ['one without payloads', { out: '{"meta":{"durationMs":1}}' }, fails('unknown', 'EmbeddedFallback')],
    [
      'the mark of a fallback',
      { out: turn({}, { transport: 'embedded', fallbackFrom: 'gateway' }) },
      fails('unknown', 'EmbeddedFallback'),
    ],
    ['another mark', { out: turn({}, { fallbackFrom: 'gateway' }) }, fails('unknown', 'EmbeddedFallback')],
    [
      'an older mark',
      { out: turn({}, { fallbackReason: 'gateway_timeout' }) },
      fails('unknown', 'EmbeddedFallback'),
    ],
    [
      'a newer mark',
      { out: turn({}, { fallback: { reason: 'closed' } }) },
      fails('unknown', 'EmbeddedFallback'),
    ],
    [
      'the session of a fallback',
      { out: turn({}, { agentMeta: { sessionId: 'gateway-fallback-1' } }) },
      fails('unknown', 'EmbeddedFallback'),
    ],
    [
      'the run of a fallback',
      { out: turn({ runId: 'gateway-fallback-1' }) },
      fails('unknown', 'EmbeddedFallback'),
    ],
    ['a fallback seen on its way', { out: turn(), fellBack: true }, fails('unknown', 'EmbeddedFallback')],
    ['a duplicate', { out: turn({ status: 'in_flight' }, {}, []) }, fails('unknown', 'InFlight', 'run-1')],
    [
      'a duplicate, exit 1',
      { code: 1, out: '{"runId":"r","status":"in_flight"}' },
      fails('unknown', 'InFlight'),
    ],
    ['a status that nobody knows', { out: turn({ status: 'accepted' }) }, fails('unknown', 'AgentFailed')],
    ['ok without a result', { out: turn({ result: undefined }) }, fails('unknown', 'AgentFailed')],
    ['a timeout', { code: 1, out: turn({ status: 'timeout' }) }, fails('unknown', 'TimedOut', 'run-1')],
    [
      'an error',
      { code: 1, out: turn({ status: 'error', summary: 'no model' }) },
      fails('unknown', 'AgentFailed', 'no model'),
    ],
    [
      'an error among the payloads',
      { out: turn({}, {}, [{ text: 'broke', isError: true }]) },
      fails('unknown', 'AgentFailed', 'broke'),
    ],
    ['an aborted turn', { out: turn({}, { aborted: true }) }, fails('unknown', 'AgentFailed')],
    ['an error stop', { out: turn({}, { stopReason: 'error' }) }, fails('unknown', 'AgentFailed')],
    [
      'a Gateway lost with the turn',
      { code: 1, out: cliError('gateway closed (1006)', lost) },
      fails('unknown', 'GatewayLost', 'run-9'),
    ],
    [
      'a Gateway lost with a turn it refused',
      { code: 1, out: cliError('Unknown agent', lost) },
      fails('unknown', 'GatewayLost'),
    ],
    [
      'a Gateway lost, and no more known',
      { code: 1, out: cliError('gateway closed (1006)') },
      fails('unknown', 'GatewayLost'),
    ],
    [
      'a Gateway that is not there',
      { code: 1, out: cliError('Gateway not reachable at ws://127.0.0.1:18789 (ECONNREFUSED).') },
      fails('retryable', 'GatewayAway'),
    ],
    [
      'an unknown agent',
      { code: 1, out: cliError('Unknown agent id "ops".') },
      fails('permanent', 'Refused'),
    ],
    [
      'a wrong token',
      { code: 1, out: cliError('unauthorized: gateway token mismatch') },
      fails('permanent', 'Login'),
    ],
    ['exit 130', { code: 130 }, fails('unknown', 'Unreadable')],
    ['an envelope of another command', { out: envelope() }, fails('unknown', 'EmbeddedFallback')],
  ])('%s', (_, end, expected) => {
    expect(judged(end, agent)).toEqual(expected);
  });

  test.each<[string, string | undefined, unknown]>([
    ['sent', 'sent', text],
    ['suppressed', 'suppressed', text],
    ['in part', 'partial_failed', fails('permanent', 'NotDelivered', 'partial_failed, no_target')],
    ['not at all', 'failed', fails('permanent', 'NotDelivered')],
    ['without a word', undefined, fails('unknown', 'DeliveryUnknown')],
  ])('a reply to be delivered: %s', (_, status, expected) => {
    const deliveryStatus = status && { status, reason: 'no_target' };
    expect(judged({ out: turn({ deliveryStatus }) }, { ...agent, deliver: true })).toEqual(expected);
    expect(judged({ out: turn({ deliveryStatus }) }, agent)).toBe(text);
  });

  test('asked to run in openclaw itself, that is where it is believed', () => {
    const local = { ...agent, local: true };
    expect(judged({ out: embeddedTurn() }, local)).toBe(text);
    expect(judged({ out: embeddedTurn({ fallbackFrom: 'gateway' }) }, local)).toEqual(
      fails('unknown', 'EmbeddedFallback'),
    );
  });
});
