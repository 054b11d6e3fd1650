import type fc from 'fast-check';
import { OpsError } from '../../../supabase/client/errors.js';
import type { Effect, Model } from './model.js';
import type { Json } from './rows.js';
import type { World } from './world.js';

/** One kind of command: how its arguments are drawn, and what it does. Arguments are plain JSON, so that a program can be kept. */
export type Action = {
  weight: number;
  args: fc.Arbitrary<Json>;
  run(world: World, model: Model, args: Json): Promise<Effect>;
};

/** Ties arguments and body together; what is kept of a program as JSON is trusted to be of that shape. */
export const action = <Args extends Json>(
  weight: number,
  args: fc.Arbitrary<Args>,
  run: (world: World, model: Model, args: Args) => Promise<Effect>,
): Action => ({ weight, args: args as fc.Arbitrary<Json>, run: run as Action['run'] });

/** The code of a refusal that is expected here, or nothing when the call went through. */
export async function refusal(call: Promise<unknown>, ...codes: string[]): Promise<string | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    const code = error instanceof OpsError ? error.code : sqlCode(error);
    if (code !== undefined && codes.includes(code)) return code;
    throw error;
  }
}

const sqlCode = (error: unknown): string | undefined => {
  const { code } = error as { code?: string };
  return code?.startsWith('OP') === true ? `OPS_${code.slice(2)}` : undefined;
};

export function demand(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new Error(otherwise);
}

/** A command that found nothing to do. */
export const nothing: Effect = { quiet: true };
