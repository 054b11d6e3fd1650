/** Values that rows of many subjects hold. */
import { z } from 'zod';

/** Timestamps leave the engine as ISO 8601 text with an offset, whichever driver carried them. */
export const timestamp = z.union([z.string(), z.date().transform((d) => d.toISOString())]);
/** Drivers hand bigint and numeric on as text. */
export const count = z.coerce.number();
export { document, json } from './json.js';
