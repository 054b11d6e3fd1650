/** Where openclaw is on this machine, from the worker's environment. */
import { delimiter, join } from 'node:path';
import { listedEnvironment } from '../../process/environment.js';
import type { StepContext } from '../contract.js';

export type Settings = {
  /** A name looked up on PATH, or an absolute path. */
  program: string;
  /** The child's PATH: OpenClaw may need a newer Node than the worker runs on. */
  path: string;
  stateDir: string | undefined;
  config: string | undefined;
  gatewayUrl: string;
};

/** A Gateway's own default (OpenClaw, docs/gateway/configuration-reference.md). */
const defaultGatewayUrl = 'http://127.0.0.1:18789';

export function settingsOf(ctx: Pick<StepContext, 'setting'>): Settings {
  const { PATH = '' } = listedEnvironment();
  const first = ctx.setting('OPS_OPENCLAW_PATH');
  return {
    program: ctx.setting('OPS_OPENCLAW_BIN') ?? 'openclaw',
    path: first === undefined ? PATH : `${first}${delimiter}${PATH}`,
    stateDir: ctx.setting('OPS_OPENCLAW_STATE_DIR'),
    config: ctx.setting('OPS_OPENCLAW_CONFIG'),
    gatewayUrl: ctx.setting('OPENCLAW_GATEWAY_URL') ?? defaultGatewayUrl,
  };
}

/** Where OpenClaw itself looks for its configuration (docs/help/environment.md). It may not exist. */
export const configFileOf = ({ config, stateDir }: Settings): string =>
  config ?? join(stateDir ?? join(listedEnvironment().HOME ?? '/', '.openclaw'), 'openclaw.json');

/**
 * The whole environment of the child. `granted` are variables that the policy hands over; ours go before them where
 * both have a name.
 */
export function childEnvironment(
  { path, stateDir, config }: Settings,
  granted: Record<string, string>,
  ours: Record<string, string> = {},
): Record<string, string> {
  return listedEnvironment({
    ...quiet,
    ...granted,
    ...(stateDir !== undefined && { OPENCLAW_STATE_DIR: stateDir }),
    ...(config !== undefined && { OPENCLAW_CONFIG_PATH: config }),
    ...ours,
    PATH: path,
  });
}

/** Less noise beside the answer, and no program that replaces itself while it works. */
const quiet = { OPENCLAW_LOG_LEVEL: 'warn', OPENCLAW_NO_AUTO_UPDATE: '1', NO_COLOR: '1' };
