/** Keys: who may call, with which scope, until when, and how often. */
import { z } from 'zod';
import { arg, call, rows, value } from '../call.js';
import { count, timestamp } from '../schemas/values.js';
import * as terms from '../terms.js';

/** What the maker of a key is told; the key itself is known to nobody else. */
export const KeyReceipt = z.object({
  id: z.uuid(),
  label: z.string(),
  scope: z.enum(terms.keyScopes),
  prefix: z.string(),
  created_at: timestamp,
  expires_at: timestamp.nullable(),
  /** The key it took the place of, and until when that one still opens. */
  replaces: z.object({ prefix: z.string(), expires_at: timestamp }).nullable(),
});
export type KeyReceipt = z.infer<typeof KeyReceipt>;

/** `lives_seconds` is null for what has no end. */
export const KeyHolder = z.object({
  id: z.uuid(),
  label: z.string(),
  scope: z.enum(terms.keyScopes),
  lives_seconds: z.number().nullable(),
});

export const RevokedKey = z.object({ label: z.string(), scope: z.enum(terms.keyScopes), prefix: z.string() });

export const ListedKey = z.object({
  place: z.enum(['environment', 'database']),
  id: z.uuid().nullable(),
  /** Of a secret of the environment: the name of its variable. */
  label: z.string(),
  /** That of a key; `operator`, `heartbeat` or `webhook` of a secret of the environment. */
  scope: z.string(),
  prefix: z.string().nullable(),
  state: z.enum(['live', 'replaced', 'expired', 'revoked']),
  age_days: count,
  created_by: z.string().nullable(),
  created_at: timestamp,
  expires_at: timestamp.nullable(),
  last_used_at: timestamp.nullable(),
  rotated_from: z.uuid().nullable(),
  revoked_at: timestamp.nullable(),
  revoked_by: z.string().nullable(),
  revoke_reason: z.string().nullable(),
});
export type ListedKey = z.infer<typeof ListedKey>;

export const KeyProblem = z.object({ severe: z.boolean(), problem: z.string() });

export const RateVerdict = z.object({
  allowed: z.boolean(),
  left: z.int(),
  retry_after_seconds: z.number(),
});

export const keyCalls = {
  createKey: call(
    'ops_create_key',
    {
      label: arg.text,
      scope: arg.oneOf(terms.keyScopes),
      prefix: arg.text,
      hash: arg.text,
      expiresDays: arg.numeric.orDefault,
      actor: arg.text.orDefault,
    },
    value(KeyReceipt),
  ),
  checkKey: call('ops_check_key', { hash: arg.text }, value(KeyHolder.nullable())),
  rotateKey: call(
    'ops_rotate_key',
    {
      key: arg.text,
      prefix: arg.text,
      hash: arg.text,
      graceHours: arg.numeric.orDefault,
      actor: arg.text.orDefault,
    },
    value(KeyReceipt),
  ),
  revokeKey: call(
    'ops_revoke_key',
    { key: arg.text, actor: arg.text.orDefault, reason: arg.text.orDefault },
    rows(RevokedKey),
  ),
  revokeKeys: call(
    'ops_revoke_keys',
    { actor: arg.text.orDefault, reason: arg.text.orDefault },
    value(z.object({ keys: z.int(), sessions: z.int() })),
  ),
  listKeys: call('ops_list_keys', { all: arg.boolean.orDefault }, rows(ListedKey)),
  keyProblems: call('ops_key_problems', {}, rows(KeyProblem)),
  seeSecrets: call(
    'ops_see_secrets',
    { secrets: arg.jsonb(z.record(z.string(), z.string())) },
    value(z.record(z.string(), z.number())),
  ),
  takeRate: call(
    'ops_take_rate',
    { bucket: arg.text, limit: arg.int, windowSeconds: arg.numeric },
    value(RateVerdict),
  ),
};
