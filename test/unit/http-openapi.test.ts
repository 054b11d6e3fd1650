/** `openapi.json` against the routes, both ways, and against what OpenAPI 3.1 asks of a document. */
import { beforeAll, describe, expect, it } from 'vitest';
import { testApp } from './http-app.js';

type Json = { [key: string]: Json };
type Operation = {
  summary: string;
  security: Record<string, string[]>[];
  parameters?: { name: string; in: string; required?: boolean; schema: object }[];
  requestBody?: { content: Record<string, { schema: Json }>; required?: boolean };
  responses: Record<string, { $ref?: string; description?: string }>;
};
type Document = {
  openapi: string;
  info: { title: string; version: string };
  paths: Record<string, Record<string, Operation>>;
  components: Record<string, Record<string, Json>>;
};

const { app } = testApp();
let document: Document;
beforeAll(async () => {
  const response = await app.request('/api/ops/openapi.json');
  expect(response.status).toBe(200);
  document = (await response.json()) as Document;
});

const operations = () =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method, operation })),
  );
const operationAt = (method: string, path: string): Operation => {
  const found = document.paths[path]?.[method];
  if (found === undefined) throw new Error(`there is no ${method} ${path}`);
  return found;
};

describe('the document', () => {
  it('has every route, and no other', () => {
    const there = app.routes
      .filter(({ method }) => method !== 'ALL')
      .map(({ method, path }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')}`);
    const said = operations().map(({ method, path }) => `${method.toUpperCase()} ${path}`);
    expect(said.sort()).toEqual(there.sort());
  });

  it('says what it is, and leads nowhere that is not there', () => {
    expect(document).toMatchObject({ openapi: '3.1.0', info: { title: 'Ops-Loop' } });
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, to = '']) => to);
    expect(references.length).toBeGreaterThan(50);
    const at = (to: string) =>
      to
        .slice(2)
        .split('/')
        .reduce<Json | undefined>((here, name) => here?.[name], document as unknown as Json);
    for (const to of new Set(references)) expect([to, typeof at(to)]).toEqual([to, 'object']);
  });

  it('declares each parameter of a path, once, and no other as such', () => {
    for (const { path, operation } of operations()) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const declared = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path');
      expect(declared.map(({ name }) => name)).toEqual(inPath);
      expect(declared.every(({ required }) => required)).toBe(true);
      const names = (operation.parameters ?? []).map((parameter) => `${parameter.in} ${parameter.name}`);
      expect(new Set(names).size).toBe(names.length);
    }
  });

  it('says of every operation what it does, what it answers, and that errors are problems', () => {
    for (const { path, method, operation } of operations()) {
      const { summary, responses } = operation;
      expect([path, method, summary]).toEqual([path, method, expect.stringMatching(/^[A-Z].*[^.]$/)]);
      expect(Object.keys(responses).filter((status) => !/^[2-5]\d\d$|^default$/.test(status))).toEqual([]);
      expect(Object.keys(responses).some((status) => status.startsWith('2'))).toBe(true);
      for (const response of Object.values(responses))
        expect(response.$ref ?? response.description).toMatch(/\S/);
      expect(responses.default).toEqual({ $ref: '#/components/responses/Problem' });
    }
    expect(document.components.responses?.Problem?.content).toHaveProperty(['application/problem+json']);
  });

  it('asks for no body where none is read', () => {
    const withBody = operations().filter(({ operation }) => operation.requestBody !== undefined);
    expect(withBody.map(({ method }) => method).filter((method) => method === 'get')).toEqual([]);
    const { requestBody } = operationAt('post', '/api/ops/proposals/{id}/approve');
    expect(requestBody?.required).toBe(false);
    expect(operationAt('post', '/api/ops/proposals').requestBody?.required).toBe(true);
  });

  it('names the credentials of each gate, all of them declared', () => {
    const schemes = Object.keys(document.components.securitySchemes ?? {});
    const used = operations().flatMap(({ operation }) => operation.security.flatMap(Object.keys));
    expect([...new Set(used)].sort()).toEqual(schemes.sort());
    const of = (method: string, path: string) => operationAt(method, path).security.flatMap(Object.keys);
    expect(of('get', '/api/ops/heartbeat')).toEqual(['scheduler']);
    expect(of('post', '/api/ops/heartbeat')).toEqual(['key', 'scheduler']);
    expect(of('get', '/api/ops/missions')).toEqual(['key', 'session']);
    expect(of('post', '/api/ops/missions/{id}/cancel')).toEqual(['key']);
    expect(of('get', '/health')).toEqual([]);
  });

  it('uses only keywords of JSON Schema 2020-12 in its schemas', () => {
    const keywords = new Set(
      (
        '$ref type properties required items prefixItems enum const anyOf oneOf allOf not format pattern minLength ' +
        'maxLength minimum maximum exclusiveMinimum minItems maxItems additionalProperties propertyNames default ' +
        'description contentEncoding'
      ).split(' '),
    );
    const strays = new Set<string>();
    const walk = (schema: unknown): void => {
      if (typeof schema !== 'object' || schema === null) return;
      for (const [keyword, value] of Object.entries(schema)) {
        if (!Array.isArray(schema) && !keywords.has(keyword)) strays.add(keyword);
        if (keyword === 'properties') for (const member of Object.values(value)) walk(member);
        else if (!['enum', 'const', 'default'].includes(keyword)) walk(value);
      }
    };
    for (const schema of Object.values(document.components.schemas ?? {})) walk(schema);
    for (const { operation } of operations()) {
      for (const { schema } of operation.parameters ?? []) walk(schema);
      for (const { schema } of Object.values(operation.requestBody?.content ?? {})) walk(schema);
      for (const response of Object.values(operation.responses))
        for (const { schema } of Object.values(
          (response as { content?: Record<string, { schema: Json }> }).content ?? {},
        ))
          walk(schema);
    }
    expect([...strays]).toEqual([]);
  });

  it('shows what a handler checks: what is sent before defaults, what is answered after', () => {
    const { parameters } = operationAt('get', '/api/ops/missions');
    expect(parameters?.find(({ name }) => name === 'limit')).toMatchObject({
      in: 'query',
      required: false,
      schema: { type: 'integer', minimum: 1, maximum: 500, default: 50 },
    });
    expect(document.components.schemas?.TraceNode).toMatchObject({
      properties: { detail: {}, children: { items: { $ref: '#/components/schemas/TraceNode' } } },
    });
    expect(document.components.schemas?.DeadLetter).toMatchObject({
      properties: { created_at: { type: 'string', format: 'date-time' }, id: { format: 'uuid' } },
    });
  });
});
