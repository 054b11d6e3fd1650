/** The database's disk is full: not a simulation, the file system itself says ENOSPC. */
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { databaseBoundMs, type Fault } from '../fault.js';

/** What the server frees meanwhile (old log, temporary files) is taken as well. */
const everyMs = 100;
/** More than it keeps ready (`min_wal_size`). */
const logSegments = 40;

export const diskFull: Fault = {
  name: 'disk-full',
  what: "the file system of PostgreSQL's data full to the last page, for 3 to 6 s; half of the time for its log too",
  boundMs: databaseBoundMs,
  strike: async ({ disk, server }, dice) => {
    if (disk === undefined) throw new Error('there is no disk to fill: start the drill with --small-disk');
    const end = performance.now() + dice.whole(3_000, 6_000);
    await disk.fill();
    await expectNoRoom(server.url);
    const log = dice.chance(0.5) ? useUpLog(server.url) : undefined;
    while (performance.now() < end) {
      await disk.fill();
      await pause(everyMs);
    }
    await log;
    await disk.free();
    // Where its log finds no room PostgreSQL gives up, and whoever runs it starts it again.
    await server.start();
    return undefined;
  },
};

/** Runs statements over a connection of their own; answers the SQLSTATE of the one that failed, if any has one. */
async function failureOf(connectionString: string, statements: string[]): Promise<string | undefined> {
  const client = new pg.Client({ connectionString, application_name: 'drill admin' });
  client.on('error', () => {});
  try {
    await client.connect();
    for (const statement of statements) await client.query(statement);
    return undefined;
  } catch (error) {
    return String((error as { code?: unknown }).code);
  } finally {
    await client.end().catch(() => {});
  }
}

/** A disk that was not full would prove nothing. The server may also be down: other faults strike at the same time. */
async function expectNoRoom(url: string): Promise<void> {
  const large = "create temporary table large as select repeat('x', 1000) from generate_series(1, 20000)";
  if ((await failureOf(url, [large])) === undefined) throw new Error('the disk is not full: 20 MB fit on it');
}

/** Has the server begin new segments of its log until there is no room for one, and it gives up. */
const useUpLog = (url: string): Promise<unknown> =>
  failureOf(
    url,
    Array(logSegments).fill("select pg_logical_emit_message(false, 'drill', 'x'), pg_switch_wal()"),
  );
