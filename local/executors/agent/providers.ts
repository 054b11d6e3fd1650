/** Who may be asked: OpenAI-compatible providers, from the environment of the worker. Keys are read at each call. */
import { z } from 'zod';
import type { Price } from './prices.js';

export type Provider = {
  name: string;
  /** `/chat/completions` follows. */
  baseUrl: string;
  /** The variable that holds the key. */
  keyName: string;
  /** Whether it answers without a key. */
  keyless: boolean;
  /** Asked when neither the step nor its role names a model. */
  model: string | undefined;
  /** What that model costs. */
  price: Price | undefined;
  /** How it takes the bound on an answer's length. */
  lengthField: 'max_tokens' | 'max_completion_tokens';
  /** It can be told the schema of its answer; the answer is checked in any case. */
  takesSchema: boolean;
};

export type ModelSettings = { providers: Provider[]; timeoutMs: number };
export type Settings = (name: string) => string | undefined;

type Known = Omit<Provider, 'name' | 'baseUrl' | 'model' | 'price'> & {
  urlName: string;
  defaultUrl: string | undefined;
  /** Added to an address that the operator gives, for servers whose own address is the one people know. */
  path?: string;
  modelName: string;
  priceName: string;
  defaultPrice?: Price;
};

const ordinary = { keyless: false, lengthField: 'max_tokens', takesSchema: true } as const;

/** Addresses as the providers document them; ports of Ollama (11434) and of an OpenClaw Gateway (18789) too. */
const known = {
  together: {
    ...ordinary,
    urlName: 'TOGETHER_BASE_URL',
    defaultUrl: 'https://api.together.xyz/v1',
    keyName: 'TOGETHER_API_KEY',
    modelName: 'TOGETHER_MODEL',
    priceName: 'TOGETHER_USD_PER_MILLION',
  },
  openai: {
    ...ordinary,
    // Its reasoning models refuse max_tokens (platform.openai.com/docs/api-reference/chat/create).
    lengthField: 'max_completion_tokens',
    urlName: 'OPENAI_BASE_URL',
    defaultUrl: 'https://api.openai.com/v1',
    keyName: 'OPENAI_API_KEY',
    modelName: 'OPENAI_MODEL',
    priceName: 'OPENAI_USD_PER_MILLION',
  },
  openrouter: {
    ...ordinary,
    urlName: 'OPENROUTER_BASE_URL',
    defaultUrl: 'https://openrouter.ai/api/v1',
    keyName: 'OPENROUTER_API_KEY',
    modelName: 'OPENROUTER_MODEL',
    priceName: 'OPENROUTER_USD_PER_MILLION',
  },
  ollama: {
    ...ordinary,
    keyless: true,
    urlName: 'OLLAMA_BASE_URL',
    defaultUrl: 'http://127.0.0.1:11434/v1',
    keyName: 'OLLAMA_API_KEY',
    modelName: 'OLLAMA_MODEL',
    priceName: 'OLLAMA_USD_PER_MILLION',
    defaultPrice: { input: 0, output: 0 },
  },
  openclaw: {
    ...ordinary,
    takesSchema: false,
    urlName: 'OPENCLAW_GATEWAY_URL',
    defaultUrl: 'http://127.0.0.1:18789',
    path: '/v1',
    keyName: 'OPENCLAW_GATEWAY_TOKEN',
    modelName: 'OPENCLAW_MODEL',
    priceName: 'OPENCLAW_USD_PER_MILLION',
  },
  custom: {
    ...ordinary,
    keyless: true,
    takesSchema: false,
    urlName: 'OPS_LLM_CUSTOM_BASE_URL',
    defaultUrl: undefined,
    keyName: 'OPS_LLM_CUSTOM_API_KEY',
    modelName: 'OPS_LLM_CUSTOM_MODEL',
    priceName: 'OPS_LLM_CUSTOM_USD_PER_MILLION',
  },
} satisfies Record<string, Known>;

const Name = z.enum(Object.keys(known) as (keyof typeof known)[]);

/** Also for processes that nobody has checked the environment of; the same as in local/env.ts. */
const defaultTimeoutSeconds = 120;

/** The providers of `OPS_LLM_PROVIDERS` in their order, those without an address left out; none when it is not set. */
export function readModelSettings(setting: Settings): ModelSettings {
  const seconds = Number(setting('OPS_LLM_TIMEOUT_SECONDS') ?? defaultTimeoutSeconds);
  return {
    providers: listedProviders(setting).flatMap((name) => provider(name, setting) ?? []),
    timeoutMs: (seconds > 0 ? seconds : defaultTimeoutSeconds) * 1_000,
  };
}

function listedProviders(setting: Settings): (keyof typeof known)[] {
  const listed = (setting('OPS_LLM_PROVIDERS') ?? '').split(',').map((name) => name.trim());
  return [...new Set(listed)].flatMap((name) => Name.safeParse(name).data ?? []);
}

function provider(name: keyof typeof known, setting: Settings): Provider | undefined {
  const { urlName, defaultUrl, path, modelName, priceName, defaultPrice, ...rest }: Known = known[name];
  const base = setting(urlName) ?? defaultUrl;
  if (base === undefined) return undefined;
  return {
    ...rest,
    name,
    baseUrl: withPath(base.replace(/\/+$/, ''), path),
    model: setting(modelName),
    price: readPrice(setting(priceName)) ?? defaultPrice,
  };
}

const withPath = (base: string, path = ''): string => (base.endsWith(path) ? base : `${base}${path}`);

/** `0.15/0.60`: input and output. */
function readPrice(text: string | undefined): Price | undefined {
  const [, input, output] = /^(\d+(?:\.\d+)?)\/(\d+(?:\.\d+)?)$/.exec(text ?? '') ?? [];
  return input === undefined ? undefined : { input: Number(input), output: Number(output) };
}
