/** How it goes, and why: counts, the explanation of one row, and the causal tree around it. Nothing here writes. */
import { z } from 'zod';
import type { AppDeps, Handler } from './deps.js';
import { checkInput } from './input.js';

const Id = z.strictObject({ id: z.uuid() });

export function showStatus({ port }: AppDeps): Handler {
  return async (c) => c.json(await port.status());
}

/** The id of an event, a proposal, a mission or a step. */
export function explain({ port }: AppDeps): Handler {
  return async (c) => c.json(await port.why(checkInput(Id, c.req.param())));
}

export function showTrace({ port }: AppDeps): Handler {
  return async (c) => c.json(await port.trace(checkInput(Id, c.req.param())));
}
