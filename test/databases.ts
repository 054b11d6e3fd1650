/**
 * `npm run test:databases [-- files]`: the SQL tests on four databases at the same moment, PostgreSQL 15 to 18. With a
 * container engine they are the official images; without one, which is said, the servers of the npm registry.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { startTestCluster } from './support/cluster.js';
import { releases, startRelease, type TestServer } from './support/release.js';

type Testcontainers = typeof import('testcontainers');
type Place = { name: string; start(): Promise<TestServer> };

const files = process.argv.slice(2).length > 0 ? process.argv.slice(2) : ['test/sql'];
/** The embedded server is one of them already. */
const majors = ['15', '16', '17', '18'];

const places = await choosePlaces();
const results = await Promise.all(places.map(runOn));
const failed = results.filter((ok) => !ok).length;
process.stdout.write(`databases: ${results.length - failed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;

async function choosePlaces(): Promise<Place[]> {
  try {
    // Loaded late: without an engine it is of no use, and on some Nodes it cannot be loaded at all.
    const containers = await import('testcontainers');
    await containers.getContainerRuntimeClient();
    return majors.map((major) => ({ name: `postgres:${major}`, start: () => startImage(containers, major) }));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    process.stdout.write(
      `databases: no container engine here (${why}); servers of the npm registry instead\n`,
    );
    return majors.map((major) => ({
      name: `PostgreSQL ${major}, embedded`,
      start: () => (major in releases ? startRelease(major) : startTestCluster()),
    }));
  }
}

async function startImage({ GenericContainer, Wait }: Testcontainers, major: string): Promise<TestServer> {
  const password = randomBytes(12).toString('hex');
  // It starts once to set itself up and once to serve.
  const container = await new GenericContainer(`postgres:${major}`)
    .withEnvironment({ POSTGRES_PASSWORD: password })
    .withCommand(['postgres', '-c', 'max_connections=200', '-c', 'fsync=off'])
    .withExposedPorts(5432)
    .withWaitStrategy(Wait.forLogMessage(/ready to accept connections/, 2))
    .start();
  const url = `postgres://postgres:${password}@${container.getHost()}:${container.getMappedPort(5432)}/postgres?sslmode=disable`;
  return { url, stop: async () => void (await container.stop()) };
}

/** What a run prints is shown when it ends: four at once would be read by nobody. */
async function runOn({ name, start }: Place): Promise<boolean> {
  const server = await start();
  try {
    const args = ['vitest', 'run', '--config', 'test/vitest.config.ts', '--maxWorkers=1', ...files];
    const env = { ...process.env, OPS_TEST_DATABASE_URL: server.url };
    const child = spawn('npx', args, { stdio: ['ignore', 'pipe', 'pipe'], env });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        output += String(chunk);
      });
    const [code] = await once(child, 'close');
    process.stdout.write(`\n=== ${name}\n${output}`);
    return code === 0;
  } finally {
    await server.stop();
  }
}
