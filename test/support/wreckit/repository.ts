/** A temporary git repository with wreckit items, and a folder of programs to have on PATH. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const beside = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
export const standIns = { wreckit: beside('wreckit.js'), gh: beside('gh.js'), agent: beside('agent.js') };

/** An executable for each name, which runs what is given: a script for Node, or words of a shell. */
export async function makePrograms(folder: string, programs: Record<string, string>): Promise<string> {
  await mkdir(folder, { recursive: true });
  for (const [name, script] of Object.entries(programs)) {
    const command = script.endsWith('.js') ? `'${process.execPath}' '${script}'` : script;
    await writeFile(join(folder, name), `#!/bin/sh\nexec ${command} "$@"\n`);
    await chmod(join(folder, name), 0o755);
  }
  return folder;
}

type Fields = { [name: string]: unknown };
export type Call = { argv: string[]; cwd: string; env: Record<string, string>; pid: number };

export type TestRepository = {
  directory: string;
  git(...args: string[]): string;
  /** Adds or changes an item. */
  item(id: string, fields?: Fields): Promise<void>;
  /** A file beside the item, such as prd.json. */
  artifact(id: string, name: string, content: unknown): Promise<void>;
  readItem(id: string): Promise<Fields>;
  /** What the stand-in's agent shall do. */
  script(script: Fields): Promise<void>;
  config(config: Fields, name?: string): Promise<void>;
  /** What the stand-in was called with, oldest first. */
  calls(): Promise<Call[]>;
  /** A file in the git directory, for signs between the test and the stand-in. */
  sign(name: string): string;
};

export async function makeRepository(directory: string): Promise<TestRepository> {
  await mkdir(directory, { recursive: true });
  const git = (...args: string[]) => execFileSync('git', args, { cwd: directory, encoding: 'utf8' });
  git('init', '--quiet', '--initial-branch', 'main', '--template=');
  await mkdir(join(directory, '.wreckit', 'items'), { recursive: true });
  const inItem = (id: string, name: string) => join(directory, '.wreckit', 'items', id, name);
  const sign = (name: string) => join(directory, '.git', name);
  const readItem = async (id: string): Promise<Fields> =>
    JSON.parse(await readFile(inItem(id, 'item.json'), 'utf8'));
  const artifact = async (id: string, name: string, content: unknown) => {
    await mkdir(inItem(id, '.'), { recursive: true });
    await writeFile(inItem(id, name), JSON.stringify(content));
  };
  return {
    ...{ directory, git, artifact, readItem, sign },
    item: async (id, fields = {}) => {
      const before = existsSync(inItem(id, 'item.json')) ? await readItem(id) : newItem(id);
      await artifact(id, 'item.json', { ...before, ...fields });
    },
    script: (script) => writeFile(sign('script.json'), JSON.stringify(script)),
    config: (config, name = 'config.json') =>
      writeFile(join(directory, '.wreckit', name), JSON.stringify(config)),
    calls: async () => {
      const lines = existsSync(sign('calls')) ? (await readFile(sign('calls'), 'utf8')).split('\n') : [];
      return lines.filter(Boolean).map((line): Call => JSON.parse(line));
    },
  };
}

/** Every member that src/schemas.ts of wreckit 1.0.0 asks for. */
const newItem = (id: string): Fields => ({
  schema_version: 1,
  ...{ id, title: 'A lamp', state: 'idea', overview: 'Make a lamp' },
  ...{ branch: null, pr_url: null, pr_number: null, last_error: null },
  created_at: '2026-01-01T00:00:00.000Z',
  updated_at: '2026-01-01T00:00:00.000Z',
});
