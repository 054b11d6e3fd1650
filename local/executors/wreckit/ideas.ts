import { confine } from '../../process/confine.js';
import type { Finished } from '../../process/run.js';
import { StepError } from '../contract.js';
import type { Wreckit } from './call.js';
import { failed } from './failure.js';
import { listAll } from './items.js';
import { readSkipped } from './output.js';
import { type ParamsOf, toArguments } from './params.js';
import type { Repository } from './repository.js';
import type { Answer } from './result.js';

/** What was made is what is there afterwards and was not before; wreckit leaves out what it has under the same name. */
export async function takeIdeas(
  wreckit: Wreckit,
  params: ParamsOf<'ideas'>,
  { directory }: Repository,
): Promise<Answer> {
  const file = params.file === undefined ? undefined : await confine(directory, params.file);
  const before = new Set((await listAll(wreckit)).map(({ id }) => id));
  const stdin = params.text === undefined ? {} : { stdin: params.text };
  const finished = await wreckit.run(toArguments(params, file), stdin);
  const after = await listAll(wreckit);
  const created = after.filter(({ id }) => !before.has(id)).map(({ id }) => id);
  const skipped = readSkipped(finished.stdout.text);
  const known = skipped.filter((id) => before.has(id));
  if (created.length === 0 && known.length === 0) throw noIdeas(finished);
  const isNew = created.length > 0;
  return { state: isNew ? 'created' : 'known', changed: isNew, ids: [...created, ...known], created, known };
}

function noIdeas(finished: Finished): StepError {
  if (finished.code !== 0) return failed('ideas', finished);
  return new StepError('wreckit made no item of these ideas', {
    outcome: 'permanent',
    errorClass: 'NoIdeas',
    hint: 'Write down what should be built, one idea to a paragraph.',
  });
}
