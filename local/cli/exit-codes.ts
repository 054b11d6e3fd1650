/** What each exit code of `ops-loop` means; scripts rely on them, `--help` and docs/cli.md list them. */
import type { OpsCode } from '../../supabase/client/errors.js';

export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  refused: 3,
  notFound: 4,
  databaseAway: 69,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

export const exitCodeMeanings: Record<ExitCode, string> = {
  0: 'done',
  1: 'failed',
  2: 'the call, its input or the environment is wrong',
  3: 'refused: by a gate, an illegal transition, a missing right, or a name that another worker has',
  4: 'not found',
  69: 'the database is away or none is chosen',
};

/** 69 is EX_UNAVAILABLE of sysexits.h. */
const codes: Partial<Record<OpsCode, ExitCode>> = {
  OPS_001: exitCodes.databaseAway,
  OPS_002: exitCodes.notFound,
  OPS_003: exitCodes.refused,
  OPS_004: exitCodes.usage,
  OPS_005: exitCodes.usage,
  OPS_006: exitCodes.refused,
  OPS_008: exitCodes.usage,
  OPS_009: exitCodes.refused,
  OPS_011: exitCodes.usage,
  OPS_012: exitCodes.notFound,
  OPS_014: exitCodes.refused,
  OPS_015: exitCodes.refused,
  OPS_016: exitCodes.usage,
  OPS_017: exitCodes.usage,
};

export const exitCodeOf = (code: OpsCode): ExitCode => codes[code] ?? exitCodes.failed;

/** The lines at the end of `--help`. */
export function exitCodeHelp(): string {
  const lines = Object.entries(exitCodeMeanings).map(
    ([code, meaning]) => `  ${code.padStart(2)}  ${meaning}`,
  );
  return `\nExit codes:\n${lines.join('\n')}`;
}
