import type { StepEvent } from '../executors/contract.js';
import { type Json, toJson } from '../executors/json.js';
import type { Written } from './outcome.js';

const mark = '[redacted]';
/** Shorter values are words like `true` or a port: cutting them out would garble results and hide nothing. */
const minLength = 8;

/** A function that cuts the secrets out of every text in a JSON value, keys included. */
export function redactor(secrets: Iterable<string>): (value: Json) => Json {
  const worth = [...secrets]
    .filter((secret) => secret.length >= minLength)
    .sort((a, b) => b.length - a.length);
  const clean = (text: string) => worth.reduce((rest, secret) => rest.replaceAll(secret, mark), text);
  const walk = (value: Json): Json => {
    if (typeof value === 'string') return clean(value);
    if (Array.isArray(value)) return value.map(walk);
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [clean(key), walk(member)]));
  };
  return worth.length === 0 ? (value) => value : walk;
}

/** The outcome as it may be stored and logged by a worker whose executor has read secrets. */
export function withoutSecrets(outcome: Written, secrets: Iterable<string>): Written {
  const clean = redactor(secrets);
  if (outcome.kind === 'release') return outcome;
  if (outcome.kind === 'fail')
    return { kind: 'fail', failure: { ...outcome.failure, error: String(clean(outcome.failure.error)) } };
  const events = clean(toJson(outcome.events)) as StepEvent[];
  return { kind: 'complete', result: clean(outcome.result), events };
}
