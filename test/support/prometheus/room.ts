/** A real app over a real database, with Prometheus and Alertmanager set up as docs/monitoring has it. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../../local/embedded/state.js';
import { projectRoot } from '../../../local/env.js';
import { migrate, seed } from '../../../local/migrations.js';
import { startServer } from '../../../local/server.js';
import { newKey } from '../../../supabase/client/keys.js';
import { type Database, openDatabase } from '../../../supabase/client/pg.js';
import { createApp } from '../../../vercel/app/app.js';
import { parseControlEnv } from '../../../vercel/app/env.js';
import { prometheusRules, readRules } from '../../schema/monitoring.js';
import type { Sql } from '../database.js';
import type { Children } from './programs.js';

export const monitoring = join(projectRoot, 'docs/monitoring');
const secret = 'a-token-of-this-check-alone';

export type Room = {
  home: string;
  database: Database;
  sql: Sql;
  /** Of the app, and the key that Prometheus has. */
  url: string;
  key: string;
  prometheus: { port: number; url: string };
  alertmanager: { port: number; url: string };
  close(): Promise<void>;
};

export async function openRoom(home: string, databaseUrl: string): Promise<Room> {
  await migrate(databaseUrl);
  await seed(databaseUrl);
  const database = openDatabase({ connectionString: databaseUrl, max: 4 });
  const { key, prefix, hash } = newKey('viewer');
  await database.port.createKey({ label: 'prometheus', scope: 'viewer', prefix, hash });
  const server = await startServer({ app: appOn(database), host: '127.0.0.1', port: 0 });
  const place = async () => {
    const port = await freePort();
    return { port, url: `http://127.0.0.1:${port}` };
  };
  const room: Room = {
    ...{ home, database, key, url: server.url },
    sql: async (text, values) => (await database.pool.query(text, values)).rows,
    prometheus: await place(),
    alertmanager: await place(),
    close: async () => {
      await server.close();
      await database.close();
    },
  };
  await writeSettings(room);
  return room;
}

function appOn({ port }: Database) {
  const ignore = () => {};
  return createApp({
    port,
    env: parseControlEnv({ OPS_WEBHOOK_ALERTMANAGER_SECRET: secret }),
    log: { info: ignore, warn: ignore, error: ignore },
    now: () => new Date(),
  });
}

/** The examples of docs/monitoring, with the addresses and the haste of this check. */
async function writeSettings({ home, sql, url, key, alertmanager }: Room): Promise<void> {
  const { host } = new URL(url);
  const write = (file: string, text: string) => writeFileSync(join(home, file), text, { mode: 0o600 });
  const example = (file: string) => readFileSync(join(monitoring, file), 'utf8');
  write('ops-loop-key', key);
  write('ops-loop-token', secret);
  write('prometheus-rules.yml', prometheusRules(await readRules(sql), { warning: '0s', critical: '0s' }));
  write(
    'prometheus.yml',
    example('prometheus.yml')
      .replaceAll('30s', '1s')
      .replace('alertmanager.example:9093', `127.0.0.1:${alertmanager.port}`)
      .replace('scheme: https', 'scheme: http')
      .replace('/etc/prometheus/', `${home}/`)
      .replace('ops-loop.example', host),
  );
  write(
    'alertmanager.yml',
    example('alertmanager.yml')
      .replace('group_wait: 30s', 'group_wait: 1s')
      .replace('group_interval: 5m', 'group_interval: 1s')
      .replace('https://ops-loop.example', `http://${host}`)
      .replace('/etc/alertmanager/', `${home}/`),
  );
}

export function startPrograms({ home, prometheus, alertmanager }: Room, children: Children): void {
  for (const folder of ['tsdb', 'alerts']) mkdirSync(join(home, folder));
  const at = (port: number) => `--web.listen-address=127.0.0.1:${port}`;
  const alone = ['--storage.path=alerts', '--cluster.listen-address='];
  const alertArgs = ['--config.file=alertmanager.yml', ...alone, at(alertmanager.port)];
  children.start('prometheus-alertmanager', alertArgs, home);
  const args = ['--config.file=prometheus.yml', '--storage.tsdb.path=tsdb', at(prometheus.port)];
  children.start('prometheus', args, home);
}
