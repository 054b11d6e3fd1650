/** Commands about items: each looks at the state before, lets wreckit work, and judges by the state after. */
import type { Finished } from '../../process/run.js';
import { StepError } from '../contract.js';
import type { Wreckit, WreckitContext } from './call.js';
import { errorOf, failed } from './failure.js';
import { hasChanged, isDone, isReached, stateOf } from './judgement.js';
import { type Item, type ListedItem, readItem, readItems, readTaken } from './output.js';
import { type ParamsOf, type Phase, stageOf, states, toArguments } from './params.js';
import type { Answer } from './result.js';

type ItemParams = ParamsOf<'run' | 'rollback' | Phase>;

const show = (wreckit: Wreckit, id: string): Promise<Item> => wreckit.ask(['show', id, '--json'], readItem);
export const listAll = (wreckit: Wreckit) => wreckit.ask(['status', '--json'], readItems);

export async function listItems(wreckit: Wreckit, params: ParamsOf<'status' | 'list'>): Promise<Answer> {
  const items = await wreckit.ask(toArguments(params), readItems);
  return { state: 'listed', changed: false, items };
}

export async function showItem(wreckit: Wreckit, { item: id }: ParamsOf<'show'>): Promise<Answer> {
  const item = await show(wreckit, id);
  return { state: stateOf(item), changed: false, item };
}

/**
 * `run`, a phase, or `rollback` of one item. Nothing is started for an item that has arrived, so a try after a crash
 * finds what the first one did.
 */
export async function moveItem(wreckit: Wreckit, params: ItemParams, ctx: WreckitContext): Promise<Answer> {
  const before = await show(wreckit, params.item);
  if (hasArrived(params, before, ctx.attempt))
    return { state: stateOf(before), changed: false, item: before };
  const finished = await wreckit.run(toArguments({ ...params, item: before.id }), { onLine: follow(ctx) });
  const after = await show(wreckit, before.id);
  const seen = { before, after, code: finished.code, message: errorOf(finished)?.message };
  if (!isDone(params.command, params.force === true, seen))
    throw failed(`${params.command} ${before.id}`, finished, after);
  return { state: stateOf(after), changed: hasChanged(before, after), item: after };
}

/**
 * A run goes on with an open pull request, since it may have been merged by now. A rollback takes its anchor away, so
 * an item without one was rolled back by an earlier try, or never can be.
 */
function hasArrived({ command, force }: ItemParams, before: Item, attempt: number): boolean {
  if (command === 'rollback' && before.rollback_sha === null) {
    if (attempt > 1 && isReached(command, before)) return true;
    throw noAnchor(before);
  }
  if (command === 'rollback') return false;
  return command === 'run' ? before.state === 'done' : force !== true && isReached(command, before);
}

const noAnchor = ({ id }: Item): StepError =>
  new StepError(`there is nothing to roll ${id} back to`, {
    outcome: 'permanent',
    errorClass: 'NoAnchor',
    hint: 'Only items that were merged directly (merge_mode direct) have a rollback_sha.',
  });

/** wreckit takes the first item that is not done and waits for none: also one whose pull request is still open. */
export async function runNext(
  wreckit: Wreckit,
  params: ParamsOf<'next'>,
  ctx: WreckitContext,
): Promise<Answer> {
  const items = await listAll(wreckit);
  const open = items.filter(({ state }) => state !== 'done');
  if (open.length === 0) return { state: 'nothing_to_do', changed: false };
  const finished = await wreckit.run(toArguments(params), { onLine: follow(ctx) });
  const chosen = await takenOf(wreckit, open, finished);
  if (chosen === undefined) return waiting(finished);
  const item = await show(wreckit, chosen.id);
  if (!isReached('run', item)) throw failed(`next (${item.id})`, finished, item);
  return { state: stateOf(item), changed: item.state !== chosen.state, item };
}

/** wreckit names it; when those words were lost, it is the one that has moved. */
async function takenOf(
  wreckit: Wreckit,
  open: ListedItem[],
  finished: Finished,
): Promise<ListedItem | undefined> {
  const named = readTaken(finished.stdout.text);
  const found = open.find(({ id }) => id === named);
  if (found !== undefined) return found;
  const states = new Map((await listAll(wreckit)).map(({ id, state }) => [id, state]));
  const moved = open.filter(({ id, state }) => states.get(id) !== state);
  return moved.length === 1 ? moved[0] : undefined;
}

function waiting(finished: Finished): Answer {
  if (finished.code !== 0) throw failed('next', finished);
  return { state: 'blocked', changed: false };
}

/** wreckit says each phase it has been through; that is all the progress there is to see. */
const follow =
  (ctx: WreckitContext) =>
  (line: string): void => {
    const [, state = ''] = /^Completed \w+ phase: \w+ → (\w+)$/.exec(line) ?? [];
    const at = stageOf(state);
    if (at >= 0) ctx.progress(at / (states.length - 1), line);
  };
