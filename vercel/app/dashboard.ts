/** The page at `/` and its files: read from disk once, at the first request for them, never from a given path. */
import { readFile } from 'node:fs/promises';
import { OpsError } from '../../supabase/client/errors.js';
import type { Handler } from './deps.js';
import { pagePolicy } from './headers.js';

type PageFile = { url: URL; type: string };

const script = 'text/javascript; charset=utf-8';

/** Written out one by one, so that nothing else is ever served and the deployment traces each of them. */
const files = new Map<string, PageFile>([
  [
    'index.html',
    { url: new URL('../dashboard/index.html', import.meta.url), type: 'text/html; charset=utf-8' },
  ],
  ['style.css', { url: new URL('../dashboard/style.css', import.meta.url), type: 'text/css; charset=utf-8' }],
  ['page.js', { url: new URL('../dashboard/page.js', import.meta.url), type: script }],
  ['board.js', { url: new URL('../dashboard/board.js', import.meta.url), type: script }],
  ['draw.js', { url: new URL('../dashboard/draw.js', import.meta.url), type: script }],
  ['api.js', { url: new URL('../dashboard/api.js', import.meta.url), type: script }],
  ['icon.svg', { url: new URL('../dashboard/icon.svg', import.meta.url), type: 'image/svg+xml' }],
]);

export function showPage(): Handler {
  const read = new Map<URL, Promise<string>>();
  return async function showPage(c) {
    const file = files.get(c.req.param('file') ?? 'index.html');
    if (file === undefined) throw new OpsError('OPS_012', 'the page has no such file');
    const text = read.get(file.url) ?? readFile(file.url, 'utf8');
    read.set(file.url, text);
    return c.body(await text, 200, { 'Content-Type': file.type, 'Content-Security-Policy': pagePolicy });
  };
}
