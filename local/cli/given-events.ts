/** Events that somebody makes up to try policies with: only such as could be. */
import { z } from 'zod';
import { exactDocument } from '../../supabase/client/json-text.js';
import { EventInput } from '../../supabase/client/schemas/inputs.js';

/** As it is emitted, but for what tells deliveries apart; `loop` is the trust of what the engine emits itself. */
export const GivenEvent = EventInput.pick({ type: true, source: true }).extend({
  data: exactDocument.optional(),
  trust: z.enum(['verified', 'unverified', 'loop']).optional(),
});
/** One that came at a time; without one it is now. */
export const TimedEvent = GivenEvent.extend({
  id: z.uuid().optional(),
  created_at: z.iso.datetime({ offset: true }).optional(),
});
export const eventForm =
  'An event is {"type": "words:joined:by:colons", "source"?: text, "data"?: {…}, "trust"?: "verified", "unverified" or "loop"}.';

/** What is wrong with a document, a line each, with its JSON path. */
export const problemsWithPaths = ({ issues }: z.ZodError): string =>
  issues.map(({ path, message }) => `${jsonPath(path)}: ${message}`).join('\n');

const jsonPath = (path: PropertyKey[]): string =>
  `$${path.map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`)).join('')}`;
