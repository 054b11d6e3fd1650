/** What a call costs: by its provider's own figure, else by the policy, else by the environment. */
import { z } from 'zod';
import type { Json } from '../json.js';
import type { Provider } from './providers.js';

/** US dollars per million tokens. */
export type Price = { input: number; output: number };
/** `cost`: what the provider says the call cost, in US dollars. */
export type Usage = { input: number; output: number; cost?: number | undefined };

const perToken = 1e-6;
const Prices = z.record(z.string(), z.object({ input: z.number(), output: z.number() })).catch({});

/** `worker_policy.model_prices`, by `<provider>/<model>`. */
export const readPrices = (policy: Record<string, Json>): Record<string, Price> =>
  Prices.parse(policy.model_prices ?? {});

/** The environment prices only the model that it names: another one may cost a hundred times as much. */
export function priceOf(
  { name, model: ownModel, price }: Provider,
  model: string,
  prices: Record<string, Price>,
): Price | undefined {
  const free = price?.input === 0 && price.output === 0;
  return prices[`${name}/${model}`] ?? (free || model === ownModel ? price : undefined);
}

/** US dollars; undefined when nobody knows. Cached input counts in full, so this errs upwards. */
export function costOf({ input, output, cost }: Usage, price: Price | undefined): number | undefined {
  if (cost !== undefined) return cost;
  return price === undefined ? undefined : (input * price.input + output * price.output) * perToken;
}
