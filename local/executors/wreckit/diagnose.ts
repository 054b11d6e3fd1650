import { StepError } from '../contract.js';
import type { Wreckit } from './call.js';
import { failed, outputOf } from './failure.js';
import { readDiagnosis } from './output.js';
import { type ParamsOf, toArguments } from './params.js';
import type { Answer } from './result.js';

/** Looks; with `fix` mends first, and then what is still wrong fails the step. */
export async function diagnose(wreckit: Wreckit, params: ParamsOf<'doctor'>): Promise<Answer> {
  const fixed = params.fix === true ? await wreckit.run(toArguments(params)) : undefined;
  const finished = await wreckit.run(['doctor']);
  const diagnosis = readDiagnosis(finished.stdout.text);
  if (diagnosis === undefined) throw failed('doctor', finished);
  if (fixed !== undefined && diagnosis.errors.length > 0) throw notFixed(diagnosis.errors);
  const changed = fixed !== undefined && /^Fixed [1-9]/m.test(outputOf(fixed));
  return { state: diagnosis.errors.length === 0 ? 'healthy' : 'unhealthy', changed, diagnosis };
}

const notFixed = (errors: readonly string[]): StepError =>
  new StepError(`wreckit doctor --fix left ${errors.length} errors: ${errors.join('; ')}`, {
    outcome: 'permanent',
    errorClass: 'NotFixed',
    hint: 'These need a person, in the repository itself.',
  });
