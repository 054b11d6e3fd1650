/** What a sender of webhooks is to us. One file per sender; `webhooks.ts` lists them. */
import type { EventInput } from '../../../supabase/client/schemas/inputs.js';
import type { BodyLimits } from '../body.js';
import type { ControlEnv } from '../env.js';

export type WebhookSource = {
  limits(env: ControlEnv): BodyLimits;
  /** The secrets that are live, the current one first; none means that every delivery is refused. */
  secrets(env: ControlEnv): string[];
  /** What to set when there is no secret, for the hint. */
  variable: string;
  /** Throws `OPS_014` unless one of `secrets` signed exactly these bytes. */
  verify(headers: Headers, body: Uint8Array, secrets: string[]): Promise<void>;
  /** The delivery as an event, after its signature held. Throws `OPS_011` for what the sender would never send. */
  toEvent(headers: Headers, body: Uint8Array, payload: Record<string, unknown>): EventInput;
};
