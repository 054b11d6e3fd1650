/** The environment of a child: a short list from ours, and what the caller adds. Nothing else of ours gets through. */

/** What programs need to find other programs, their files and their language; none of it is ever a secret. */
const listed = /^(PATH|HOME|LANG|LC_[A-Z]+|TZ|TMPDIR)$/;
const defaultPath = '/usr/local/bin:/usr/bin:/bin';

/** PATH, HOME, LANG, LC_*, TZ and TMPDIR of this process, plus `extra`, which goes before them. */
export function listedEnvironment(extra: Record<string, string> = {}): Record<string, string> {
  const own: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env))
    if (value !== undefined && listed.test(name)) own[name] = value;
  return { PATH: defaultPath, ...own, ...extra };
}

/** The trace that a program's own spans belong to, in the variable that OpenTelemetry's tools read it from. */
export const traceVariable = ({
  traceparent,
}: {
  traceparent?: string | undefined;
}): Record<string, string> => (traceparent === undefined ? {} : { TRACEPARENT: traceparent });

/** Settings and keys of the loop itself: with these a program could talk to its database or endpoint. */
const own =
  /^(DATABASE_URL|PG[A-Z]+|SUPABASE_\w+|OPS_\w+|VERCEL_\w+|CRON_SECRET|\w+_WEBHOOK_SECRET(_PREVIOUS)?)$/;

/** Is it a variable that no program is ever given, whoever grants it? */
export const isOwnVariable = (name: string): boolean => own.test(name);
