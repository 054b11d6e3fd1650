/**
 * Whether a deployment works, asked from outside as its callers ask: it lives, it is ready, it refuses who has no key, it
 * decides an event, and a worker carries out a mission. The mission is a dry run, so nothing but rows is left behind; the
 * event and the proposal have the key of this run, so asking twice makes them once.
 */
import { randomUUID } from 'node:crypto';
import type { Ask } from './ask.js';
import { type Look, looks, type Run } from './looks.js';

export type Check = { check: string; result: 'ok' | 'failed' | 'skipped'; took_ms: number; detail: string };
export type SmokeOptions = {
  ask: Ask;
  /** OPS_API_KEY of the deployment, or a key of scope operator. */
  key: string;
  /** How long decision and mission may take, each. */
  waitMs: number;
};

/** Every check in order; one whose ground has failed is skipped. Never throws. */
export async function smoke(options: SmokeOptions): Promise<Check[]> {
  const run: Run = { ...options, id: randomUUID(), found: {} };
  const checks: Check[] = [];
  for (const look of looks) {
    const missing = look.after.find((name) => checks.some((c) => c.check === name && c.result !== 'ok'));
    checks.push(missing === undefined ? await lookOnce(look, run) : skipped(look, missing));
  }
  return checks;
}

async function lookOnce({ name, look }: Look, run: Run): Promise<Check> {
  const startedAt = performance.now();
  const done = (result: Check['result'], detail: string): Check => {
    return { check: name, result, took_ms: Math.round(performance.now() - startedAt), detail };
  };
  try {
    return done('ok', await look(run));
  } catch (error) {
    return done('failed', error instanceof Error ? error.message : String(error));
  }
}

const skipped = ({ name }: Look, missing: string): Check => ({
  ...{ check: name, result: 'skipped', took_ms: 0 },
  detail: `needs: ${missing}`,
});
