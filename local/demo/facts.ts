/** What happened in the demo, read back from the engine: counts, and the stories that the summary tells. */
import type { OpsPort } from '../../supabase/client/port.js';
import type { DeadLetter, Health, Status, TraceNode } from '../../supabase/client/schemas/rows.js';
import { simulate } from '../../supabase/client/simulation.js';
import type { Delivered } from './deliver.js';
import type { Plan } from './deliveries.js';
import { retriedPattern } from './patterns.js';
import { observerPattern } from './roles.js';

export type Approved = { id: string; title: string; reason: string | null; mission: string };
type RadarSignal = Awaited<ReturnType<OpsPort['radarList']>>[number];
type Proposal = Awaited<ReturnType<OpsPort['listProposals']>>[number];

export type DemoFacts = {
  delivered: Delivered;
  expected: Plan['expected'];
  status: Status;
  health: Health;
  /** Ids of the rules that led to a proposal. */
  patterns: string[];
  /** Steps per mission, each number once, ascending. */
  missionSizes: number[];
  /** Proposals that waited for a person and were approved. */
  approved: Approved[];
  /** Outcomes of the attempts at the step that fails once. */
  retried: string[] | undefined;
  /** What the step after it was given of its result. */
  handedOn: string | undefined;
  deadLetters: DeadLetter[];
  radar: RadarSignal[];
  violations: string[];
  /** What each role made of what it was given, in their order. */
  roles: string[];
  /** US dollars and calls of the model, as the budget booked them. */
  spent: { usd: number; remaining: number };
  /** Decisions that today's policies would make otherwise than they were made. */
  otherwise: number;
  /** From the delivery to its last attempt. */
  trace: TraceNode | undefined;
};

/** More than the demo makes. */
const listLimit = 200;

export type Before = { delivered: Delivered; expected: Plan['expected']; waited: Proposal[] };

export async function gatherFacts(
  port: OpsPort,
  { delivered, expected, waited }: Before,
): Promise<DemoFacts> {
  const [status, health, proposals, deadLetters, radar, violations, again] = await Promise.all([
    port.status(),
    port.health(),
    port.listProposals({ limit: listLimit }),
    port.listDeadLetters({ limit: listLimit }),
    port.radarList({ limit: listLimit }),
    port.checkInvariants(),
    simulate(port, {}),
  ]);
  const trace = await traceOf(port, retriedPattern, proposals);
  return {
    delivered,
    expected,
    status,
    health,
    patterns: [...new Set(proposals.flatMap(({ pattern_id }) => pattern_id ?? []))].sort(),
    missionSizes: [...new Set(proposals.map(stepCount))].sort((a, b) => a - b),
    approved: await Promise.all(waited.map((proposal) => outcomeOf(port, proposal))),
    ...retryStory(trace),
    deadLetters,
    radar,
    violations: violations.map(sentence),
    otherwise: again.recorded?.count ?? 0,
    ...(await roleStory(port, proposals)),
    trace,
  };
}

type Violation = Awaited<ReturnType<OpsPort['checkInvariants']>>[number];
const sentence = ({ invariant, entity, id, detail }: Violation): string =>
  `${invariant}: ${entity} ${id} ${JSON.stringify(detail)}`;

const stepCount = ({ template }: Proposal): number =>
  typeof template === 'object' && template !== null && 'steps' in template && Array.isArray(template.steps)
    ? template.steps.length
    : 0;

/** The texts of the pipeline's steps and of the observer after them, and what the budget says they cost. */
async function roleStory(port: OpsPort, proposals: Proposal[]): Promise<Pick<DemoFacts, 'roles' | 'spent'>> {
  const watched = proposals.find(({ pattern_id }) => pattern_id === observerPattern);
  const nodes = watched === undefined ? [] : nodesOf(await port.trace({ id: watched.id }));
  const roles = nodes
    .filter(({ kind }) => kind === 'step')
    .map(({ detail }) => /"text":"([^"]*)"/.exec(JSON.stringify(detail))?.[1] ?? 'no answer');
  const [budget] = (await port.listBudgets()).filter(({ unit }) => unit === 'usd');
  return { roles, spent: { usd: budget?.spent ?? 0, remaining: budget?.remaining ?? 0 } };
}

/** The whole story of the event that the latest proposal of a pattern comes from. */
async function traceOf(port: OpsPort, pattern: string, among: Proposal[]): Promise<TraceNode | undefined> {
  const id = among.find(({ pattern_id }) => pattern_id === pattern)?.event_id;
  return id ? port.trace({ id }) : undefined;
}

async function outcomeOf(port: OpsPort, { id, title, reason }: Proposal): Promise<Approved> {
  const mission = nodesOf(await port.trace({ id })).find(({ kind }) => kind === 'mission');
  return { id, title: title ?? 'untitled', reason, mission: mission?.status ?? 'no mission' };
}

function retryStory(trace: TraceNode | undefined): Pick<DemoFacts, 'retried' | 'handedOn'> {
  const steps = trace === undefined ? [] : nodesOf(trace).filter(({ kind }) => kind === 'step');
  const attempts = steps[0]?.children.filter(({ kind }) => kind === 'attempt');
  const echoed = JSON.stringify(steps[1]?.detail ?? null).match(/checked [^"]* at try \d+/);
  return { retried: attempts?.map(({ status }) => status ?? 'unknown'), handedOn: echoed?.[0] };
}

/** All nodes of a tree, parents first. */
function nodesOf(node: TraceNode): TraceNode[] {
  return [node, ...node.children.flatMap(nodesOf)];
}
