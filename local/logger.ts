/** The log of worker and server: JSON lines on stderr, or short ones for a person at a terminal. */
import { styleText } from 'node:util';
import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';

const levelNames: Record<number, string> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
};

/** What never reaches a log, wherever a caller put it. */
const redact = [
  'err.detail',
  'password',
  'DATABASE_URL',
  'SUPABASE_SERVICE_ROLE_KEY',
  'OPS_API_KEY',
  'CRON_SECRET',
  'headers.authorization',
];

export function createLogger(
  level: string,
  stream: DestinationStream & { isTTY?: boolean } = process.stderr,
  /** Is shown the fields of each line of level error or fatal. */
  onError?: (fields: unknown) => void,
): Logger {
  const options = { level, redact, ...(onError && { hooks: { logMethod: watch(onError) } }) };
  return stream.isTTY === true ? pino({ ...options, base: null }, readable(stream)) : pino(options, stream);
}

type LogMethod = NonNullable<NonNullable<LoggerOptions['hooks']>['logMethod']>;

const watch = (onError: (fields: unknown) => void): LogMethod =>
  function logMethod(given, method, level) {
    if (level >= 50) onError(given[0]);
    method.apply(this, given);
  };

function readable(stream: DestinationStream): DestinationStream {
  return { write: (line) => stream.write(`${readableLine(JSON.parse(line))}\n`) };
}

/** `12:03:01 warn lease.lost  step_id=… code=OPS_006`. */
function readableLine(entry: Record<string, unknown>): string {
  const { level, time, event, msg, err, ...rest } = entry;
  const name = levelNames[Number(level)] ?? String(level);
  const clock = new Date(Number(time)).toTimeString().slice(0, 8);
  const what = [event, msg, reasonOf(err)].filter((part) => part !== undefined && part !== '').join('  ');
  const style = Number(level) >= 50 ? 'red' : Number(level) >= 40 ? 'yellow' : 'cyan';
  return `${styleText('dim', clock)} ${styleText(style, name)} ${what}  ${styleText('dim', fields(rest))}`.trimEnd();
}

const fields = (rest: Record<string, unknown>): string =>
  Object.entries(rest)
    .map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(' ');

const reasonOf = (err: unknown): string | undefined =>
  typeof err === 'object' && err !== null && 'message' in err ? String(err.message) : undefined;
