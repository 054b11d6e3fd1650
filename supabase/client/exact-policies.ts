/**
 * Policies over a connection of one's own with their numbers digit by digit. The `pg` adapter reads `jsonb` as
 * JavaScript reads JSON; the calls that are marked `exact` are sent with a reader of their own instead.
 */
import pg from 'pg';
import { fromDatabase, OpsError } from './errors.js';
import { parseExact } from './json-text.js';
import { type Database, statement } from './pg.js';
import { calls, createPort, type Transport } from './port.js';
import { resend } from './resend.js';

/** As the adapter's own. */
const defaultDeadlineMs = 10_000;

/** The same database, whose calls that are marked `exact` answer numbers as they are stored. */
export function readExactly(database: Database): Database {
  const port = createPort(sendExactly(database.pool));
  const marked = Object.entries(calls).filter(([, { shape }]) => shape.exact);
  const exact = Object.fromEntries(marked.map(([name]) => [name, port[name as keyof typeof port]]));
  return { ...database, port: { ...database.port, ...exact } };
}

function sendExactly(pool: pg.Pool): Transport {
  const types = exactTypes(pool.options.types ?? pg.types);
  return async (request, { deadlineMs = defaultDeadlineMs }) => {
    const query = { ...statement(request), types, query_timeout: deadlineMs };
    const { rows } = await resend(() => pool.query(query)).catch((error: unknown) => {
      throw isOverdue(error) ? overdue(request.fn, deadlineMs) : fromDatabase(error);
    });
    return request.kind === 'value' ? rows.map(({ value }) => value) : rows;
  };
}

const exactTypes = (types: pg.CustomTypesConfig): pg.CustomTypesConfig => ({
  getTypeParser: ((oid: number, format?: 'text') =>
    oid === pg.types.builtins.JSONB
      ? parseExact
      : types.getTypeParser(oid, format)) as pg.CustomTypesConfig['getTypeParser'],
});

/** In the driver's own words, which carry no code. */
const isOverdue = (error: unknown): boolean =>
  error instanceof Error && error.message === 'Query read timeout';

const overdue = (fn: string, deadlineMs: number): OpsError =>
  new OpsError('OPS_001', `${fn} did not answer within ${deadlineMs} ms`, {
    hint: 'The call only reads and is safe to repeat. Look at pg_stat_activity for what it waits for.',
  });
