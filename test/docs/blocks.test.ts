import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createProgram } from '../../local/cli/program.js';
import { projectRoot } from '../../local/env.js';
import packageJson from '../../package.json' with { type: 'json' };
import { createDatabase, useDatabase } from '../support/database.js';

type Block = { place: string; language: string; text: string };

const filesIn = (folder: string, suffix: RegExp): string[] =>
  readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => suffix.test(file))
    .map((file) => join(folder, file));
const read = (file: string): string => readFileSync(join(projectRoot, file), 'utf8');

const pages = ['README.md', ...filesIn('docs', /\.md$/)];
const blocks: Block[] = pages.flatMap((page) =>
  [...read(page).matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(({ index, 1: language = '', 2: text = '' }) => ({
    place: `${page}:${read(page).slice(0, index).split('\n').length}`,
    language,
    text,
  })),
);
const withoutComments = (code: string): string => code.replaceAll(/^\s*(--|\*|\/\/|\/\*\*).*$/gm, '');
const inLanguage = (language: string): Block[] => blocks.filter((block) => block.language === language);

describe('SQL in the pages', () => {
  /** What a transaction cannot hold needs a database of its own; what it undoes leaves a new one behind. */
  const standsAlone =
    /^\s*(begin|commit|rollback|vacuum|reindex|alter system|create database)\b|concurrently/im;
  const db = useDatabase();

  test.each(inLanguage('sql').filter(({ text }) => !standsAlone.test(text)))(
    'at $place runs on a new database',
    async ({ text }) => {
      const client = await db.connect();
      try {
        await client.query('begin');
        await client.query(text);
        await client.query('set constraints all immediate');
      } finally {
        await client.query('rollback');
        await client.end();
      }
    },
  );

  test.each(inLanguage('sql').filter(({ text }) => standsAlone.test(text)))(
    'at $place runs on a new database of its own',
    async ({ text }) => {
      const database = await createDatabase();
      try {
        await database.sql(text);
      } finally {
        await database.dispose();
      }
    },
  );

  test("README's first policy fires on its event", async () => {
    const database = await createDatabase();
    try {
      await database.sql(inLanguage('sql').find(({ place }) => place.startsWith('README'))?.text ?? '');
      expect(await database.sql('select pattern_id, title, status from ops_mission_proposals')).toEqual([
        { pattern_id: 'late-backup', title: 'Look after the backup of orders', status: 'auto_approved' },
      ]);
    } finally {
      await database.dispose();
    }
  });
});

/** `ops-loop policy get` → [policy, get]; of `npm run why -- x` the script. */
const commands = (await createProgram()).commands;
function isCommand([name, next]: string[]): boolean {
  const command = commands.find((known) => known.name() === name || known.aliases().includes(name ?? ''));
  if (command === undefined) return false;
  const isWord = next !== undefined && /^[a-z][a-z-]*$/.test(next) && command.commands.length > 0;
  return !isWord || command.commands.some((known) => known.name() === next);
}

const called = (text: string): string[][] =>
  [...text.matchAll(/(?<![\w/"@.-])ops-loop (?:-- )?([a-z][a-z-]*)(?: ([\w<[-]+))?/g)].map(
    ([, name = '', next]) => (next === undefined ? [name] : [name, next]),
  );
const scriptsIn = (text: string): string[] => [
  ...[...text.matchAll(/\bnpm run (?:--?[\w-]+ )*([\w:-]+)/g)].map(([, name = '']) => name),
  ...[...text.matchAll(/\bnpm (start|test)\b/g)].map(([, name = '']) => name),
];

describe('commands in the pages', () => {
  test('are there, in shell blocks and in running text', () => {
    const texts = [
      ...inLanguage('sh').map(({ text }) => text),
      ...pages.flatMap((page) => read(page).match(/`[^`\n]+`/g) ?? []),
    ];
    const scripts = new Set(texts.flatMap(scriptsIn));
    expect(scripts.size).toBeGreaterThan(5);
    expect([...scripts].filter((name) => !(name in packageJson.scripts))).toEqual([]);
    const calls = texts.flatMap(called);
    expect(calls.length).toBeGreaterThan(5);
    expect(calls.filter((call) => !isCommand(call))).toEqual([]);
  });

  test('are there, in hints and messages of the code', () => {
    const files = ['supabase', 'vercel/app', 'local'].flatMap((folder) => filesIn(folder, /\.(ts|sql)$/));
    const quoted = files.flatMap(
      (file) => withoutComments(read(file)).match(/`(ops-loop|npm (run|start|test)) [^`\n$]+`/g) ?? [],
    );
    expect(quoted.length).toBeGreaterThan(10);
    expect(quoted.flatMap(called).filter((call) => !isCommand(call))).toEqual([]);
    expect(quoted.flatMap(scriptsIn).filter((name) => !(name in packageJson.scripts))).toEqual([]);
  });
});

test('every relative link of the pages leads somewhere', () => {
  const dead = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !existsSync(join(projectRoot, dirname(page), target)))
      .map((target) => `${page} → ${target}`),
  );
  expect(dead).toEqual([]);
});
