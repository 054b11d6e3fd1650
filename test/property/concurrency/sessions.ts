/** Several clients of one database, each over a connection of its own, and a way to see which of them waits for a lock. */
import type { Client } from 'pg';
import { statement } from '../../../supabase/client/pg.js';
import { createPort, type OpsPort } from '../../../supabase/client/port.js';
import type { TestDatabase } from '../../support/database.js';
import { until } from '../../support/until.js';
import type { World } from '../lifecycle/world.js';

export type Session = { client: Client; port: OpsPort; pid: number };

/** A port over one connection, without retries: an error is something to know about. May run inside a transaction. */
export async function openSession(db: TestDatabase): Promise<Session> {
  const client = await db.connect();
  const { rows } = await client.query('select pg_backend_pid() as pid');
  const port = createPort(async (request) => {
    const answer = await client.query(statement(request));
    return request.kind === 'value' ? answer.rows.map((row) => row.value) : answer.rows;
  });
  return { client, port, pid: Number(rows[0]?.pid) };
}

export const openSessions = (db: TestDatabase, count: number): Promise<Session[]> =>
  Promise.all(Array.from({ length: count }, () => openSession(db)));

/** Waits until a call has either ended or waits for a lock that somebody holds. */
export async function endedOrBlocked(world: World, session: Session, call: Promise<unknown>): Promise<void> {
  let ended = false;
  const note = () => {
    ended = true;
  };
  call.then(note, note);
  await until(async () => ended || (await isBlocked(world, session)), {
    what: 'a call ends or waits for a lock',
  });
}

async function isBlocked({ sql }: World, { pid }: Session): Promise<boolean> {
  const waiting = "select 1 from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'";
  return (await sql(waiting, [pid])).length > 0;
}
