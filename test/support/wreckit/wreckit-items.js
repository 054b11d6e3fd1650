/** A stand-in for wreckit: the items of a repository, and how they are named. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export const order = ['idea', 'researched', 'planned', 'implementing', 'critique', 'in_pr', 'done'];

export class WreckitError extends Error {
  constructor(code, message) {
    super(`[${code}] ${message}`);
  }
}

/** Climbs, as wreckit does: from a plain directory inside a repository it would find that repository. */
export function findRoot(from) {
  for (let at = from; at !== dirname(at); at = dirname(at))
    if (existsSync(join(at, '.git')) && existsSync(join(at, '.wreckit'))) return at;
  throw new WreckitError(
    'REPO_NOT_FOUND',
    'Could not find repository root with .git and .wreckit directories',
  );
}

export const itemFile = (root, id) => join(root, '.wreckit', 'items', id, 'item.json');
export const readItem = (root, id) => JSON.parse(readFileSync(itemFile(root, id), 'utf8'));

export function save(root, item, changes) {
  const saved = { ...item, ...changes, updated_at: new Date().toISOString() };
  writeFileSync(itemFile(root, item.id), JSON.stringify(saved));
  return saved;
}

export function itemsOf(root) {
  const ids = readdirSync(join(root, '.wreckit', 'items')).sort();
  return ids.map((id) => readItem(root, id));
}

/** Exact, then number, then slug; more than one is an error. */
export function resolveId(root, word) {
  const ids = itemsOf(root).map(({ id }) => id);
  const tiers = [
    (id) => id === word,
    (id) => /^\d+$/.test(word) && Number.parseInt(id, 10) === Number(word),
    (id) => id.replace(/^\d+-/, '') === word,
  ];
  for (const fits of tiers) {
    const found = ids.filter(fits);
    if (found.length === 1) return found[0];
    if (found.length > 1)
      throw new WreckitError(
        'AMBIGUOUS_ID',
        `Ambiguous ID '${word}' matches multiple items:\n  - ${found.join('\n  - ')}`,
      );
  }
  throw new WreckitError(
    'ITEM_NOT_FOUND',
    `Item not found: '${word}'. Use 'wreckit list' to see available items.`,
  );
}

/** To people, with colours even into a pipe. */
export const say = (line) => process.stdout.write(`\u001b[36m${line}\u001b[39m\n`);
