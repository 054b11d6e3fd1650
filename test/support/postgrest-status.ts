/** Part of the stand-in for PostgREST: errors as it words them (docs.postgrest.org, Errors). */
import { DatabaseError } from 'pg';
import { Refusal } from './postgrest-call.js';

export type Said = {
  status: number;
  body: { code?: string; message: string; details: string | null; hint: string | null };
};

/** SQLSTATE to HTTP, in the order of the documented table; the first that fits holds, and 400 for the rest. */
const statuses: [RegExp, number][] = [
  [/^08/, 503],
  [/^09/, 500],
  [/^(0L|0P)/, 403],
  [/^(23503|23505)$/, 409],
  [/^25006$/, 405],
  [/^25/, 500],
  [/^28/, 403],
  [/^(2D|38|39|3B|40)/, 500],
  [/^53400$/, 500],
  [/^53/, 503],
  [/^(54|55|57|58|F0|HV)/, 500],
  [/^P0001$/, 400],
  [/^P0/, 500],
  [/^XX/, 500],
  [/^(42883|42P01)$/, 404],
  [/^42P17$/, 500],
  [/^42501$/, 403],
];

export function describe(error: unknown, role: string): Said {
  if (error instanceof Refusal) {
    const { status, code, message, hint } = error;
    return { status, body: { ...(code !== '' && { code }), message, details: null, hint } };
  }
  if (!(error instanceof DatabaseError) || error.code === undefined)
    return {
      status: 503,
      body: {
        code: 'PGRST000',
        message: 'Database client error. Retrying the connection.',
        details: String(error),
        hint: null,
      },
    };
  const { code, message, detail = null, hint = null } = error;
  return { status: statusOf(code, role), body: { code, message, details: detail, hint } };
}

/** `PT402` is a 402. Who has not said who he is gets 401 where others get 403. */
function statusOf(code: string, role: string): number {
  const raised = /^PT(\d{3})$/.exec(code)?.[1];
  if (raised !== undefined) return Number(raised);
  if (code === '42501' && role === 'anon') return 401;
  return statuses.find(([pattern]) => pattern.test(code))?.[1] ?? 400;
}
