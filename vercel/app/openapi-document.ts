/**
 * The OpenAPI 3.1 document of a table of routes. Bodies become JSON Schema by zod's own converter, since ours hold any
 * JSON at places, which the library's cannot express; the library writes parameters and puts the document together.
 */
import { OpenAPIHono } from '@hono/zod-openapi';
import { demands, type Gates } from './auth.js';
import type { Gate } from './deps.js';
import type { Answer, Spec } from './endpoint.js';
import type { Route } from './mount.js';
import { createSchemas, Problem, type Schemas } from './openapi-schemas.js';
import { version } from './version.js';

type Registry = OpenAPIHono['openAPIRegistry'];
type PathConfig = Parameters<Registry['registerPath']>[0];
type Parameters_ = NonNullable<PathConfig['request']>['params'];

const info = {
  title: 'Ops-Loop',
  version,
  description: 'The control plane. Errors are `application/problem+json` with a code of `docs/errors.md`.',
};

export function writeDocument(routes: Route[], gates: Gates): object {
  const app = new OpenAPIHono();
  const registry = app.openAPIRegistry;
  const schemas = createSchemas();
  for (const [method, path, who, { spec }] of routes)
    registry.registerPath({
      method: methods[method],
      path: path.replaceAll(/:(\w+)/g, '{$1}'),
      ...operation(spec, demandOf(who, gates), schemas),
    });
  register(registry, schemas);
  return app.getOpenAPI31Document({ openapi: '3.1.0', info, servers: [{ url: '/' }] });
}

const methods = { GET: 'get', POST: 'post', PUT: 'put', DELETE: 'delete' } as const;

type Demand = (typeof demands)[keyof typeof demands];
const names = Object.keys(demands) as (keyof typeof demands)[];

/** Undefined where no gate of ours stands. */
function demandOf(who: Gate, gates: Gates): Demand | undefined {
  const name = names.find((known) => gates[known] === who);
  return name === undefined ? undefined : demands[name];
}

function operation(spec: Spec, demand: Demand | undefined, schemas: Schemas) {
  const answers = Object.entries(spec.answers).map(([status, answer]) => [status, answerOf(answer, schemas)]);
  const problems = problemsOf(spec, demand).map((status) => [status, problem]);
  return {
    summary: spec.summary,
    security: securityOf(demand),
    request: requestOf(spec, schemas),
    responses: { ...Object.fromEntries([...problems, ...answers]), default: problem },
  };
}

function requestOf({ params, query, body, bodyMayBeEmpty, otherBodies }: Spec, { of }: Schemas) {
  const bodies = { ...(body === undefined ? {} : { 'application/json': body }), ...otherBodies };
  const content = Object.fromEntries(
    Object.entries(bodies).map(([type, schema]) => [type, { schema: of(schema, 'input') }]),
  );
  return {
    ...(params === undefined ? {} : { params: params as Parameters_ }),
    ...(query === undefined ? {} : { query: query as Parameters_ }),
    ...(Object.keys(bodies).length === 0 ? {} : { body: { content, required: bodyMayBeEmpty !== true } }),
  };
}

function answerOf({ about, schema, type }: Answer, { of }: Schemas) {
  if (schema !== undefined)
    return { description: about, content: { 'application/json': { schema: of(schema, 'output') } } };
  if (type === undefined) return { description: about };
  return { description: about, content: { [type]: { schema: { type: 'string' } } } };
}

const problem = { $ref: '#/components/responses/Problem' };

/** Refusals that follow from what a route takes; each verb's own stand behind `default`. */
function problemsOf(spec: Spec, demand: Demand | undefined): string[] {
  const { params, query, body, otherBodies, refuses = [] } = spec;
  const takesBody = body !== undefined || otherBodies !== undefined;
  const takesInput = takesBody || params !== undefined || query !== undefined;
  return [
    ...(takesInput ? ['400'] : []),
    ...(demand === undefined ? [] : ['401', '403', '429']),
    ...(params === undefined ? [] : ['404']),
    ...(takesBody ? ['413', '415'] : []),
    '503',
    ...refuses.map(String),
  ];
}

function securityOf(demand: Demand | undefined) {
  if (demand === undefined) return [];
  const isOpenedBy = (variable: string) => demand.environment.some((known) => known === variable);
  return [
    // Scopes of keys, any of which will do; OPS_API_KEY has all of them.
    ...(isOpenedBy('OPS_API_KEY') ? [{ key: [...demand.scopes] }] : []),
    ...(isOpenedBy('CRON_SECRET') ? [{ scheduler: [] }] : []),
    ...('page' in demand ? [{ session: [] }] : []),
  ];
}

function register(registry: Registry, schemas: Schemas): void {
  const content = { 'application/problem+json': { schema: schemas.of(Problem, 'output') } };
  registry.registerComponent('responses', 'Problem', { description: 'What went wrong (RFC 9457).', content });
  registry.registerComponent('securitySchemes', 'key', {
    type: 'http',
    scheme: 'bearer',
    description: 'OPS_API_KEY, or a key of `ops-loop keys create` whose scope opens the route.',
  });
  registry.registerComponent('securitySchemes', 'scheduler', {
    type: 'http',
    scheme: 'bearer',
    description: 'CRON_SECRET.',
  });
  registry.registerComponent('securitySchemes', 'session', {
    type: 'apiKey',
    in: 'cookie',
    name: '__Host-ops_session',
    description: 'The page’s own; it works from the page alone.',
  });
  for (const [name, schema] of Object.entries(schemas.named()))
    registry.registerComponent('schemas', name, schema);
}
