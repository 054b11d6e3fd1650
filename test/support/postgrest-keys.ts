/**
 * Part of the stand-in for PostgREST: whose request it is. The gateway knows a project's keys (supabase.com/docs, API keys)
 * and PostgREST its tokens (docs.postgrest.org, Authentication).
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { Refusal } from './postgrest-call.js';

export type Claims = Record<string, unknown>;
/** The legacy pair are tokens, the new pair are not. */
export type Keys = { service: string; anon: string; secret: string; publishable: string };
export type Gate = {
  keys: Keys;
  /** A token that says so, signed as the project would. */
  sign(claims: Claims): string;
  /** Throws what gateway or PostgREST would answer. */
  admit(headers: IncomingHttpHeaders): Claims;
};

/** PostgREST's allowance for clocks that differ. */
const skewSeconds = 30;

export function createGate(): Gate {
  const secret = randomBytes(32);
  const sign = (claims: Claims): string => signToken(secret, claims);
  const opaque = (): string => randomBytes(16).toString('hex');
  const keys = {
    service: sign({ iss: 'supabase', role: 'service_role' }),
    anon: sign({ iss: 'supabase', role: 'anon' }),
    secret: `sb_secret_${opaque()}`,
    publishable: `sb_publishable_${opaque()}`,
  };
  return { keys, sign, admit: (headers) => admit(headers, keys, secret) };
}

function admit(headers: IncomingHttpHeaders, keys: Keys, secret: Buffer): Claims {
  const apikey = String(headers.apikey ?? '');
  if (apikey === '') throw new Refusal(401, '', 'No API key found in request');
  if (!Object.values(keys).includes(apikey))
    throw new Refusal(401, '', 'Invalid API key', 'Double check your Supabase API key.');
  const bearer = /^bearer (.*)$/i.exec(headers.authorization ?? '')?.[1];
  // Of a key that is no token the gateway makes a short-lived one; beside it, only the same again is no bad token.
  if (bearer === undefined || bearer === apikey) {
    if (apikey === keys.secret) return { role: 'service_role' };
    if (apikey === keys.publishable) return { role: 'anon' };
  }
  return bearer === undefined ? { role: 'anon' } : claimsOf(bearer, secret);
}

function claimsOf(token: string, secret: Buffer): Claims {
  const [head = '', payload = '', signature = ''] = token.split('.');
  const given = Buffer.from(signature, 'base64url');
  const wanted = signatureOf(secret, `${head}.${payload}`);
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted))
    throw new Refusal(401, 'PGRST301', 'No suitable key or wrong key type');
  const claims: Claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
  if (typeof claims.exp === 'number' && claims.exp + skewSeconds < Date.now() / 1_000)
    throw new Refusal(401, 'PGRST303', 'JWT expired');
  return { ...claims, role: claims.role ?? 'anon' };
}

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const signatureOf = (secret: Buffer, signed: string): Buffer =>
  createHmac('sha256', secret).update(signed).digest();

function signToken(secret: Buffer, claims: Claims): string {
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return `${signed}.${signatureOf(secret, signed).toString('base64url')}`;
}
