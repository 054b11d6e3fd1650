/**
 * The whole loop once, on real input: signed GitHub deliveries over HTTP, decided, gated, carried out; one proposal
 * approved by hand, one step retried, one dead letter. Everything the summary claims is read back and checked.
 */
import type { OpsPort } from '../../supabase/client/port.js';
import { type Check, checkFacts } from './checks.js';
import { deliverAll } from './deliver.js';
import { planDeliveries, readPayloads } from './deliveries.js';
import { type DemoFacts, gatherFacts } from './facts.js';
import { addDemoPatterns } from './patterns.js';
import { setDemoRoles } from './roles.js';
import { untilSettled } from './settle.js';

export type DemoStage = 'deliver' | 'settle' | 'approve';
export type DemoProgress = (stage: DemoStage, done: number, total: number) => void;

export type DemoReport = { ok: boolean; duration_ms: number; checks: Check[]; facts: DemoFacts };

export type DemoOptions = {
  port: OpsPort;
  /** Starts server, worker and beats once the rules are set; answers the server's address. */
  startLoop: () => Promise<{ url: string }>;
  webhookSecret: string;
  onProgress: DemoProgress;
};

type Proposals = Awaited<ReturnType<OpsPort['listProposals']>>;

/** How long the loop may take to come to rest. The longest wait in it is one backoff of some seconds. */
const settleDeadlineMs = 40_000;

export async function runDemo({
  port,
  startLoop,
  webhookSecret,
  onProgress,
}: DemoOptions): Promise<DemoReport> {
  const start = performance.now();
  const { deliveries, expected } = planDeliveries(readPayloads(), webhookSecret);
  await setDemoRoles(port);
  await addDemoPatterns(port);
  const { url } = await startLoop();
  const delivered = await deliverAll(url, deliveries, (done) =>
    onProgress('deliver', done, deliveries.length),
  );
  await settle(port, 'settle', onProgress);
  const waited = await approveAll(port, () => settle(port, 'approve', onProgress));
  const facts = await gatherFacts(port, { delivered, expected, waited });
  const checks = checkFacts(facts);
  return {
    ok: checks.every(({ ok }) => ok),
    duration_ms: Math.round(performance.now() - start),
    checks,
    facts,
  };
}

/** Progress is how much of the most that was ever open is gone. */
async function settle(port: OpsPort, stage: DemoStage, onProgress: DemoProgress): Promise<void> {
  let most = 1;
  await untilSettled(port, settleDeadlineMs, ({ events, reactions, missions }) => {
    const left = events + reactions + missions;
    most = Math.max(most, left);
    onProgress(stage, most - left, most);
  });
}

/** What was approved may lead to more that waits: the observer looks at what the other roles made. */
async function approveAll(port: OpsPort, settled: () => Promise<void>): Promise<Proposals> {
  const waiting = await port.listProposals({ status: 'pending' });
  if (waiting.length === 0) return [];
  for (const { id } of waiting)
    await port.approveProposal({ id, actor: 'demo', reason: 'a person said yes' });
  await settled();
  return [...waiting, ...(await approveAll(port, settled))];
}
