/**
 * `node --import tsx test/sql/upgrade/write.ts`: writes the fixture of today's schema version. Run it once before a
 * release; the file of a released version is never written again.
 */
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { migrate } from '../../../local/migrations.js';
import { openDatabase } from '../../../supabase/client/pg.js';
import { startTestCluster } from '../../support/cluster.js';
import type { Sql } from '../../support/database.js';
import { writeFixture } from './fixture.js';
import { playScene } from './scene.js';

const cluster = await startTestCluster();
const database = openDatabase({ connectionString: cluster.url });
const sql = (async (text: string, values?: unknown[]) =>
  (await database.pool.query(text, values)).rows) as Sql;
try {
  await migrate(cluster.url);
  await playScene(database);
  const version = await database.port.schemaVersion();
  const file = fileURLToPath(new URL(`./${version}.sql`, import.meta.url));
  await writeFile(file, await writeFixture(sql));
  process.stdout.write(`${file}\n`);
  const broken = await database.port.checkInvariants();
  if (broken.length > 0) throw new Error(`the scene breaks invariants: ${JSON.stringify(broken)}`);
} finally {
  await database.close();
  await cluster.stop();
}
