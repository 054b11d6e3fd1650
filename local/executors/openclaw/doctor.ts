/** What `ops-loop doctor` says about OpenClaw on this machine. */
import { findProgram } from '../../process/program.js';
import type { DoctorContext, Finding } from '../contract.js';
import { askVersion } from './ask-version.js';
import { openBase } from './config.js';
import { examineGateway } from './doctor-gateway.js';
import { type Grants, grantsOf } from './grants.js';
import { configFileOf, type Settings, settingsOf } from './settings.js';
import { hasExec, mayFallBack, type Version } from './version.js';

/** Looks at what the granted modes need, and at nothing when none is granted. */
export async function examine(ctx: DoctorContext): Promise<Finding[]> {
  const grants = grantsOf(ctx.config);
  const granted = grants.allowed_openclaw_subcommands;
  if (granted.length === 0)
    return [{ name: 'openclaw', ok: true, message: 'not granted by worker_policy, so not looked at' }];
  const settings = settingsOf(ctx);
  const isProgram = granted.some((subcommand) => subcommand.startsWith('agent'));
  return [
    ...(isProgram ? await examineProgram(settings, granted) : []),
    ...(granted.includes('agent exec') ? await examineConfig(settings) : []),
    ...(granted.includes('gateway')
      ? [await examineGateway(settings.gatewayUrl, ctx.secret('OPENCLAW_GATEWAY_TOKEN'))]
      : []),
    ...findVariables(grants, ctx),
  ];
}

async function examineProgram(settings: Settings, granted: readonly string[]): Promise<Finding[]> {
  const path = await findProgram(settings.program, settings.path);
  if (path === undefined)
    return [
      {
        name: 'openclaw',
        ok: false,
        message: `there is no program ${settings.program}`,
        hint: 'Install openclaw where PATH or OPS_OPENCLAW_PATH leads to, or name it in OPS_OPENCLAW_BIN.',
      },
    ];
  try {
    const version = await askVersion(settings, AbortSignal.timeout(60_000));
    return [
      { name: 'openclaw', ok: true, message: `${path} ${version?.text ?? ''}`.trim() },
      ...ages(version, granted),
    ];
  } catch (error) {
    return [problem('openclaw', error)];
  }
}

function ages(version: Version | undefined, granted: readonly string[]): Finding[] {
  const update = { name: 'openclaw:version', ok: false, hint: 'Update OpenClaw to 2026.8.1 or later.' };
  if (granted.includes('agent exec') && !hasExec(version))
    return [{ ...update, message: 'this version has no `agent exec`' }];
  if (version !== undefined && granted.includes('agent') && mayFallBack(version))
    return [
      {
        ...update,
        message: 'this version runs a turn twice when its Gateway is slow; such steps end as unknown',
      },
    ];
  return [];
}

const examineConfig = (settings: Settings): Promise<Finding[]> =>
  openBase(configFileOf(settings)).then(
    () => [],
    (error: unknown) => [problem('openclaw:config', error)],
  );

function findVariables({ openclaw_environment: names }: Grants, ctx: DoctorContext): Finding[] {
  const unset = names.filter((name) => ctx.secret(name) === undefined);
  if (unset.length === 0) return [];
  const message = `openclaw_environment names variables that are not set: ${unset.join(', ')}`;
  return [
    { name: 'openclaw:environment', ok: false, message, hint: 'Set them for the worker, or take them out.' },
  ];
}

function problem(name: string, error: unknown): Finding {
  const { message, hint } = error as { message: string; hint?: string };
  return { name, ok: false, message, ...(hint !== undefined && { hint }) };
}
