/**
 * A stand-in for wreckit 1.0.0, from its documented behaviour: states in `.wreckit/items/<id>/item.json`, phases, exit
 * codes and the texts it prints, with the surprises that the executor has to bear. What its agent would do is told by
 * `.git/script.json` ({ fails, rejects, holds, ideas, errors, noise, garbage, mute }); calls are noted in `.git/calls`.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { findRoot, itemFile, itemsOf, readItem, resolveId, save, say } from './wreckit-items.js';
import { asBatch, onePhase, run, runNext } from './wreckit-phases.js';

const [command, ...rest] = process.argv.slice(2);
const [asked] = rest.filter((word) => !word.startsWith('--'));
const has = (flag) => rest.includes(flag);
const option = (name) => rest.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1);
const print = (line) => process.stdout.write(`${line}\n`);

function answer(script, value, space) {
  if (script.noise === true) say('WARN: something {"unrelated": [1]} happened');
  print(script.garbage === command ? '{"id": "001-' : JSON.stringify(value, null, space));
  if (script.noise === true) say('done { }');
}

const listed = (items) =>
  items.map(({ id, state, title }, index) => ({ id: index + 1, fullId: id, state, title }));

function list(root, script) {
  const state = option('--state');
  answer(
    script,
    listed(itemsOf(root)).filter((item) => state === undefined || item.state === state),
    2,
  );
}

function show(root, script, id) {
  const directory = dirname(itemFile(root, id));
  const isThere = (name) => existsSync(join(directory, name));
  const prd = isThere('prd.json') ? JSON.parse(readFileSync(join(directory, 'prd.json'), 'utf8')) : undefined;
  const artifacts = { research: isThere('research.md'), plan: isThere('plan.md'), prd };
  answer(script, { ...readItem(root, id), artifacts });
}

async function takeIdeas(root, script) {
  const file = option('--file');
  const input = file === undefined ? await text(process.stdin) : readFileSync(file, 'utf8');
  if (input.trim() === '') return print('No input provided');
  if (script.ideas === 'none') return print('No items created');
  const existing = new Map(itemsOf(root).map(({ id }) => [id.replace(/^\d+-/, ''), id]));
  const slugs = input.split('\n').flatMap((line) => line.trim().toLowerCase().replaceAll(/\W+/g, '-') || []);
  const fresh = slugs.filter((slug) => !existing.has(slug));
  const made = fresh.map((slug, index) => `${String(existing.size + index + 1).padStart(3, '0')}-${slug}`);
  for (const id of made) {
    mkdirSync(dirname(itemFile(root, id)), { recursive: true });
    save(root, {
      id,
      title: id,
      state: 'idea',
      branch: null,
      pr_url: null,
      pr_number: null,
      last_error: null,
    });
  }
  const skipped = slugs.flatMap((slug) => existing.get(slug) ?? []);
  if (made.length > 0) print([`Created ${made.length} items:`, ...made].join('\n  '));
  if (skipped.length > 0) print([`Skipped ${skipped.length} existing items:`, ...skipped].join('\n  '));
}

function doctor(root, script) {
  const errors = script.errors ?? [];
  const left = has('--fix') ? errors.filter((error) => !error.endsWith('(fixable)')) : errors;
  if (errors.length === 0) return print('✓ No issues found');
  print([`Errors (${errors.length}):`, ...errors.map((error) => `✗ ${error}`)].join('\n  '));
  print('Info (1):\n  ℹ prompts directory is missing (defaults will be used)\n');
  if (has('--fix')) {
    writeFileSync(join(root, '.git', 'script.json'), JSON.stringify({ ...script, errors: left }));
    print(`Fixes applied:\n  ✓ done\n\nFixed ${errors.length - left.length} issue(s), ${left.length} failed`);
  } else print('Run with --fix to auto-fix recoverable issues');
  if (left.length > 0) process.exitCode = 1;
}

function rollback(root, id) {
  const item = readItem(root, id);
  if (!item.rollback_sha) throw new Error('No rollback anchor found.');
  save(root, item, { state: 'implementing', rollback_sha: null });
}

const commands = {
  status: (root, script) => answer(script, { schema_version: 1, items: listed(itemsOf(root)) }),
  list,
  show: (root, script) => show(root, script, resolveId(root, asked)),
  ideas: takeIdeas,
  // Only `next` drops `--cwd`; nobody here takes it, so the working directory always counts.
  next: (root, script) => asBatch(root, () => runNext(root, script)),
  run: (root, script) => asBatch(root, () => run(root, script, resolveId(root, asked))),
  doctor,
  rollback: (root) => rollback(root, resolveId(root, asked)),
};
const phase = (root, script) => onePhase(root, script, command, resolveId(root, asked), has('--force'));

async function main(script, root) {
  const call = { argv: process.argv.slice(2), cwd: process.cwd(), env: process.env, pid: process.pid };
  appendFileSync(join(root, '.git', 'calls'), `${JSON.stringify(call)}\n`);
  await (commands[command] ?? phase)(root, script);
}

// With its terminal interface on, which only CI or a pipe turns off, TERM ends it with code 0.
if (process.env.CI === undefined) process.on('SIGTERM', () => process.exit(0));
let script = {};
try {
  if (command === '--version') print('0.0.1');
  else {
    const root = findRoot(process.cwd());
    const file = join(root, '.git', 'script.json');
    if (existsSync(file)) script = JSON.parse(readFileSync(file, 'utf8'));
    await main(script, root);
  }
} catch (error) {
  // It exits before a pipe has taken its last words, so they are lost at times.
  if (script.mute !== true) say(`ERROR: ${error.message}`);
  process.exitCode = 1;
}
