/** One drill from start to end: load and faults, healing, draining, judging. */
import { openArena } from './arena.js';
import { runCampaign, type Strike } from './campaign.js';
import type { Fault } from './fault.js';
import { drain, type Judgement, judge } from './judge.js';
import type { Call } from './ledger.js';
import { startLoad } from './load.js';
import { diceOf } from './random.js';

export type DrillOptions = {
  seed: number;
  durationMs: number;
  faults: readonly Fault[];
  /** Milliseconds between two faults. */
  everyMs?: number;
  workers?: number;
  leaseMs?: number;
  /** The database on a small disk: see `disk.ts`. */
  smallDisk?: boolean;
  onProgress?: (line: string) => void;
};

export type DrillResult = Judgement & {
  strikes: Strike[];
  calls: readonly Call[];
  /** What workers logged, by event and code. */
  logged: Record<string, number>;
  logExamples: Record<string, string>;
};

export async function runDrill({
  seed,
  durationMs,
  faults,
  everyMs = 5_000,
  workers = 3,
  leaseMs,
  smallDisk,
  onProgress: say = () => {},
}: DrillOptions): Promise<DrillResult> {
  say(`seed ${seed}: a database, ${workers} workers, load`);
  const arena = await openArena(diceOf(seed), {
    leaseMs,
    smallDisk,
    names: Array.from({ length: workers }, (_, n) => `drill-${n + 1}`),
  });
  try {
    const load = startLoad(arena, seed + 1);
    const onStrike = (strike: Strike) => say(describe(strike));
    const strikes = await runCampaign(arena, { faults, everyMs, durationMs, onStrike }).finally(load.stop);
    say('healing and draining');
    await arena.heal();
    const drained = await drain(arena);
    await arena.crew.stop();
    const judgement = await judge(arena, drained);
    const { logged } = arena.crew;
    return {
      ...judgement,
      violations: [
        ...judgement.violations,
        ...strikes.flatMap(({ fault, problem }) => (problem === undefined ? [] : [`${fault}: ${problem}`])),
        ...[...load.beatFailures].map(([what, count]) => `a beat failed ${count} time(s): ${what}`),
      ],
      strikes,
      calls: arena.ledger.calls,
      logged: Object.fromEntries([...logged].map(([what, { count }]) => [what, count])),
      logExamples: Object.fromEntries([...logged].map(([what, { example }]) => [what, example])),
    };
  } finally {
    await arena.close();
  }
}

function describe({ fault, alone, from, healedAt, recoveredAt, late, problem }: Strike): string {
  const lasted = `${((healedAt - from) / 1_000).toFixed(1)} s`;
  const then = problem ?? `recovered ${(((recoveredAt ?? healedAt) - healedAt) / 1_000).toFixed(1)} s later`;
  return `${fault}${alone ? '' : ' (among others)'} for ${lasted}, ${then}${late.map((what) => `; ${what}`).join('')}`;
}
