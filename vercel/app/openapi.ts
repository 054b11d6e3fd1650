/** `GET /api/ops/openapi.json`: every route, made from what the handlers themselves check and answer. */
import { z } from 'zod';
import type { Door } from './auth.js';
import { answers, described, type Endpoint } from './endpoint.js';
import type { Route } from './mount.js';

const spec = {
  summary: 'This document',
  answers: { 200: answers('OpenAPI 3.1.', z.looseObject({ openapi: z.literal('3.1.0') })) },
};

/** `routes` is asked at the first request, when the table that holds this very route is complete. */
export function showOpenApi(routes: () => Route[], { gates }: Door): Endpoint {
  let document: object | undefined;
  return described(spec, async function showOpenApi(c) {
    // What writes the document is heavy, and nobody else needs it.
    const { writeDocument } = await import('./openapi-document.js');
    document ??= writeDocument(routes(), gates);
    return c.json(document);
  });
}
