/** What a scheme of webhooks is to us. One file per scheme; `webhooks.ts` lists them. */
import type { EventInput } from '../../../supabase/client/schemas/inputs.js';
import type { BodyLimits } from '../body.js';
import type { ControlEnv } from '../env.js';
import { Refusal } from '../problem.js';

/** A request as it came in: nothing in it is believed until its scheme vouches for it. */
export type Delivery = {
  /** Name in the path: says whose secret, and is the event's source. */
  source: string;
  headers: Headers;
  body: Uint8Array;
  receivedAt: Date;
};

export type Payload = Record<string, unknown>;

export type WebhookScheme = {
  limits(env: ControlEnv): BodyLimits;
  /**
   * Throws `OPS_014` unless one of the secrets, of which there is at least one, signed exactly these bytes. Missing:
   * the scheme signs nothing, and its sender shows a bearer token instead.
   */
  verify?(delivery: Delivery, secrets: readonly string[]): void | Promise<void>;
  /** The delivery as one event or a list, after it was believed. Throws `OPS_011` for what the sender would never send. */
  toEvents(delivery: Delivery, payload: Payload): EventInput | EventInput[];
};

/** Seconds that a signed time may lie before or after ours, as the specifications of Stripe and Standard Webhooks have it. */
export const toleranceSeconds = 300;

/**
 * The signed text. Libraries sign text, and decode bytes leniently; a byte that is not UTF-8, or a byte order mark,
 * would not be under the signature. Throws `OPS_014`.
 */
export function signedText(body: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    throw refused('the body is not UTF-8, so no signature can fit it');
  }
}

export const refused = (message: string): Refusal =>
  new Refusal('OPS_014', message, {
    hint: 'Compare the secret in the sender’s settings with ours, and send the body byte by byte as it was signed.',
  });

/** A word of a type behind the prefix, or nothing when it could be no part of one. */
export const typeWord = (word: unknown): string | undefined =>
  typeof word === 'string' && /^[A-Za-z0-9_.-]{1,100}(:[A-Za-z0-9_.-]{1,60})?$/.test(word) ? word : undefined;

/** A payload that went through `parseJson` holds nothing but JSON. */
export const dataOf = (payload: Payload) => payload as NonNullable<EventInput['data']>;
