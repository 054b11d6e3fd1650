/**
 * A stand-in for GitHub's `gh`, as far as wreckit calls it: pull requests in `.git/pull-requests.json` of the
 * repository it is called in. `gh pr merge <number>` merges one, which wreckit itself never does.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const file = '.git/pull-requests.json';
const pulls = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : [];
const [, verb, ...rest] = process.argv.slice(2);
const option = (name) => rest[rest.indexOf(name) + 1];
const found = pulls.find(({ number, headRefName }) => [String(number), headRefName].includes(rest[0]));

if (verb === 'create') {
  const number = pulls.length + 1;
  const url = `https://github.com/o/r/pull/${number}`;
  const branches = { headRefName: option('--head'), baseRefName: option('--base') };
  pulls.push({ number, url, ...branches, state: 'OPEN', mergeable: 'MERGEABLE', mergedAt: null });
  process.stdout.write(`${url}\n`);
} else if (found === undefined) {
  process.stderr.write('no pull requests found\n');
  process.exitCode = 1;
} else if (verb === 'merge') {
  Object.assign(found, { state: 'MERGED', mergedAt: '2026-01-02T00:00:00Z', mergeCommit: { oid: 'abc' } });
} else if (verb === 'view') {
  process.stdout.write(`${JSON.stringify({ statusCheckRollup: [], ...found })}\n`);
}
writeFileSync(file, JSON.stringify(pulls));
