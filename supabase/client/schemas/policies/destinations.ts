/** Where a step may send to: hosts, and the channels of notify. */
import { z } from 'zod';
import { text, variable } from './fields.js';

const hostName = String.raw`(\*\.)?([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])`;

/** Its groups: scheme, wildcard, host, port with its colon, ranges. local/executors/http/grants.ts says what they mean. */
export const hostEntry = new RegExp(`^(?:(https?)://)?${hostName}(:[0-9]{1,5})?(?:@([0-9A-Fa-f:.,/]+))?$`);

export const host = z
  .string()
  .max(500)
  .regex(hostEntry)
  .describe(
    'a host such as "api.github.com", "*.example.com", "http://127.0.0.1:8080" or "wiki.internal@10.0.0.0/8"',
  );

/** A variable's value goes to these by name only: no scheme, port or range. */
export const secretHost = z
  .string()
  .max(500)
  .regex(new RegExp(`^${hostName}$`))
  .describe('a host such as "api.github.com" or "*.example.com"');

/** Where notify sends to. Which fields a type needs is checked when it is used; secrets stand in the environment. */
export const Channel = z.strictObject({
  type: z.enum(['slack', 'discord', 'telegram', 'webhook']),
  /** Variable with the address, where the address is the secret. */
  url_secret: variable.optional(),
  /** The address of a webhook, or of a Bot API server of one's own. */
  url: text(2000).optional(),
  token_secret: variable.optional(),
  signing_secret: variable.optional(),
  /** A number or "@name", as text. */
  chat_id: text(200).optional(),
});
export type Channel = z.infer<typeof Channel>;
