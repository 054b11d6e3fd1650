/**
 * The engine as TypeScript sees it: one typed method per SQL function, nothing else. The functions are described in
 * `calls/`, a file a subject. A method sends one call, parses what goes out and what comes back, and throws `OpsError`.
 * Every function is a transaction of its own.
 */
import { z } from 'zod';
import { type Arguments, type Call, type Param, type Request, sqlName } from './call.js';
import { beatCalls } from './calls/beats.js';
import { budgetCalls } from './calls/budgets.js';
import { deadLetterCalls } from './calls/dead-letters.js';
import { eventCalls } from './calls/events.js';
import { explanationCalls } from './calls/explanations.js';
import { keyCalls } from './calls/keys.js';
import { linkCalls } from './calls/links.js';
import { llmCalls } from './calls/llm.js';
import { missionCalls } from './calls/missions.js';
import { monitoringCalls } from './calls/monitoring.js';
import { policyCalls } from './calls/policies.js';
import { proposalCalls } from './calls/proposals.js';
import { radarCalls } from './calls/radar.js';
import { scheduleCalls } from './calls/schedules.js';
import { sessionCalls } from './calls/sessions.js';
import { simulationCalls } from './calls/simulation.js';
import { spanCalls } from './calls/spans.js';
import { stepCalls } from './calls/steps.js';
import { upkeepCalls } from './calls/upkeep.js';
import { workerCalls } from './calls/workers.js';
import { OpsError } from './errors.js';

export const calls = {
  ...eventCalls,
  ...beatCalls,
  ...scheduleCalls,
  ...proposalCalls,
  ...linkCalls,
  ...missionCalls,
  ...stepCalls,
  ...workerCalls,
  ...deadLetterCalls,
  ...radarCalls,
  ...policyCalls,
  ...simulationCalls,
  ...keyCalls,
  ...sessionCalls,
  ...explanationCalls,
  ...budgetCalls,
  ...llmCalls,
  ...monitoringCalls,
  ...upkeepCalls,
  ...spanCalls,
};

type Calls = typeof calls;
type Method<C> =
  C extends Call<infer P, infer R>
    ? // biome-ignore lint/complexity/noBannedTypes: an empty parameter list is exactly `{}`
      {} extends Arguments<P>
      ? (args?: Arguments<P>, options?: CallOptions) => Promise<R>
      : (args: Arguments<P>, options?: CallOptions) => Promise<R>
    : never;

/** One method per SQL function. */
export type OpsPort = { [K in keyof Calls]: Method<Calls[K]> };

export type CallOptions = { deadlineMs?: number };

/** An adapter: sends one function call and answers its rows (or its one value, in a list of one). */
export type Transport = (request: Request, options: CallOptions) => Promise<unknown[]>;

/** Builds the port over an adapter. Throws `OPS_011` for arguments that don't fit, whatever `Transport` throws. */
export function createPort(send: Transport): OpsPort {
  const methods = Object.entries(calls).map(([name, c]) => [name, method(c as AnyCall, send)]);
  return Object.fromEntries(methods) as OpsPort;
}

type AnyCall = Call<Record<string, Param<unknown>>, unknown>;

function method(c: AnyCall, send: Transport) {
  return async (args: Record<string, unknown> = {}, options: CallOptions = {}): Promise<unknown> => {
    const { kind, exact } = c.shape;
    const answer = await send({ fn: c.fn, args: encode(c, args), kind, ...(exact && { exact }) }, options);
    const parsed = c.shape.schema.safeParse(kind === 'rows' ? answer : answer[0]);
    if (parsed.success) return parsed.data;
    const problem = z.prettifyError(parsed.error);
    throw new OpsError('OPS_013', `${c.fn} answered what this code does not expect: ${problem}`, {
      hint: 'Run `ops-loop migrate` so that schema and code match.',
    });
  };
}

function encode({ fn, params }: AnyCall, args: Record<string, unknown>): Request['args'] {
  const stray = Object.keys(args).find((name) => !(name in params));
  if (stray !== undefined) throw new OpsError('OPS_011', `${fn} takes no argument ${stray}`);
  return Object.entries(params).flatMap(([name, { sql, schema }]) => {
    const parsed = schema.safeParse(args[name]);
    if (!parsed.success)
      throw new OpsError('OPS_011', `${fn}: ${name}: ${z.prettifyError(parsed.error)}`, {
        detail: parsed.error.issues,
        hint: 'Correct the named argument and call again.',
      });
    return parsed.data === undefined ? [] : [{ name: sqlName(name), sql, value: parsed.data }];
  });
}
