/** docs/http.md against the app: its routes, whom they open to, and what they do, both ways. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from '../../local/env.js';
import { testApp } from '../unit/http-app.js';

type Operation = { summary: string; security: Record<string, string[]>[] };
type Document = { paths: Record<string, Record<string, Operation>> };

const page = readFileSync(join(projectRoot, 'docs/http.md'), 'utf8');
const rows = [...page.matchAll(/^\| ([A-Z]+) \| `(\/\S*)` \| (.+?) \| (.+) \|$/gm)].map(
  ([, method, path, who, summary]) => ({ method, path, who, summary }),
);

/** `operator, viewer, page`, as the page says it. */
const inWords = (security: Operation['security']): string => {
  const names = security.flatMap((scheme) =>
    Object.entries(scheme).flatMap(([name, scopes]) =>
      name === 'key' ? scopes : name === 'scheduler' ? ['CRON_SECRET'] : ['page'],
    ),
  );
  return names.length === 0 ? 'anyone' : names.join(', ');
};

test('docs/http.md lists every route, in the order of the app, and no other', async () => {
  const { app } = testApp();
  const document = (await (await app.request('/api/ops/openapi.json')).json()) as Document;
  const there = app.routes
    .filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => {
      const operation = document.paths[path.replaceAll(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()];
      return { method, path, who: inWords(operation?.security ?? []), summary: operation?.summary };
    });
  expect(rows).toEqual(there);
});
