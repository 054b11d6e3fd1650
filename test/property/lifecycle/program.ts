/** Programs: lists of commands, as data. fast-check draws and shrinks them; one that failed can be kept as it is. */
import fc from 'fast-check';
import type { Action } from './action.js';
import { archiveActions } from './actions/archive.js';
import { eventActions } from './actions/events.js';
import { operatorActions } from './actions/operators.js';
import { policyActions } from './actions/policies.js';
import { proposalActions } from './actions/proposals.js';
import { timeActions } from './actions/time.js';
import { workerActions } from './actions/workers.js';
import type { Model } from './model.js';
import type { Json } from './rows.js';
import { holdToTheRules } from './rules/rules.js';
import type { World } from './world.js';

const actions: Record<string, Action> = {
  ...eventActions,
  ...proposalActions,
  ...workerActions,
  ...operatorActions,
  ...policyActions,
  ...timeActions,
  ...archiveActions,
};

/** A command as it is printed and kept: its name and its arguments. */
export type Command = [name: string, args: Json];

/** Holder, because the model of a run is made anew in `setup`. */
export type Holder = { model: Model };

class Act implements fc.AsyncCommand<Holder, World> {
  readonly command: Command;

  constructor(command: Command) {
    this.command = command;
  }

  /** Every command fits every state: one that finds nothing to do says so, and nothing may change. */
  check(): boolean {
    return true;
  }

  run({ model }: Holder, world: World): Promise<void> {
    return perform(world, model, this.command);
  }

  toString(): string {
    return JSON.stringify(this.command);
  }
}

/** Runs one command and holds what it left to the rules. */
export async function perform(world: World, model: Model, [name, args]: Command): Promise<void> {
  const chosen = actions[name];
  if (chosen === undefined) throw new Error(`there is no command ${name}`);
  const said = `${name} ${JSON.stringify(args)}`;
  const before = model.last;
  let effect: Awaited<ReturnType<Action['run']>>;
  let now: number;
  try {
    effect = await chosen.run(world, model, args);
    now = world.now;
  } catch (error) {
    throw new Error(`in ${said}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  const after = await world.read();
  holdToTheRules({ before, after, effect, model, now }, said);
  const wrong = [...(effect.check?.(after) ?? [])];
  if (wrong.length > 0) throw new Error(`after ${said}:\n  ${wrong.slice(0, 8).join('\n  ')}`);
  note(model, effect.quiet === true ? `${name} refused or idle` : name);
  for (const step of after.tables.steps)
    if (step.wait_reason !== null && before.steps.get(step.id)?.wait_reason === null)
      note(model, `held for ${step.wait_reason.split(':')[0]}`);
  model.last = after;
}

const note = ({ done }: Model, what: string) => done.set(what, (done.get(what) ?? 0) + 1);

const drawn = (only: string[] | undefined) =>
  Object.entries(actions)
    .filter(([name]) => only?.includes(name) ?? true)
    .flatMap(([name, { weight, args }]) => {
      const command = args.map((drawnArgs) => new Act([name, drawnArgs]));
      return Array.from({ length: weight }, () => command);
    });

/** Programs of up to so many commands, of all kinds or of some. Without bias: it favours short ones, in which little happens. */
export const programs = (maxCommands: number, only?: string[], replayPath?: string) =>
  fc.noBias(
    fc.commands(drawn(only), {
      maxCommands,
      size: 'max',
      ...(replayPath === undefined ? {} : { replayPath }),
    }),
  );
