/** A proposal is decided once, an approved one is exactly one mission, and caps hold whoever decides. */
import type { Rule } from '../model.js';
import { type Caps, ms, type ProposalRow, type Snapshot } from '../rows.js';

export const approvedIsOneMission: Rule = function* ({ after, model }) {
  const missions = new Map<string, number>();
  for (const { proposal_id } of after.tables.missions)
    missions.set(proposal_id, (missions.get(proposal_id) ?? 0) + 1);
  for (const { id, status } of after.tables.proposals) {
    const due = status === 'approved' || status === 'auto_approved' ? 1 : 0;
    if (!model.thinned.has(id) && (missions.get(id) ?? 0) !== due)
      yield `proposal ${id} is ${status} and has ${missions.get(id) ?? 0} missions`;
  }
};

export const proposalsAreDecidedOnce: Rule = function* ({ before, after, effect }) {
  for (const proposal of after.tables.proposals) {
    const old = before.proposals.get(proposal.id);
    if (old === undefined || old.status === proposal.status) continue;
    if (old.status !== 'pending')
      yield `proposal ${proposal.id} went from ${old.status} to ${proposal.status}`;
    const byPerson =
      ['approved', 'rejected'].includes(proposal.status) && effect.decided?.includes(proposal.id);
    const byBeat = effect.beats && proposal.status !== 'approved';
    if (!byPerson && !byBeat) yield `proposal ${proposal.id} became ${proposal.status} by itself`;
  }
};

const hourMs = 3_600_000;
/** Start of the UTC day or hour. */
export const windowStart = (now: number, lengthMs: number): number => Math.floor(now / lengthMs) * lengthMs;

const counted = (snapshot: Snapshot, since: number, which: (p: ProposalRow) => boolean): number =>
  snapshot.tables.proposals.filter((p) => ms(p.gated_at) >= since && p.status !== 'rejected' && which(p))
    .length;

type Cap = { name: string; limit: number; used: number };

/** Every cap that a proposal of this source and pattern stands under, with what is used of it. */
export function capsOver(
  snapshot: Snapshot,
  caps: Caps,
  of: Pick<ProposalRow, 'source' | 'pattern_id'>,
  now: number,
): Cap[] {
  const day = windowStart(now, 24 * hourMs);
  const all: [string, number | undefined, number][] = [
    ['daily_limit', caps.daily_limit, counted(snapshot, day, () => true)],
    ['hourly_limit', caps.hourly_limit, counted(snapshot, windowStart(now, hourMs), () => true)],
    ['per_source', caps.per_source, counted(snapshot, day, (p) => p.source === of.source)],
    [
      'per_pattern',
      of.pattern_id === null ? undefined : caps.per_pattern,
      counted(snapshot, day, (p) => p.pattern_id === of.pattern_id),
    ],
  ];
  return all.flatMap(([name, limit, used]) => (limit === undefined ? [] : [{ name, limit, used }]));
}

export const capsHold: Rule = function* ({ before, after, now }) {
  const caps = after.policies.proposal_caps;
  for (const proposal of after.tables.proposals) {
    if (proposal.gated_at === null || before.proposals.get(proposal.id)?.gated_at != null) continue;
    for (const { name, limit, used } of capsOver(after, caps, proposal, now))
      if (used > limit) yield `${name} ${limit} let proposal ${proposal.id} through as number ${used}`;
    const { daily_limit: daily } = after.policies.auto_approve;
    const day = windowStart(now, 24 * hourMs);
    const auto = counted(after, day, (p) => p.status === 'auto_approved');
    if (proposal.status === 'auto_approved' && daily !== undefined && auto > daily)
      yield `auto_approve.daily_limit ${daily} let proposal ${proposal.id} through as number ${auto}`;
    const waiting = waitingForApproval(after);
    if (proposal.status === 'pending' && caps.max_pending !== undefined && waiting > caps.max_pending)
      yield `max_pending ${caps.max_pending} let ${waiting} wait`;
  }
};

export const waitingForApproval = (snapshot: Snapshot): number =>
  snapshot.tables.proposals.filter((p) => p.status === 'pending' && p.gated_at !== null).length;
