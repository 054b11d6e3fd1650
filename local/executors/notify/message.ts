import type { Answer } from '../http/exchange.js';

/** What is to be told, whichever way it goes. */
export type Message = {
  title?: string | undefined;
  text: string;
  /** An address that is shown as it is. */
  link?: string | undefined;
  decide?: Decide | undefined;
};
/** The two links of a proposal that waits, as full addresses. */
export type Decide = { approve: string; reject: string; expiresAt: string; proposalId: string };

/** `2026-11-20 08:00 UTC`, for people. */
export const inWords = ({ expiresAt }: Decide): string =>
  `${new Date(expiresAt).toISOString().slice(0, 16).replace('T', ' ')} UTC`;

/** One request that delivers it. */
export type Delivery = { url: string; headers?: Record<string, string>; body: string };

/** How one kind of channel is spoken to. */
export type Speech = {
  /** Entries of allowed_hosts that need no granting: the provider's own. */
  hosts: readonly string[];
  /** Whether its receiver knows a message that comes twice. */
  mayRepeat: boolean;
  deliver(message: Message, given: Given): Delivery;
  /** Seconds the answer asks to wait, where it says so beside Retry-After. */
  wait?(answer: Answer): number | undefined;
  messageId?(answer: Answer): string | undefined;
};

/** What policy and environment say about the channel, and the step that speaks. */
export type Given = {
  /** A field of the channel; throws a permanent `StepError` when policy has none. */
  field(name: 'url' | 'chat_id'): string;
  optional(name: 'url'): string | undefined;
  /** The value of the variable that the field names; throws likewise. */
  secret(name: 'url_secret' | 'token_secret' | 'signing_secret'): string;
  stepId: string;
  missionId: string;
  now: Date;
};

/** The answer's body as an object, empty for anything else. */
export function bodyOf({ text }: Answer): Record<string, unknown> {
  try {
    const body: unknown = JSON.parse(text);
    return typeof body === 'object' && body !== null ? { ...body } : {};
  } catch {
    return {};
  }
}

export const numberIn = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined;
