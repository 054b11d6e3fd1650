/** Work is asked for, and people decide. */
import fc from 'fast-check';
import { action, demand, nothing, refusal } from '../action.js';
import { type Effect, type Model, nth } from '../model.js';
import type { Json, ProposalRow, Snapshot } from '../rows.js';
import { capsOver } from '../rules/proposals.js';

const stepShape = fc.record({
  kind: fc.oneof(
    { weight: 6, arbitrary: fc.constant('noop') },
    { weight: 2, arbitrary: fc.constant('agent') },
    { weight: 2, arbitrary: fc.constant('openclaw') },
  ),
  /** Bits: which of the steps before it; null is the order of the list. */
  needs: fc.option(fc.nat(7), { freq: 1 }),
  continues: fc.boolean(),
  maxRetries: fc.constantFrom(null, null, 1, 2),
  priority: fc.nat(2),
  when: fc.constantFrom(null, null, null, 'status == "succeeded"', 'result.v > 4'),
  echoes: fc.constantFrom(false, false, true),
  timeout: fc.constantFrom(null, null, 30),
  /** Poison: whoever runs it dies. */
  crashes: fc.constantFrom(false, false, false, false, false, true),
});
type StepShape = typeof stepShape extends fc.Arbitrary<infer T> ? T : never;

const shape = fc.record({
  steps: fc.array(stepShape, { minLength: 1, maxLength: 4 }),
  risk: fc.constantFrom(null, null, null, 'high'),
});
type Shape = typeof shape extends fc.Arbitrary<infer T> ? T : never;

function stepTemplate(step: StepShape, i: number): Json {
  const earlier = [...Array(i).keys()].filter((n) => step.needs === null || (step.needs >> n) % 2 === 1);
  const needs = step.needs === null ? earlier.slice(-1) : earlier;
  const parent = needs[0] === undefined ? undefined : `s${needs[0]}`;
  const params = {
    ...(step.crashes ? { crash: true } : {}),
    ...(step.kind === 'agent' ? { role: 'scout' } : {}),
    // Often a path that the parent's result does not have: the step fails as it becomes ready.
    ...(step.echoes && parent !== undefined ? { echo: `{{steps.${parent}.result.v}}` } : {}),
  };
  return {
    key: `s${i}`,
    kind: step.kind,
    params,
    priority: step.priority,
    on_failure: step.continues ? 'continue' : 'stop',
    ...(step.needs === null ? {} : { depends_on: needs.map((n) => `s${n}`) }),
    ...(step.maxRetries === null ? {} : { max_retries: step.maxRetries }),
    ...(step.timeout === null ? {} : { timeout_seconds: step.timeout }),
    ...(step.when === null || parent === undefined ? {} : { when: `$.steps.${parent}.${step.when}` }),
  };
}

export const template = ({ steps, risk }: Shape): { [key: string]: Json } => ({
  title: 'asked for',
  steps: steps.map(stepTemplate),
  ...(risk === null ? {} : { risk_level: risk }),
});

const proposal = fc.record({
  shape,
  source: fc.constantFrom('api', 'manual'),
  key: fc.option(fc.nat(3), { freq: 1, nil: null }),
});

const propose = action(
  16,
  fc.array(proposal, { minLength: 1, maxLength: 3 }),
  async ({ port }, model, list) => {
    const proposals = list.map(({ shape: drawn, source, key }) => ({
      template: template(drawn),
      source,
      ...(key === null ? {} : { dedupe_key: `work-${key}` }),
    }));
    const known = new Set(model.last.proposals.keys());
    const receipts = await port.createProposals({ proposals });
    demand(receipts.length === list.length, `${receipts.length} receipts for ${list.length} proposals`);
    for (const { id, created } of [...receipts].sort((a, b) => a.position - b.position)) {
      demand(
        created !== known.has(id),
        `proposal ${id} is ${created ? 'known' : 'new'} and was told otherwise`,
      );
      known.add(id);
    }
    return { quiet: receipts.every(({ created }) => !created) };
  },
);

const proposeByHand = action(2, fc.record({ shape }), async ({ sql }, _model, args) => {
  await sql('insert into ops_mission_proposals (template) values ($1)', [
    JSON.stringify(template(args.shape)),
  ]);
  return {};
});

type Decision = { nth: number; waiting: boolean; approves: boolean; byHand: boolean };

const decide = action(
  8,
  fc.record({
    nth: fc.nat(20),
    waiting: fc.constantFrom(true, true, false),
    approves: fc.constantFrom(true, true, false),
    byHand: fc.boolean(),
  }),
  async ({ port, sql, now }, model, args) => {
    const all = model.last.tables.proposals;
    const proposal = nth(args.waiting ? all.filter((p) => p.status === 'pending') : all, args.nth);
    if (proposal === undefined) return nothing;
    const { id } = proposal;
    const call = {
      hand: () =>
        sql('update ops_mission_proposals set status = $2 where id = $1', [
          id,
          args.approves ? 'approved' : 'rejected',
        ]),
      verb: () => (args.approves ? port.approveProposal({ id }) : port.rejectProposal({ id })),
    };
    const refused = await refusal(args.byHand ? call.hand() : call.verb(), 'OPS_003', 'OPS_015');
    return decided(model, proposal, args, refused, now);
  },
);

function decided(
  { last }: Model,
  proposal: ProposalRow,
  args: Decision,
  refused: string | undefined,
  now: number,
): Effect {
  const { id, status } = proposal;
  const wanted = args.approves ? 'approved' : 'rejected';
  if (status !== 'pending') {
    const same = status === wanted || (!args.byHand && args.approves && status === 'auto_approved');
    demand(refused === (same ? undefined : 'OPS_015'), `${wanted} after ${status}: ${refused ?? 'accepted'}`);
    return nothing;
  }
  const full = args.approves && isCapped(last, proposal, now);
  demand(
    refused === (full ? 'OPS_003' : undefined),
    `${wanted} of a waiting one, cap full ${full}: ${refused ?? 'accepted'}`,
  );
  if (full) return nothing;
  return {
    decided: [id],
    *check(after) {
      if (after.proposals.get(id)?.status !== wanted) yield `proposal ${id} is not ${wanted}`;
    },
  };
}

/** A proposal that has not been counted yet, under a cap that is used up. */
export const isCapped = (snapshot: Snapshot, proposal: ProposalRow, now: number): boolean =>
  proposal.gated_at === null &&
  capsOver(snapshot, snapshot.policies.proposal_caps, proposal, now).some(({ used, limit }) => used >= limit);

export const proposalActions = { propose, proposeByHand, decide };
