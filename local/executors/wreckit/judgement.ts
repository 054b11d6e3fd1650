/**
 * What an item's state says about a command. Pure. wreckit's exit code cannot say it: a run that ends with an open
 * pull request exits 1 ("PR not merged yet"), one that had nothing to do exits 0.
 */
import type { Item } from './output.js';
import { type CommandName, type Phase, phases, stageOf, type states } from './params.js';

/** The item's state; with an open pull request there is nothing left to do but wait, so that has a word of its own. */
export const stateOf = ({ state, pr_url }: Item): string =>
  state === 'in_pr' && pr_url !== null ? 'awaiting_merge' : state;

const reached = (item: Item, state: (typeof states)[number]): boolean =>
  stageOf(item.state) >= stageOf(state);

/** What each phase is for; what is further on has been through it. */
const goals: Record<Phase, (item: Item) => boolean> = {
  research: (item) => reached(item, 'researched'),
  plan: (item) => reached(item, 'planned'),
  // Failing half-way leaves the item in `implementing` too: only the stories tell.
  implement: (item) =>
    reached(item, 'critique') || (item.state === 'implementing' && item.stories?.pending === 0),
  critique: (item) => reached(item, 'critique'),
  // In direct mode it goes from here straight to done.
  pr: (item) => stateOf(item) === 'awaiting_merge' || item.state === 'done',
  complete: (item) => item.state === 'done',
};

const isPhase = (command: CommandName): command is Phase => phases.some((phase) => phase === command);

/** Has the item got to where this command was to take it? */
export function isReached(command: CommandName, item: Item): boolean {
  if (command === 'rollback') return item.state === 'implementing' && item.rollback_sha === null;
  return isPhase(command) ? goals[command](item) : goals.pr(item);
}

export type Seen = {
  before: Item;
  after: Item;
  /** wreckit's exit code; null when a signal ended it. */
  code: number | null;
  /** What wreckit said of its own error. */
  message: string | undefined;
};

/**
 * Did the command do what it was for? A phase that was forced cannot show it by a state it had before, so there
 * wreckit must also have ended well. For `complete` an open pull request is the answer, unless wreckit names another
 * reason; its last words are lost at times (it exits before a pipe has taken them), so silence is no other reason.
 */
export function isDone(
  command: CommandName,
  forced: boolean,
  { before, after, code, message }: Seen,
): boolean {
  if (command === 'complete' && stateOf(after) === 'awaiting_merge')
    return message === undefined || /\bnot merged\b/i.test(message);
  if (!isReached(command, after)) return false;
  if (command === 'rollback') return before.rollback_sha !== null;
  return !forced || !isPhase(command) || (code === 0 && after.last_error === null);
}

/** Did anything about it change? */
export const hasChanged = (before: Item, after: Item): boolean =>
  JSON.stringify(before) !== JSON.stringify(after);
