import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { Client } from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { closedDirectory } from '../../local/embedded/account.js';
import { findBinaries } from '../../local/embedded/binaries.js';
import { runCommand } from '../../local/embedded/command.js';
import { type EmbeddedDatabase, startEmbedded } from '../../local/embedded/embedded.js';
import { takeStartLock } from '../../local/embedded/lock.js';
import { isAlive } from '../../local/embedded/server-file.js';
import { temporaryDirectory } from '../support/cluster.js';
import {
  childFile,
  killChildren,
  query,
  startChild,
  stopChild,
  type User,
} from '../support/embedded-process.js';
import { until } from '../support/until.js';

const nobody: User = { uid: 65_534, gid: 65_534 };
const isRoot = process.getuid?.() === 0;
/** A checkout in a private home directory cannot be run by another user. */
const canSwitchUser = isRoot && (await closedDirectory(dirname(childFile), nobody)) === undefined;

let home: string;
let dataDir: string;

beforeAll(async () => {
  home = await temporaryDirectory('embedded');
  dataDir = join(home, '.ops-loop', 'postgres');
});

afterAll(async () => {
  killChildren();
  await rm(home, { recursive: true, force: true });
});

async function withDatabase(
  use: (database: EmbeddedDatabase) => Promise<void>,
  directory = dataDir,
): Promise<void> {
  const database = await startEmbedded({ dataDir: directory });
  try {
    await use(database);
  } finally {
    await database.stop();
  }
}

describe('a first start', () => {
  it('makes a durable database with the API roles, open to its password only', async () => {
    await withDatabase(async ({ url, joined, pid }) => {
      expect(joined).toBe(false);
      expect(isAlive(pid)).toBe(true);
      const [settings] = await query(
        url,
        `select current_database() as name, current_setting('fsync') as fsync,
           current_setting('synchronous_commit') as commit, current_setting('server_encoding') as encoding`,
      );
      expect(settings).toEqual({ name: 'ops_loop', fsync: 'on', commit: 'on', encoding: 'UTF8' });
      const roles = await query(
        url,
        `select rolname, rolcanlogin, rolbypassrls from pg_roles
         where rolname in ('anon', 'authenticated', 'service_role') order by rolname`,
      );
      expect(roles).toEqual([
        { rolname: 'anon', rolcanlogin: false, rolbypassrls: false },
        { rolname: 'authenticated', rolcanlogin: false, rolbypassrls: false },
        { rolname: 'service_role', rolcanlogin: false, rolbypassrls: true },
      ]);
      const wrong = new URL(url);
      wrong.password = 'guess';
      await expect(query(wrong.href, 'select 1')).rejects.toMatchObject({ code: '28P01' });
      expect((await stat(`${dataDir}.json`)).mode & 0o777).toBe(0o600);
    });
  });

  it('keeps port, password and rows for the next one', async () => {
    let first = '';
    await withDatabase(async ({ url }) => {
      first = url;
      await query(url, 'create table kept as select 42 as answer');
    });
    await withDatabase(async ({ url }) => {
      expect(url).toBe(first);
      expect(await query(url, 'select answer from kept')).toEqual([{ answer: 42 }]);
    });
  });
});

describe('a second start', () => {
  it('joins the running server and leaves it running', async () => {
    await withDatabase(async (owner) => {
      const { child, said } = await startChild(dataDir);
      expect(said).toMatchObject({ joined: true, pid: owner.pid, url: owner.url });
      await stopChild(child);
      expect(await query(owner.url, 'select 1 as one')).toEqual([{ one: 1 }]);
    });
  });

  it('at the same instant makes one cluster and one server', async () => {
    const fresh = join(home, 'crowd', 'postgres');
    const crowd = await Promise.all(Array.from({ length: 4 }, () => startChild(fresh)));
    const owners = crowd.filter(({ said }) => !said.joined);
    expect(owners).toHaveLength(1);
    expect(new Set(crowd.map(({ said }) => said.url)).size).toBe(1);
    for (const { child, said } of crowd) if (said.joined) await stopChild(child);
    for (const { child } of owners) await stopChild(child);
    expect((await readdir(dirname(fresh))).sort()).toEqual(['postgres', 'postgres.json', 'postgres.log']);
  });

  it('insisting on another port is told which one it has', async () => {
    await withDatabase(async ({ port }) => {
      await expect(startEmbedded({ dataDir, port: port + 1 })).rejects.toMatchObject({ code: 'OPS_001' });
    });
  });
});

describe('the end of the owner', () => {
  it('by SIGKILL ends the server, and the next start finds every row', async () => {
    const { child, said } = await startChild(dataDir);
    await query(said.url, 'create table if not exists after_kill (n int); insert into after_kill values (1)');
    child.kill('SIGKILL');
    await until(() => !isAlive(said.pid), { what: 'the orphaned server ends' });
    await withDatabase(async ({ url, port }) => {
      expect(port).toBe(said.port);
      expect(await query(url, 'select count(*)::int as n from after_kill')).toEqual([{ n: 1 }]);
    });
  });

  it('together with its server loses no acknowledged row', async () => {
    const { child, said } = await startChild(dataDir);
    await query(said.url, 'create table if not exists after_crash (n int)');
    await query(said.url, 'insert into after_crash values (1)');
    child.kill('SIGKILL');
    process.kill(said.pid, 'SIGKILL');
    await withDatabase(async ({ url }) => {
      expect(await query(url, 'select n from after_crash')).toEqual([{ n: 1 }]);
    });
  });

  it('does not wait for open transactions', async () => {
    const database = await startEmbedded({ dataDir });
    const client = new Client({ connectionString: database.url });
    client.on('error', () => {});
    await client.connect();
    await client.query('begin; create table never_committed ()');
    await database.stop();
    await database.stop();
    expect(isAlive(database.pid)).toBe(false);
    await client.end().catch(() => {});
  });
});

describe('a directory in a bad state', () => {
  let place: string;
  beforeEach(async ({ task }) => {
    place = join(home, task.id, 'postgres');
    await mkdir(place, { recursive: true });
    await chmod(dirname(place), 0o711);
  });

  it('is made anew when an initdb was cut short', async () => {
    await writeFile(join(place, 'PG_VERSION'), '17\n');
    await mkdir(join(place, 'base'));
    await mkdir(`${place}.draft-1-x`);
    await withDatabase(async ({ url }) => {
      expect(await query(url, 'select 1 as one')).toEqual([{ one: 1 }]);
    }, place);
    expect(await readdir(dirname(place))).not.toContain('postgres.draft-1-x');
  });

  it('is left alone when it holds anything else', async () => {
    await writeFile(join(place, 'thesis.txt'), 'years of work');
    await expect(startEmbedded({ dataDir: place })).rejects.toMatchObject({ code: 'OPS_001' });
    expect(await readFile(join(place, 'thesis.txt'), 'utf8')).toBe('years of work');
  });

  it('gets a new password when postgres.json is lost', async () => {
    await withDatabase(async ({ url }) => void (await query(url, 'create table kept ()')), place);
    await rm(`${place}.json`);
    await withDatabase(async ({ url }) => {
      expect(await query(url, 'select from kept')).toEqual([]);
    }, place);
  });
});

describe('the port', () => {
  it('changes when the one of last time is taken', async () => {
    let last = 0;
    await withDatabase(async ({ port }) => {
      last = port;
    });
    const squatter = createServer().listen(last, '127.0.0.1');
    await once(squatter, 'listening');
    try {
      await withDatabase(async ({ port }) => expect(port).not.toBe(last));
      await expect(startEmbedded({ dataDir, port: last })).rejects.toMatchObject({ code: 'OPS_001' });
    } finally {
      squatter.close();
    }
  });
});

describe('the start lock', () => {
  it('of a dead process is broken, by one of many', async () => {
    const file = join(home, 'stale.lock');
    const dead = spawn(process.execPath, ['-e', '']);
    await once(dead, 'exit');
    let holders = 0;
    const turn = async () => {
      const release = await takeStartLock(file, 10_000);
      expect(++holders).toBe(1);
      await readFile(file);
      holders--;
      await release();
    };
    for (let round = 0; round < 20; round++) {
      await writeFile(file, `${dead.pid} token`);
      await Promise.all(Array.from({ length: 8 }, turn));
    }
    expect((await readdir(home)).filter((name) => name.startsWith('stale.lock'))).toEqual([]);
  });

  it('of a living process is respected, and named when it lasts', async () => {
    const file = join(home, 'held.lock');
    const release = await takeStartLock(file, 0);
    await expect(takeStartLock(file, 0)).rejects.toMatchObject({
      code: 'OPS_001',
      message: expect.stringContaining(`${process.pid}`),
    });
    await release();
  });
});

describe('the programs', () => {
  let copy: string;
  beforeAll(async () => {
    const { postgres } = await findBinaries(undefined);
    copy = join(home, 'package');
    await cp(dirname(dirname(dirname(postgres))), copy, { recursive: true, verbatimSymlinks: true });
  });

  it.runIf(process.platform === 'linux')('run after an install with --ignore-scripts', async () => {
    const library = join(copy, 'native', 'lib');
    for (const entry of await readdir(library, { withFileTypes: true }))
      if (entry.isSymbolicLink()) await rm(join(library, entry.name));
    const { postgres } = await findBinaries(undefined, copy);
    expect(postgres.startsWith(copy)).toBe(true);
    expect(await runCommand(postgres, ['--version'])).toMatchObject({ code: 0 });
  });

  it.runIf(isRoot)('move to where the server can enter', async () => {
    await chmod(copy, 0o700);
    const temporary = join(home, 'tmp');
    await mkdir(temporary);
    vi.stubEnv('TMPDIR', temporary);
    try {
      const { postgres } = await findBinaries(nobody, copy);
      expect(postgres.startsWith(temporary)).toBe(true);
      expect(await runCommand(postgres, ['--version'], { account: nobody })).toMatchObject({ code: 0 });
      expect((await findBinaries(nobody, copy)).postgres).toBe(postgres);
    } finally {
      vi.unstubAllEnvs();
    }
  });
});

describe.runIf(canSwitchUser)('an ordinary user', () => {
  let theirs: string;
  beforeAll(async () => {
    theirs = join(home, 'theirs');
    await mkdir(theirs);
    await chown(theirs, nobody.uid, nobody.gid);
  });

  it('starts, kills and starts again what is theirs', async () => {
    const directory = join(theirs, 'postgres');
    const first = await startChild(directory, nobody);
    expect(first.said).toMatchObject({ joined: false });
    first.child.kill('SIGKILL');
    await until(() => !isAlive(first.said.pid), { what: 'the orphaned server ends' });
    const second = await startChild(directory, nobody);
    expect(second.said).toMatchObject({ joined: false, url: first.said.url });
    await stopChild(second.child);
  });

  it('without a passwd entry is told why not', async () => {
    const { child, said } = await startChild(join(theirs, 'postgres'), { uid: 65_533, gid: 65_533 });
    expect(said.error).toMatchObject({ code: 'OPS_001', message: expect.stringContaining('passwd') });
    expect(said.error.hint).toContain('DATABASE_URL');
    await until(() => child.exitCode !== null, { what: 'the refused child ends' });
  });
});
