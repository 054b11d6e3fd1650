/**
 * The variables of webhook sources that have no name of their own in the schema: `OPS_WEBHOOK_<SOURCE>_SECRET`,
 * `…_SECRET_PREVIOUS` and `…_SCHEME`. The source `my-shop` is `MY_SHOP` in them.
 */

const webhookSchemes = ['github', 'stripe', 'standard', 'alertmanager', 'bearer'] as const;
export type WebhookScheme = (typeof webhookSchemes)[number];
/** By the variable's name. What is not set is not there. */
export type WebhookVariables = Readonly<Record<string, string>>;

/** As for any other secret of the environment. */
const minLength = 16;
/** Standard Webhooks, Signature scheme: between 24 and 64 bytes. */
const standardBytes = { least: 24, most: 64 };

const variableForm = /^OPS_WEBHOOK_([A-Z0-9]+(?:_[A-Z0-9]+)*?)_(SECRET|SECRET_PREVIOUS|SCHEME)$/;

export const variableOf = (source: string, what: 'SECRET' | 'SECRET_PREVIOUS' | 'SCHEME'): string =>
  `OPS_WEBHOOK_${source.toUpperCase().replaceAll('-', '_')}_${what}`;

/** Those of them that are set, and what is wrong with them in words; never a value. */
export function readWebhooks(all: Readonly<Record<string, string | undefined>>): {
  variables: WebhookVariables;
  problems: string[];
} {
  const set = Object.entries(all).filter(
    (entry): entry is [string, string] => entry[0].startsWith('OPS_WEBHOOK_') && Boolean(entry[1]),
  );
  const variables = Object.fromEntries(set);
  const problems = set.flatMap(([name, value]) => problemOf(name, value, variables) ?? []);
  return { variables, problems };
}

function problemOf(name: string, value: string, variables: WebhookVariables): string | undefined {
  const [, source = '', what] = variableForm.exec(name) ?? [];
  if (what === undefined) return `${name} is none: its name ends in _SECRET, _SECRET_PREVIOUS or _SCHEME`;
  if (what === 'SCHEME')
    return isScheme(value) ? undefined : `${name} must be one of ${webhookSchemes.join(', ')}`;
  if (value.length < minLength) return `${name} needs at least ${minLength} characters`;
  if (schemeOf(source, variables) === 'standard' && !isStandardSecret(value))
    return `${name} must be whsec_ and 24 to 64 bytes in base64, as the sender shows it`;
  return undefined;
}

const isScheme = (value: string): value is WebhookScheme => webhookSchemes.some((known) => known === value);

/** By name, by its variable, by the form of its secret; a plain secret is a bearer token. */
export function schemeOf(source: string, variables: WebhookVariables): WebhookScheme {
  const name = source.toLowerCase();
  if (name === 'github' || name === 'stripe' || name === 'alertmanager') return name;
  const said = variables[variableOf(source, 'SCHEME')];
  if (said !== undefined && isScheme(said)) return said;
  return variables[variableOf(source, 'SECRET')]?.startsWith('whsec_') ? 'standard' : 'bearer';
}

function isStandardSecret(secret: string): boolean {
  const [, base64 = ''] =
    /^whsec_((?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$/.exec(secret) ?? [];
  const bytes = Buffer.from(base64, 'base64');
  return bytes.length >= standardBytes.least && bytes.length <= standardBytes.most;
}
