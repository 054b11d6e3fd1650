import { type OpsCode, OpsError } from '../../supabase/client/errors.js';
import { StepError } from './contract.js';

/** A gate, wrong input, nothing there, not allowed: the same call is refused the next time too. */
const final: readonly OpsCode[] = ['OPS_003', 'OPS_011', 'OPS_012', 'OPS_014'];

/** What an executor throws on when the engine refused its call; everything else passes through and is tried again. */
export function engineRefusal(error: unknown): unknown {
  if (!(error instanceof OpsError) || error instanceof StepError || !final.includes(error.code)) return error;
  const { message, hint, detail, code } = error;
  return new StepError(message, { outcome: 'permanent', errorClass: code, hint, detail, cause: error });
}
