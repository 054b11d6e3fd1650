/** What it means for the step when wreckit did not do what was asked. Pure. */
import type { Finished } from '../../process/run.js';
import { StepError, type StepErrorOptions } from '../contract.js';
import { type Item, readError, type Said } from './output.js';
import { stageOf } from './params.js';

/** Codes of wreckit (src/errors.ts of wreckit 1.0.0) for what another try will find just the same. */
const lasting = new Set([
  'AMBIGUOUS_ID',
  'CONFIG_ERROR',
  'INVALID_JSON',
  'INVALID_STATE',
  'INVALID_TRANSITION',
  'ITEM_NOT_FOUND',
  'MERGE_CONFLICT',
  'NOT_GIT_REPO',
  'PAYLOAD_VALIDATION',
  'REMOTE_VALIDATION',
  'REPO_NOT_FOUND',
  'SCHEMA_VALIDATION',
]);
/** Enough of an output to see what it was about. */
const shownChars = 500;

export const outputOf = ({ stdout, stderr }: Finished): string => `${stdout.text}\n${stderr.text}`;

/** wreckit's own error, when it ended with one: agents can print such lines too, but not end wreckit. */
export const errorOf = (finished: Finished): Said | undefined =>
  finished.code === 0 ? undefined : readError(outputOf(finished));

/** What failed, how it ended, and why as far as wreckit says. */
export function failed(asked: string, finished: Finished, item?: Item): StepError {
  const error = errorOf(finished);
  const where = item === undefined ? '' : ` and left ${item.id} in ${item.state}`;
  // Without a code it is a sentence like `Failed: 001-lamp`; what is noted in the item says more.
  const coded = error?.code === undefined ? undefined : error.message;
  const why = coded ?? item?.last_error ?? error?.message ?? lastLine(finished);
  return new StepError(
    `wreckit ${asked} ended with ${codeOf(finished)}${where}: ${why.slice(0, shownChars)}`,
    kindOf(asked, error?.code, item),
  );
}

function kindOf(asked: string, code: string | undefined, item: Item | undefined): StepErrorOptions {
  if (asked.startsWith('critique') && item?.state === 'planned')
    return {
      outcome: 'permanent',
      errorClass: 'CritiqueRejected',
      hint: 'Let `implement` run again: the item is back in planned, and its progress.log says what the critic wants.',
    };
  const isUnknown = item !== undefined && stageOf(item.state) < 0;
  const outcome = isUnknown || (code !== undefined && lasting.has(code)) ? 'permanent' : 'retryable';
  return {
    outcome,
    errorClass: isUnknown ? 'UnknownState' : (code ?? 'Unfinished'),
    hint:
      outcome === 'permanent'
        ? 'Correct what it names; another try would find the same.'
        : "The item's progress.log and last_error say more; wreckit goes on from its state at the next try.",
  };
}

const codeOf = ({ code, signal }: Finished): string => (code === null ? `signal ${signal}` : `code ${code}`);

function lastLine(finished: Finished): string {
  const lines = outputOf(finished).split('\n');
  return lines.findLast((line) => line.trim() !== '')?.trim() ?? 'it printed nothing';
}

/** An answer in JSON that was none. */
export function unreadable(asked: string, finished: Finished): StepError {
  if (finished.code !== 0) return failed(asked, finished);
  return new StepError(
    `wreckit ${asked} answered no JSON that can be read: ${lastLine(finished).slice(0, shownChars)}`,
    {
      errorClass: 'UnreadableAnswer',
      hint: 'Call it by hand in the repository: its --json output should be the items, and nothing else.',
    },
  );
}
