import { setTimeout as pause } from 'node:timers/promises';
import { OpsError } from '../../supabase/client/errors.js';
import type { OpsPort } from '../../supabase/client/port.js';
import type { Health, Status } from '../../supabase/client/schemas/rows.js';

const pollMs = 100;

/** What is on its way; all of them 0 means that nothing happens until somebody does something. */
export type Unsettled = { events: number; reactions: number; missions: number; steps: number };

function unsettled(status: Status, health: Health): Unsettled {
  const sum = (counts: Record<string, number>, states: string[]) =>
    states.reduce((total, state) => total + (counts[state] ?? 0), 0);
  return {
    events: health.open_events,
    reactions: sum(status.reactions, ['queued', 'processing']),
    missions: sum(status.missions, ['approved', 'running']),
    steps: sum(status.steps, ['blocked', 'scheduled', 'queued', 'running']),
  };
}

/** Waits until the loop has nothing left to do, judged by its own state. Throws `OPS_018` past the deadline. */
export async function untilSettled(
  port: OpsPort,
  deadlineMs: number,
  onLook: (left: Unsettled) => void,
): Promise<void> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const [status, health] = await Promise.all([port.status(), port.health()]);
    const left = unsettled(status, health);
    onLook(left);
    if (Object.values(left).every((count) => count === 0)) return;
    if (performance.now() > end) throw tooLate(deadlineMs, left, status);
    await pause(pollMs);
  }
}

function tooLate(deadlineMs: number, left: Unsettled, { waiting }: Status): OpsError {
  return new OpsError(
    'OPS_018',
    `the loop did not come to rest within ${deadlineMs / 1_000} s: ${JSON.stringify(left)}`,
    {
      hint: 'Look with `ops-loop status` and `ops-loop why` at what waits; a very slow machine needs longer.',
      detail: { left, waiting },
    },
  );
}
