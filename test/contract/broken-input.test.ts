/**
 * Whatever text a caller puts into an address: the answer is a problem of ours with a hint, never the database's own
 * words and never a 500. The routes and their parameters are those of `openapi.json`.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { apiKey, bearer, json, someId } from '../unit/http-app.js';
import { type Instance, useDoors } from './door-kit.js';

const doors = useDoors();
let here: Instance;
beforeAll(() => {
  here = doors.instance();
});

type Parameter = { name: string; in: string; schema: { type?: string } };
type Operation = { parameters?: Parameter[] };

const broken = {
  'the character NUL': '%00',
  'NUL inside a text': 'a%00b',
  'bytes that are no UTF-8': '%ff%fe',
  'half of a pair of surrogates': '%ed%a0%80',
  'a percent sign alone': '%',
  'a cursor that is none': 'abc',
  'a cursor beyond any time': `99999999999999999 ${someId}`,
  'a sorted cursor beyond any number': `score 99999999999999999999.9 ${someId}`,
  'a year before the first': '0000-01-01T00:00:00Z',
  'a zone that is none': '2026-01-01T00:00:00%2B23:59',
  'a last moment': '9999-12-31T23:59:59.999999999Z',
  'an endless text': 'x'.repeat(3_000),
};
/** What PostgreSQL, or its driver, says of such values. */
const foreign =
  /byte sequence|encoding|syntax|out of range|unsupported|escape|displacement|pg_|relation|column/i;

async function ask(method: string, path: string) {
  const init = { method, headers: { ...bearer(apiKey), 'Content-Type': 'application/json' } };
  const response = await here.app.request(path, method === 'GET' ? init : { ...init, body: '{}' });
  const text = await response.text();
  return { status: response.status, text };
}

async function judge(method: string, path: string): Promise<string | undefined> {
  const { status, text } = await ask(method, path);
  // Links from messages answer people, with a page.
  if (status < 400 || (status < 500 && text.startsWith('<!doctype html>'))) return undefined;
  const { code, hint, detail } = JSON.parse(text) as Record<string, unknown>;
  if (status < 500 && /^OPS_\d{3}$/.test(String(code)) && hint && !foreign.test(text)) return undefined;
  return `${method} ${path.slice(0, 100)}: ${status} ${code} ${detail} → ${hint}`;
}

describe.each(Object.entries(broken))('%s', (_, value) => {
  it('in any parameter of any route is refused in our words, or means nothing', async () => {
    const { paths } = JSON.parse((await ask('GET', '/api/ops/openapi.json')).text) as {
      paths: Record<string, Record<string, Operation>>;
    };
    const complaints: (string | undefined)[] = [];
    for (const [route, operations] of Object.entries(paths).filter(([path]) => path !== '/api/ops/stream'))
      for (const [method, { parameters = [] }] of Object.entries(operations)) {
        const at = (hostile?: string) =>
          route.replaceAll(/\{(\w+)\}/g, (_, name) =>
            (hostile ?? name === 'id') ? (hostile ?? someId) : 'alerts',
          );
        if (route.includes('{')) complaints.push(await judge(method.toUpperCase(), at(value)));
        for (const { name } of parameters.filter((parameter) => parameter.in === 'query'))
          complaints.push(await judge(method.toUpperCase(), `${at()}?${name}=${value}`));
      }
    expect(complaints.filter((complaint) => complaint !== undefined)).toEqual([]);
    expect(complaints.length).toBeGreaterThan(40);
  });
});

describe('a list by time', () => {
  const askBefore = async (time: string) => {
    const { status, text } = await ask('GET', `/api/ops/proposals?before=${encodeURIComponent(time)}`);
    return { status, ...(JSON.parse(text) as { errors?: unknown }) };
  };

  it('takes the first year and the farthest zones', async () => {
    for (const time of [
      '0001-01-01T00:00:00Z',
      '2026-01-01T00:00:00+15:59',
      '2026-01-01T00:00:00.123456-15:59',
    ])
      expect(await askBefore(time)).toMatchObject({ status: 200 });
  });

  it('names the member that is no time, in a body too', async () => {
    const errors = [{ pointer: '/before', detail: 'is no time that the database can tell' }];
    expect(await askBefore('0000-12-31T00:00:00Z')).toMatchObject({ status: 400, errors });
    const sent = { since: '2026-01-01T00:00:00-16:00' };
    const response = await here.app.request('/api/ops/policies/simulate', json(sent, bearer(apiKey)));
    expect([response.status, await response.json()]).toMatchObject([
      400,
      { errors: [{ pointer: '/since' }] },
    ]);
  });
});

it('a NUL in an address is named with its place and the way out', async () => {
  const { text } = await ask('GET', '/api/ops/missions?status=failed&cursor=%00&pattern=a%00');
  expect(JSON.parse(text)).toMatchObject({
    code: 'OPS_011',
    detail: 'the address holds the character U+0000',
    hint: expect.stringContaining('%00'),
    errors: [{ pointer: '/cursor' }, { pointer: '/pattern' }],
  });
});
