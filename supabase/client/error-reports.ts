/**
 * Errors that nobody expected, reported to Sentry where a DSN is set. A report says what kind of error it was, its code
 * and where it was thrown; of its text only what programs say about themselves, because any other may quote an event or a
 * secret. No request, variable, host name or breadcrumb goes with it. The library is loaded with the first report.
 */
import { errorTable, fromDatabase, type OpsCode } from './errors.js';

export type ErrorReports = {
  /** Reports what is unexpected and passes over the rest. `where` are our own words. Never throws. */
  report(thrown: unknown, where: string): Promise<void>;
  /** Waits for what is on its way, two seconds at most. */
  flush(): Promise<void>;
};
export type ErrorReportSettings = {
  dsn: string | undefined;
  environment?: string | undefined;
  release?: string | undefined;
};

const flushMs = 2_000;
/** An error in a loop comes every second; one report a minute says as much. */
const repeatEveryMs = 60_000;
/** What is ours to mend. A database that is away, a refused call or a failed step is an operator's matter. */
const unexpected: readonly OpsCode[] = ['OPS_013', 'OPS_018'];
/** Errors of the language name properties and types, never values. */
const selfDescribing = new Set(['TypeError', 'ReferenceError', 'RangeError']);

/** Undefined without a DSN: then there is nothing to load and nothing to call. */
export function createErrorReports(settings: ErrorReportSettings): ErrorReports | undefined {
  const { dsn } = settings;
  if (dsn === undefined) return undefined;
  let service: ReturnType<typeof openService> | undefined;
  const isRepeated = createMemory();
  const report: ErrorReports['report'] = async (thrown, where) => {
    const known = describeError(thrown);
    if (known === undefined || isRepeated(`${where} ${known.type} ${known.code}`)) return;
    service ??= openService({ ...settings, dsn });
    await service.then((open) => open.send(known, where)).catch(() => {});
  };
  const flush = async () => void (await service?.then((open) => open.flush()).catch(() => {}));
  return { report, flush };
}

function createMemory(): (key: string) => boolean {
  const lastAt = new Map<string, number>();
  return (key) => {
    const now = Date.now();
    const isRepeated = now - (lastAt.get(key) ?? Number.NEGATIVE_INFINITY) < repeatEveryMs;
    if (!isRepeated) lastAt.set(key, now);
    return isRepeated;
  };
}

async function openService({ dsn, environment, release }: ErrorReportSettings) {
  const { LightNodeClient, defaultStackParser, makeNodeTransport } = await import('@sentry/node-core/light');
  const client = new LightNodeClient({
    ...{ dsn, stackParser: defaultStackParser, transport: makeNodeTransport, integrations: [] },
    ...(environment !== undefined && { environment }),
    ...(release !== undefined && { release }),
    includeServerName: false,
    sendClientReports: false,
  });
  client.init();
  const send = ({ type, value, stack, code, sqlstate }: Known, where: string): void => {
    const stacktrace = { frames: defaultStackParser(stack) };
    const tags = { code, where, ...(sqlstate !== undefined && { sqlstate }) };
    client.captureEvent({ level: 'error', tags, exception: { values: [{ type, value, stacktrace }] } });
  };
  return { send, flush: () => client.flush(flushMs) };
}

export type Known = {
  /** Name of the error's class. */
  type: string;
  value: string;
  code: OpsCode;
  /** Or the errno, when it came from the system. */
  sqlstate: string | undefined;
  /** Places only. */
  stack: string;
};

/** Pure: what is told about an error; undefined when it was no surprise. */
export function describeError(thrown: unknown): Known | undefined {
  const { code } = fromDatabase(thrown);
  if (!unexpected.includes(code)) return undefined;
  const origin = originOf(thrown);
  if (!(origin instanceof Error))
    return { type: typeof origin, value: errorTable[code].meaning, code, sqlstate: undefined, stack: '' };
  const sqlstate = 'code' in origin && origin.code !== code ? String(origin.code) : undefined;
  const meaning = [errorTable[code].meaning, sqlstate].filter(Boolean).join(', ');
  const value = selfDescribing.has(origin.name) ? origin.message : meaning;
  return { type: origin.name, value, code, sqlstate, stack: placesOf(origin) };
}

/** The first cause: what wraps it says less. */
function originOf(thrown: unknown): unknown {
  let origin = thrown;
  for (let depth = 0; depth < 5 && origin instanceof Error && origin.cause instanceof Error; depth++)
    origin = origin.cause;
  return origin;
}

/** The first line of a stack repeats the message, whatever that quotes. */
const placesOf = ({ stack = '' }: Error): string =>
  ['Error', ...stack.split('\n').filter((line) => /^\s+at /.test(line))].join('\n');
