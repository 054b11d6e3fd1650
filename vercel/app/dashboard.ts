/** The page at `/` and its files: read from disk once, at the first request for them, never from a given path. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { OpsError } from '../../supabase/client/errors.js';
import type { Handler } from './deps.js';
import { answersPage, described, type Endpoint } from './endpoint.js';
import { pagePolicy } from './headers.js';

const script = 'text/javascript; charset=utf-8';

/** Written out one by one, so that nothing else is ever served. */
const types = new Map([
  ['index.html', 'text/html; charset=utf-8'],
  ['style.css', 'text/css; charset=utf-8'],
  ['page.js', script],
  ['board.js', script],
  ['draw.js', script],
  ['api.js', script],
  ['icon.svg', 'image/svg+xml'],
]);

/**
 * Where this module is, said so that the platform's build does not follow it: scripts that it finds become CommonJS,
 * which no browser reads. `includeFiles` in vercel.json brings the files as they are.
 */
const here: ImportMeta = import.meta;
const fileOf = (name: string): URL => new URL(`../dashboard/${name}`, here.url);

/** The page itself. */
export function showPage(): Endpoint {
  const spec = { summary: 'The page', answers: { 200: answersPage('It needs a session to show anything.') } };
  return described(spec, readPage());
}

export function showPageFile(): Endpoint {
  const spec = {
    summary: 'A file of the page',
    params: z.object({ file: z.enum([...types.keys()]) }),
    answers: { 200: { about: 'Style, script or picture.', type: '*/*' } },
  };
  return described(spec, readPage());
}

function readPage(): Handler {
  const read = new Map<string, Promise<string>>();
  return async function readPage(c) {
    const name = c.req.param('file') ?? 'index.html';
    const type = types.get(name);
    if (type === undefined)
      throw new OpsError('OPS_012', 'the page has no such file', {
        hint: `It has ${[...types.keys()].join(', ')}.`,
      });
    const text = read.get(name) ?? readFile(fileOf(name), 'utf8');
    read.set(name, text);
    return c.body(await text, 200, { 'Content-Type': type, 'Content-Security-Policy': pagePolicy });
  };
}
