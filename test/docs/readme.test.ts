/** What the first page shows is what is answered, and it leads to every other page. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from '../../local/env.js';
import { callCli } from '../support/cli.js';
import { createDatabase } from '../support/database.js';

const readme = readFileSync(join(projectRoot, 'README.md'), 'utf8');
const first = (language: string, words: string): string =>
  [...readme.matchAll(/^```(\w+)\n(.*?)^```$/gms)].find(
    ([, known, text = '']) => known === language && text.includes(words),
  )?.[2] ?? '';

test('its answer to `why` is the one that its own policy gives', async () => {
  const shown = first('text', 'npm run why').split('\n').slice(1);
  const database = await createDatabase();
  try {
    await database.sql(first('sql', 'late-backup'));
    const { id } = await database.one<{ id: string }>(
      "select id from ops_agent_events where type = 'backup:checked' and data ->> 'age_hours' = '20'",
    );
    const { code, stdout, stderr } = await callCli(['why', id], { DATABASE_URL: database.url });
    expect(code, stderr).toBe(0);
    const answer = stdout.split('\n').map((line) => steady(line.trim()));
    for (const line of shown) if (line !== '' && line !== '…') expect(answer).toContain(steady(line));
  } finally {
    await database.dispose();
  }
});

/** The hour is another one each time; nothing else may be. */
const steady = (line: string): string => line.replaceAll(/\d\d:\d\d:\d\d/g, '<time>');

test('it leads to every page', () => {
  const pages = readdirSync(join(projectRoot, 'docs')).filter((name) => name.endsWith('.md'));
  expect(pages.filter((page) => !readme.includes(`](docs/${page})`))).toEqual([]);
  expect(readme).toContain('](docs/cookbook/README.md)');
});
