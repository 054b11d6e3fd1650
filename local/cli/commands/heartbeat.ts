import { type Beat, runBeat } from '../../../supabase/client/beat.js';
import { OpsError } from '../../../supabase/client/errors.js';
import type { AddCommand } from '../command.js';
import { type Context, usageError } from '../context.js';
import { type ExitCode, exitCodes } from '../exit-codes.js';

/** Longer than the time budget of a beat. */
const answerDeadlineMs = 30_000;

export const addHeartbeat: AddCommand = (program, bind) => {
  program
    .command('heartbeat')
    .description('one beat: decide events, gate proposals, recover leases; for cron and for hands')
    .option('--url <address>', 'ask a running control plane instead of the database; needs OPS_API_KEY')
    .action(
      bind(async (context, { url }: { url?: string }) => {
        const beat = url === undefined ? await beatHere(context) : await beatThere(context, url);
        context.out.show(beat, () => beatLines(beat));
        return exitCodeOfBeat(beat);
      }),
    );
};

async function beatHere({ connect, env }: Context): Promise<Beat> {
  const { port } = await connect();
  const { OPS_EVENT_BATCH_SIZE, OPS_REACTION_BATCH_SIZE, OPS_STALE_STEP_MINUTES } = env();
  return runBeat(port, {
    source: 'cli',
    eventBatch: OPS_EVENT_BATCH_SIZE,
    reactionBatch: OPS_REACTION_BATCH_SIZE,
    staleMinutes: OPS_STALE_STEP_MINUTES,
  });
}

/** The answer is shown as it came: the server may be of another version. */
async function beatThere({ env }: Context, address: string): Promise<Beat> {
  const { OPS_API_KEY } = env();
  if (OPS_API_KEY === undefined)
    throw usageError('--url needs OPS_API_KEY', 'Set it in .env or the environment.');
  const response = await post(heartbeatUrl(address), OPS_API_KEY);
  const body: unknown = await response.json().catch(() => undefined);
  if (typeof body === 'object' && body !== null && 'triggerResult' in body) return body as Beat;
  throw refusedBy(response.status, body);
}

function heartbeatUrl(address: string): URL {
  try {
    return new URL('/api/ops/heartbeat', address);
  } catch {
    throw usageError('--url is not an address', 'Try: --url http://127.0.0.1:8787');
  }
}

async function post(url: URL, key: string): Promise<Response> {
  try {
    return await fetch(url, {
      method: 'POST',
      headers: { Authorization: `Bearer ${key}` },
      redirect: 'error',
      signal: AbortSignal.timeout(answerDeadlineMs),
    });
  } catch (cause) {
    throw new OpsError('OPS_018', `no answer from ${url.origin}`, {
      hint: 'Check the address and that the server runs.',
      cause,
    });
  }
}

function refusedBy(status: number, body: unknown): OpsError {
  const said = typeof body === 'object' && body !== null && 'detail' in body ? `: ${body.detail}` : '';
  const code = status === 401 || status === 403 ? 'OPS_014' : status === 503 ? 'OPS_001' : 'OPS_018';
  return new OpsError(code, `the control plane answered ${status}${said}`, {
    hint:
      code === 'OPS_014' ? 'Compare OPS_API_KEY with the one of the server.' : "Look into the server's log.",
  });
}

function beatLines(beat: Beat): string {
  const { triggerResult, reactionResult, leaseResult, staleResult, failures } = beat;
  return [
    `${beat.ok ? 'ok' : 'failed'}  ${triggerResult.events} events decided, ${triggerResult.queued} reactions, ` +
      `${reactionResult.created} proposals, ${leaseResult.requeued_steps} leases recovered, ${staleResult.recovered} stale steps`,
    ...failures.map(({ phase, code, message }) => `  ${phase}: ${code} ${message}`),
    ...(beat.more ? ['  work is left: beat again'] : []),
  ].join('\n');
}

function exitCodeOfBeat({ ok, failures }: Beat): ExitCode {
  if (ok) return exitCodes.ok;
  return failures.some(({ code }) => code === 'OPS_001') ? exitCodes.databaseAway : exitCodes.failed;
}
