/** A worker's surroundings with the stand-in for openclaw on its PATH. */
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Json } from '../../../local/executors/json.js';
import { makePrograms } from '../wreckit/repository.js';

const standIn = fileURLToPath(new URL('openclaw.js', import.meta.url));

export type Script = {
  version?: string;
  versionCode?: number;
  out?: string;
  err?: string;
  code?: number;
  /** Bytes of noise before the answer. */
  filler?: number;
  /** Starts a process that outlives it: in its own group, or in a session of its own. */
  leaves?: 'group' | 'session';
  /** Ignores TERM and stays. */
  hangs?: true;
  /** Stays until it is ended. */
  waits?: true;
  /** A signal that it ends itself with. */
  dies?: string;
};
export type Call = {
  argv: string[];
  pid: number;
  cwd: string;
  env: Record<string, string>;
  message: string;
  /** Of the message file. */
  mode: number | null;
  config: { $include?: string; tools: Json } | null;
};

export type Bench = {
  folder: string;
  workspace: string;
  /** The temporary directory of all that runs here; anything left in it is a leak. */
  temporary: string;
  /** Settings that lead to the stand-in. */
  settings: Record<string, string>;
  script(script: Script): Promise<void>;
  calls(): Promise<Call[]>;
  /** The one call since `script`. */
  call(): Promise<Call>;
  remove(): Promise<void>;
};

export async function makeBench(): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), 'openclaw-bench-'));
  const workspace = join(folder, 'workspace');
  const bin = await makePrograms(join(folder, 'bin'), {
    openclaw: `'${process.execPath}' '${standIn}' '${folder}'`,
  });
  const temporary = join(folder, 'tmp');
  await Promise.all([mkdir(workspace), mkdir(temporary)]);
  const calls = async (): Promise<Call[]> => {
    await appendFile(join(folder, 'calls'), '');
    const lines = (await readFile(join(folder, 'calls'), 'utf8')).split('\n').filter(Boolean);
    return lines.map((line) => JSON.parse(line) as Call);
  };
  return {
    ...{ folder, workspace, temporary, calls },
    settings: { OPS_OPENCLAW_BIN: join(bin, 'openclaw'), OPS_OPENCLAW_CONFIG: join(folder, 'none.json') },
    script: async (script) => {
      await writeFile(join(folder, 'script.json'), JSON.stringify(script));
      await Promise.all(['calls', 'said'].map((name) => rm(join(folder, name), { force: true })));
    },
    call: async () => {
      const [only, ...more] = await calls();
      if (only === undefined || more.length > 0)
        throw new Error(`openclaw was called ${only === undefined ? 0 : more.length + 1} times`);
      return only;
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
