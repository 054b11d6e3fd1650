/** Runs programs over a database: drawn ones, or kept ones. */
import fc from 'fast-check';
import { healAndDrain } from './heal.js';
import { emptyModel, type Model } from './model.js';
import { type Command, type Holder, perform, programs } from './program.js';
import type { Reached } from './reached.js';
import type { World } from './world.js';

export type Plan = {
  runs: number;
  maxCommands: number;
  /** These commands only. */
  only?: string[];
  seed?: number | undefined;
  path?: string | undefined;
  replayPath?: string | undefined;
  /** Ends the search for a smaller program after this; what was found by then is reported. */
  timeLimitMs?: number;
  /** Notes what the programs came to. */
  reached?: Reached;
  /** Stop at the first violation, without making its program smaller. */
  hasty?: boolean;
};

/** What the runs found; `report` has seed, path and the smallest program that fails. */
export type Found = { failed: boolean; runs: number; report: string };

async function start(world: World): Promise<Model> {
  const last = await world.reset();
  return emptyModel(last, world.now);
}

/** At the end of a program everything drains, and the database's own check finds nothing. */
async function finish(world: World, model: Model): Promise<void> {
  await healAndDrain(world, model);
  const found = await world.port.checkInvariants();
  if (found.length > 0) throw new Error(`ops_check_invariants found ${JSON.stringify(found.slice(0, 5))}`);
}

type Details = fc.RunDetails<[Iterable<fc.AsyncCommand<Holder, World>>]>;

function reportOf(details: Details): string {
  const { errorInstance: error } = details;
  const why = error instanceof Error ? error.message : String(error);
  return `${fc.defaultReportMessage(details) ?? ''}\n${why}`;
}

/** Runs drawn programs until one fails. */
export async function runPrograms(world: World, plan: Plan): Promise<Found> {
  const property = fc.asyncProperty(
    programs(plan.maxCommands, plan.only, plan.replayPath),
    async (commands) => {
      const holder: Holder = { model: await start(world) };
      await fc.asyncModelRun(() => ({ model: holder, real: world }), commands);
      await finish(world, holder.model);
      plan.reached?.note(holder.model);
    },
  );
  const details = await fc.check(property, {
    numRuns: plan.runs,
    endOnFailure: plan.hasty ?? false,
    ...(plan.timeLimitMs === undefined ? {} : { interruptAfterTimeLimit: plan.timeLimitMs }),
    ...(plan.seed === undefined ? {} : { seed: plan.seed }),
    ...(plan.path === undefined ? {} : { path: plan.path }),
  });
  return { failed: details.failed, runs: details.numRuns, report: reportOf(details) };
}

/** Runs one program that was kept. */
export async function runProgram(world: World, program: Command[]): Promise<void> {
  const model = await start(world);
  for (const command of program) await perform(world, model, command);
  await finish(world, model);
}
