/**
 * Keys of callers. One is made in the process that hands it out and shown once; the database gets its SHA-256 and a
 * prefix to know it by. A key reads `ops_<scope>_<8 hex digits>_<64 hex digits>`: the first three parts are the prefix,
 * the last 256 random bits, which is why a bare hash is enough and a salt or a slow hash would add nothing.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { KeyScope } from './terms.js';

export type NewKey = { key: string; prefix: string; hash: string };

/** Makes a key that nobody has seen yet. */
export function newKey(scope: KeyScope): NewKey {
  const prefix = `ops_${scope}_${randomBytes(4).toString('hex')}`;
  const key = `${prefix}_${randomBytes(32).toString('hex')}`;
  return { key, prefix, hash: hashOf(key) };
}

/** Whether a text has the form of a key: nothing else is ever looked up. */
export const isKey = (text: string): boolean => /^ops_[a-z]{1,20}_[0-9a-f]{8}_[0-9a-f]{64}$/.test(text);

/** SHA-256 in hex, as the database stores it. */
export const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('hex');
