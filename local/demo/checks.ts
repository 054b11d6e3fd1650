/** What the demo promises, held against what happened. */
import type { DemoFacts } from './facts.js';

export type Check = { what: string; ok: boolean; found: string };

export function checkFacts(facts: DemoFacts): Check[] {
  return [...checkDeliveries(facts), ...checkLoop(facts), ...checkStories(facts)];
}

function equal(what: string, found: number, expected: number): Check {
  return { what, ok: found === expected, found: `${found} of ${expected}` };
}

const holds = (what: string, ok: boolean, found: string | number): Check => ({
  what,
  ok,
  found: String(found),
});

function checkDeliveries({ delivered, expected }: DemoFacts): Check[] {
  return [
    equal('every new event is stored', delivered.stored, expected.stored),
    equal('a delivery that comes again is known by its id', delivered.sameDelivery, expected.sameDelivery),
    equal('a body that comes again is known by its digest', delivered.sameBody, expected.sameBody),
    equal('a broken signature is refused', delivered.refused, expected.refused),
    holds('nothing else was answered', delivered.failures.length === 0, delivered.failures[0] ?? 'nothing'),
  ];
}

function checkLoop({
  status,
  health,
  patterns,
  missionSizes,
  violations,
  otherwise,
  expected,
}: DemoFacts): Check[] {
  const decided = ['fired', 'unmatched', 'suppressed', 'failed'].reduce(
    (n, outcome) => n + (status.events[outcome] ?? 0),
    0,
  );
  return [
    holds(
      'every event is decided',
      health.open_events === 0 && decided >= expected.stored,
      `${decided} decided, ${health.open_events} open`,
    ),
    holds('no event failed', (status.events.failed ?? 0) === 0, status.events.failed ?? 0),
    holds('several rules reacted', patterns.length >= 5, patterns.length),
    holds(
      'missions have one to four steps',
      missionSizes.includes(1) && missionSizes.includes(4),
      missionSizes.join(', '),
    ),
    holds('simulated again, every event is decided as it was', otherwise === 0, `${otherwise} otherwise`),
    holds('the invariants hold', violations.length === 0, violations[0] ?? 'no violation'),
  ];
}

function checkStories({
  approved,
  retried,
  handedOn,
  deadLetters,
  radar,
  roles,
  spent,
  expected,
}: DemoFacts): Check[] {
  return [
    holds(
      'scout, sage, quill and xalt handed their work on, and the observer saw it',
      roles.at(-1) === `observer on: ${roles.at(-2)}` && roles.length === 5,
      roles.at(-1) ?? 'nothing',
    ),
    holds('what the model cost is booked', spent.usd > 0, `$${spent.usd}`),
    holds(
      'a proposal waited, was approved and its mission succeeded',
      approved.length > 0 && approved.every(({ mission }) => mission === 'succeeded'),
      approved.map(({ title, mission }) => `${title}: ${mission}`).join('; '),
    ),
    holds(
      'a step failed, was tried again and succeeded',
      retried?.at(-1) === 'succeeded' && retried.length > 1,
      retried?.join(', ') ?? 'none',
    ),
    holds("a step worked with an earlier step's result", handedOn !== undefined, handedOn ?? 'none'),
    holds('a step ended in the dead-letter queue', deadLetters.length > 0, deadLetters.length),
    equal(
      'feature requests are on the radar',
      radar.filter(({ tags }) => tags.includes('feature-request')).length,
      expected.featureRequests,
    ),
  ];
}
