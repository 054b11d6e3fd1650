/**
 * What Supabase's API answers instead of rows, as errors of ours. PostgREST forwards code, message, details and hint
 * of the database and adds `PGRST…` codes of its own (docs.postgrest.org, Errors); the gateway before it answers
 * with a status and whatever body it likes.
 */
import { fromDatabase, isDatabaseAway, OpsError } from './errors.js';

/** `code` is an SQLSTATE, a `PGRST…` code, or empty when PostgREST did not speak. Status 0: no answer came. */
export type ApiFault = Error & { code: string; status: number; detail: unknown; hint: unknown };
type Body = { code?: unknown; message?: unknown; details?: unknown; hint?: unknown };

export function createFault(status: number, { code, message, details, hint }: Body): ApiFault {
  const said = typeof code === 'string' ? code : '';
  const text = status === 0 ? reasonOf(details) : undefined;
  const fault = new Error(text ?? (typeof message === 'string' ? message : ''));
  return Object.assign(fault, { code: said, status, detail: details ?? undefined, hint });
}

/** What supabase-js keeps of a failed request: a line of text, then the stack. */
const reasonOf = (details: unknown): string | undefined =>
  /^Caused by: (?:\w*Error: )?(.+)$/m.exec(String(details))?.[1]?.trim();

/** Turns whatever the adapter threw into an `OpsError`; one that already is passes through. `host` is for people. */
export function fromApi(thrown: unknown, host: string): OpsError {
  if (!isFault(thrown)) return fromDatabase(thrown);
  const { code, status } = thrown;
  if (status === 401 || (status === 403 && code === '') || /^PGRST30/.test(code) || code === '42501')
    return refused(thrown, host);
  if (code === 'PGRST202' || code === 'PGRST203' || code === '42883') return mismatch(thrown);
  if (code === 'PGRST106')
    return new OpsError('OPS_016', `${host} does not show the schema public: ${thrown.message}`, {
      hint: "Add public to the exposed schemas in the project's API settings; tables stay closed all the same.",
      cause: thrown,
    });
  if (isAway(thrown)) return away(thrown, host);
  if (code === '') return strange(thrown, host);
  return fromDatabase({ ...thrown, message: thrown.message, hint: hintOf(thrown) });
}

const isFault = (thrown: unknown): thrown is ApiFault =>
  thrown instanceof Error && 'status' in thrown && 'code' in thrown && !(thrown instanceof OpsError);

/** PGRST000 to 003: PostgREST has no connection. Without a code the gateway speaks: overload, a paused project. */
const isAway = (fault: ApiFault): boolean =>
  fault.status === 0 ||
  /^PGRST(00|X)/.test(fault.code) ||
  isDatabaseAway(fault) ||
  (fault.code === '' && (fault.status >= 500 || fault.status === 408 || fault.status === 429));

function away(fault: ApiFault, host: string): OpsError {
  const what =
    fault.code === '' && fault.status > 0 ? `it answered ${fault.status}` : fault.message || fault.code;
  return new OpsError('OPS_001', `${host} cannot be reached, or its database: ${what}`, {
    hint: 'Check SUPABASE_URL, and that the project is not paused; work goes on by itself once it answers.',
    cause: fault,
  });
}

/** SQLSTATE 28000 says "refused" to those who ask whether waiting could help. */
function refused(fault: ApiFault, host: string): OpsError {
  return new OpsError('OPS_001', `${host} refused the key: ${fault.message || fault.status}`, {
    hint: 'Compare SUPABASE_SERVICE_ROLE_KEY with the API keys of the project: it may be revoked, or of another one.',
    cause: Object.assign(fault, { code: fault.code === '42501' ? fault.code : '28000' }),
  });
}

const mismatch = (fault: ApiFault): OpsError =>
  new OpsError('OPS_013', `the schema is not the one this code expects: ${fault.message}`, {
    hint: "Run `ops-loop migrate` with DATABASE_URL set. If that was just done, run in SQL: notify pgrst, 'reload schema'.",
    cause: fault,
  });

const strange = (fault: ApiFault, host: string): OpsError =>
  new OpsError('OPS_016', `${host} answered ${fault.status}, and not as Supabase's API does`, {
    hint: 'SUPABASE_URL is the address of the project, such as https://abcdefgh.supabase.co, without a path.',
    cause: fault,
  });

const hintOf = ({ code, hint }: ApiFault): unknown =>
  code === '57014'
    ? 'The API ends a statement after 8 s. What takes longer needs DATABASE_URL; smaller batches need less.'
    : hint;
