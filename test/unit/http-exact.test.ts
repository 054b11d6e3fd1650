/** Numbers that JavaScript would round go to the database as they were written. */
import { describe, expect, it } from 'vitest';
import { JsonText, stringify } from '../../supabase/client/json-text.js';
import { statement } from '../../supabase/client/pg.js';
import { exactText, memberOf, partsOf } from '../../vercel/app/exact.js';
import { apiKey, bearer, json, testApp } from './http-app.js';

describe('a text', () => {
  it.each<[string, boolean]>([
    ['{"id":9007199254740993}', true],
    ['[-12345678901234567890.5]', true],
    ['{"a":0.1234567890123456}', true],
    ['{"id":123456789012345}', false],
    ['{"id":"9007199254740993"}', false],
    ['{"0000000000000000":1}', false],
    ['{"a":0.00000000000000001}', false],
    ['{"id":9007199254740993,"x":1e-16000}', false],
    ['{"id":9007199254740993,"x":"\\u0000"}', false],
    [`{"id":${'9'.repeat(41)}}`, false],
    ['{"a":"\\"1234567890123456789","b":1}', false],
  ])('%s is kept in its own words: %s', (text, kept) => {
    expect(exactText(text)?.text).toBe(kept ? text : undefined);
  });

  it('comes apart as it was written', () => {
    const text = ' {"a" : {"x":[1, 2],"y":"}"} ,"b\\"" : "a:b,{" , "a":3 , "c":[] } ';
    expect(partsOf(text)).toEqual([
      ['a', '{"x":[1, 2],"y":"}"}'],
      ['b"', '"a:b,{"'],
      ['a', '3'],
      ['c', '[]'],
    ]);
    expect(memberOf(text, 'a')).toBe('3');
    expect(partsOf('[1, {"a":[2]} ,"]"]').map(([, part]) => part)).toEqual(['1', '{"a":[2]}', '"]"']);
    for (const empty of ['{}', '[ ]']) expect(partsOf(empty)).toEqual([]);
  });
});

describe('stringify', () => {
  it('puts every text where it stands, dollar signs and all', () => {
    const value = { a: new JsonText('[9007199254740993, "$&"]'), b: [new JsonText('{"x": 1}')], c: '$1' };
    expect(stringify(value)).toBe('{"a":[9007199254740993, "$&"],"b":[{"x": 1}],"c":"$1"}');
    expect(stringify({ a: 1 })).toBe('{"a":1}');
  });

  it('is what the driver sends, and to anybody else it is the value', () => {
    const value = { data: new JsonText('{"id":9007199254740993}') };
    const { values } = statement({ fn: 'f', args: [{ name: 'p_x', sql: 'jsonb', value }], kind: 'value' });
    expect(values).toEqual(['{"data":{"id":9007199254740993}}']);
    expect(JSON.stringify(value)).toBe('{"data":{"id":9007199254740992}}');
  });
});

describe('events', () => {
  const sent = async (body: string) => {
    const { app, calls } = testApp();
    expect((await app.request('/api/ops/events', json(body, bearer(apiKey)))).status).toBe(201);
    const [[, args] = []] = calls;
    return stringify((args as { events: unknown }).events);
  };
  const big = '{"id":9007199254740993}';
  const small = '{"id":1}';

  it.each<[string, string]>([
    [`{"type":"a","data":${big}}`, `[{"type":"a","data":${big}}]`],
    [`[{"data":${big},"type":"a"},{"type":"b"}]`, `[{"type":"a","data":${big}},{"type":"b"}]`],
    [
      `{"events":[{"type":"a","data":${small}},{"type":"b","data":${big}}]}`,
      `[{"type":"a","data":${small}},{"type":"b","data":${big}}]`,
    ],
  ])('%s are stored digit by digit', async (body, stored) => {
    expect(JSON.parse(await sent(body))).toEqual(JSON.parse(stored));
    expect(await sent(body)).toContain(big);
  });
});
