import type { Rule, View } from '../model.js';
import { absorbArchive } from './archive.js';
import * as bounds from './bounds.js';
import * as events from './events.js';
import * as ledger from './ledger.js';
import * as missions from './missions.js';
import * as proposals from './proposals.js';
import * as steps from './steps.js';

const rules: Record<string, Rule> = {
  // First: they tell the model what the database did by itself.
  absorbRecovery: ledger.absorbRecovery,
  absorbArchive,
  stepsMoveLegally: steps.stepsMoveLegally,
  epochsOnlyRise: steps.epochsOnlyRise,
  runningIsLeased: steps.runningIsLeased,
  ledgerAgrees: ledger.ledgerAgrees,
  oneLiveAttempt: ledger.oneLiveAttempt,
  attemptsAreBounded: ledger.attemptsAreBounded,
  lettersAreExact: ledger.lettersAreExact,
  missionFollowsItsSteps: missions.missionFollowsItsSteps,
  missionEndsOnce: missions.missionEndsOnce,
  nothingWaitsInVain: missions.nothingWaitsInVain,
  skippedForACause: missions.skippedForACause,
  eventsAreKept: events.eventsAreKept,
  firingIsRecordedOnce: events.firingIsRecordedOnce,
  endsOfStepsAreSaidOnce: events.endsOfStepsAreSaidOnce,
  approvedIsOneMission: proposals.approvedIsOneMission,
  proposalsAreDecidedOnce: proposals.proposalsAreDecidedOnce,
  capsHold: proposals.capsHold,
  claimsAreBounded: bounds.claimsAreBounded,
  holdsAreTrue: bounds.holdsAreTrue,
  loopsAreBounded: bounds.loopsAreBounded,
  patternsRest: bounds.patternsRest,
};

/** Throws with everything that a command left wrong; the first word of a line names the rule. */
export function holdToTheRules(view: View, command: string): void {
  const wrong =
    view.effect.quiet && view.before.text !== view.after.text ? [`quiet: ${firstDifference(view)}`] : [];
  for (const [name, rule] of Object.entries(rules))
    for (const line of rule(view)) wrong.push(`${name}: ${line}`);
  if (wrong.length > 0) throw new Error(`after ${command}:\n  ${wrong.slice(0, 8).join('\n  ')}`);
}

function firstDifference({ before, after }: View): string {
  for (const [name, rows] of Object.entries(after.tables)) {
    const old = before.tables[name as keyof typeof before.tables];
    if (JSON.stringify(old) === JSON.stringify(rows)) continue;
    if (!Array.isArray(rows) || !Array.isArray(old)) return `${name} changed`;
    const was = new Set(old.map((row) => JSON.stringify(row)));
    const row = rows.find((r) => !was.has(JSON.stringify(r)));
    return `nothing may change, but ${name} has ${row === undefined ? 'lost a row' : JSON.stringify(row)}`;
  }
  return 'nothing may change';
}
