/** How a gate says no (RFC 6750, 3.1): which credential is missing, malformed, wrong, or not enough. */
import { OpsError } from '../../supabase/client/errors.js';
import type { KeyScope } from '../../supabase/client/terms.js';
import type { Identity } from './deps.js';
import { minApiKeyLength, minSecretLength } from './env.js';
import type { OpeningVariable } from './environment-keys.js';
import { Refusal } from './problem.js';

const realm = 'Bearer realm="ops-loop"';
const sendKey = 'Send one header `Authorization: Bearer <key>`.';

export const missing = (): Refusal =>
  new Refusal('OPS_014', 'no key was sent', { hint: sendKey, headers: { 'WWW-Authenticate': realm } });
export const malformed = (): Refusal =>
  new Refusal('OPS_014', 'the Authorization header is not one bearer token', {
    status: 400,
    hint: sendKey,
    headers: { 'WWW-Authenticate': `${realm}, error="invalid_request"` },
  });
export const wrong = (): Refusal =>
  new Refusal('OPS_014', 'the key is not one that opens this route', {
    hint: 'GET of the heartbeat takes CRON_SECRET; everything else takes OPS_API_KEY, or a key of `ops-loop keys create`.',
    headers: { 'WWW-Authenticate': `${realm}, error="invalid_token"` },
  });
export const insufficient = ({ scope }: Identity, { scopes }: { scopes: readonly KeyScope[] }): Refusal =>
  new Refusal('OPS_014', `the scope ${scope} does not open this route`, {
    status: 403,
    hint: `It takes ${scopes.join(' or ')}.`,
    headers: { 'WWW-Authenticate': `${realm}, error="insufficient_scope"` },
  });

export function unconfigured(accepted: readonly OpeningVariable[]): OpsError {
  const least = { OPS_API_KEY: minApiKeyLength, CRON_SECRET: minSecretLength };
  const list = accepted.map((variable) => `${variable} (at least ${least[variable]} characters)`);
  return new OpsError('OPS_016', 'the secret that opens this route is not set, or too short', {
    hint: `Set ${list.join(' or ')}, for example from \`openssl rand -base64 33\`.`,
  });
}
