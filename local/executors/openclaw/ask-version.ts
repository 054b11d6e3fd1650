/** Asks openclaw which version it is. A tenth of a second, so it is asked for every run: it may have been updated since. */
import { tmpdir } from 'node:os';
import { runProcess } from '../../process/run.js';
import { StepError } from '../contract.js';
import { childEnvironment, type Settings } from './settings.js';
import { parseVersion, type Version } from './version.js';

/** On a machine that is busy starting other programs it takes seconds. */
const answerMs = 30_000;
const excerptChars = 300;

/**
 * Undefined when what it prints is no version. Throws a `StepError`: permanent when there is no such program or it does
 * not start, as on a Node that is too old for it; retryable when it gives no answer.
 */
export async function askVersion(settings: Settings, signal: AbortSignal): Promise<Version | undefined> {
  const env = childEnvironment(settings, {});
  const command = { program: settings.program, args: ['--version'], cwd: tmpdir(), env, signal };
  const { ending, code, stdout, stderr } = await runProcess({ ...command, timeoutMs: answerMs });
  if (ending !== 'exited')
    throw new StepError('openclaw did not say its version', { errorClass: 'NotStarted' });
  if (code === 0) return parseVersion(stdout.text);
  const words = (stderr.text.trim() || stdout.text.trim()).slice(0, excerptChars);
  throw new StepError(`openclaw does not start (exit code ${code}): ${words}`, {
    outcome: 'permanent',
    errorClass: 'NotStarted',
    hint: 'Call `openclaw --version` as the worker. A newer Node goes into OPS_OPENCLAW_PATH.',
  });
}
