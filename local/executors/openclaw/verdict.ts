/**
 * What the end of an openclaw process means for its step. Pure.
 *
 * | what happened | outcome |
 * |---|---|
 * | an answer with status ok, exit code 0, from where it was asked for | the answer |
 * | the command line refused it before anything ran | permanent |
 * | the Gateway was not there | retryable |
 * | an error before any tool can have been used | retryable, rate_limited or permanent, by its text |
 * | any other error, a timeout, a signal, a duplicate, a turn that ran elsewhere, nothing readable | unknown |
 *
 * Only `agent exec` knows which tools its agent had; an agent of a Gateway may have done anything.
 */
import type { Finished } from '../../process/run.js';
import { StepError } from '../contract.js';
import { ofMessage, refusalOf } from './messages.js';
import type { Params } from './params.js';
import type { Said } from './said.js';

export type Ended = {
  params: Exclude<Params, { mode: 'gateway' }>;
  finished: Pick<Finished, 'ending' | 'code' | 'signal' | 'stderr'>;
  said: Said | undefined;
  /** It said on its way that it runs the turn again by itself, and was stopped for that. */
  fellBack: boolean;
};

/** The answer, when there is one that can be relied upon. Throws a `StepError` otherwise. */
export function judge(ended: Ended): Said {
  const { params, finished, said, fellBack } = ended;
  if (fellBack || said?.fallback !== undefined || ranElsewhere(params, said))
    throw fallback(said?.fallback ?? 'openclaw ran it in its own process');
  if (said === undefined) throw unreadable(finished);
  if (isAnswer(said) && endedWell(finished)) return delivered(params, said);
  if (said.shape === 'refusal') throw ofRefusal(params, said);
  if (said.status === 'in_flight') throw duplicate(said);
  if (finished.ending !== 'exited') throw interrupted(finished, said);
  if (said.status === 'timeout' || finished.code === 2) throw timedOut(said);
  if (said.failed && finished.code === 1 && !mayHaveActed(params, said))
    throw ofMessage(said.message || 'openclaw gave no reason');
  throw failed(said, finished);
}

const isAnswer = ({ shape, status, failed }: Said): boolean =>
  !failed && (shape === 'embedded' ? status === '' : status === 'ok');

/** An answer that was complete when we ended the process is one all the same. */
const endedWell = ({ ending, code, signal }: Ended['finished']): boolean =>
  ending === 'exited' ? code === 0 && signal === null : true;

const ranElsewhere = (params: Ended['params'], said: Said | undefined): boolean =>
  params.mode === 'agent' && params.local !== true && said?.shape === 'embedded';

/** Without tools, or before a model was chosen and called, there is nothing but the cost. */
function mayHaveActed(params: Ended['params'], { shape, model, toolCalls }: Said): boolean {
  if (params.mode !== 'exec' || shape !== 'exec') return true;
  if (params.tools === undefined || params.tools.length === 0) return false;
  // An envelope made from a run names its model and counts calls when there were any; one made from an exception does neither.
  return model === undefined || (toolCalls ?? 0) > 0;
}

function delivered(params: Ended['params'], said: Said): Said {
  if (params.mode !== 'agent' || params.deliver !== true) return said;
  const { delivery } = said;
  if (delivery === undefined)
    throw unknown('DeliveryUnknown', 'the turn is done; whether its reply was delivered is not said');
  if (delivery.status === 'sent' || delivery.status === 'suppressed') return said;
  throw new StepError(
    `the turn is done, but its reply was not delivered (${delivery.status}${delivery.reason && `, ${delivery.reason}`})`,
    {
      outcome: 'permanent',
      errorClass: 'NotDelivered',
      hint: `The reply is in session ${said.sessionId ?? 'of the agent'}.`,
    },
  );
}

/** The command line's own error: before anything ran, unless a Gateway had the turn already or nobody knows. */
function ofRefusal({ mode }: Ended['params'], { message, runId }: Said): StepError {
  if (runId !== undefined)
    return unknown(
      'GatewayLost',
      `the Gateway had taken the turn (run ${runId}) when it was lost: ${message}`,
    );
  if (mode === 'exec') return refusalOf(message, 'permanent');
  return refusalOf(message, undefined) ?? unknown('GatewayLost', `openclaw failed: ${message}`);
}

const look = 'Look at the session in OpenClaw, then requeue or discard the dead letter.';
const unknown = (errorClass: string, what: string): StepError =>
  new StepError(`${what}; nobody knows how far it came`, { outcome: 'unknown', errorClass, hint: look });

const ofRun = ({ runId, sessionId }: Said): string =>
  runId !== undefined ? ` (run ${runId})` : sessionId !== undefined ? ` (session ${sessionId})` : '';

const fallback = (why: string): StepError =>
  unknown('EmbeddedFallback', `the turn may have run twice, in the Gateway and without it: ${why}`);
const duplicate = (said: Said): StepError =>
  unknown('InFlight', `another run of the same turn is still going on${ofRun(said)}`);
const timedOut = (said: Said): StepError =>
  unknown('TimedOut', `openclaw ran out of time${ofRun(said)}${said.message && `: ${said.message}`}`);

const interrupted = ({ ending }: Ended['finished'], said: Said | undefined): StepError =>
  unknown(
    ending === 'aborted' ? 'Interrupted' : 'TimedOut',
    `openclaw was ended ${ending === 'aborted' ? 'from outside' : 'when its time was up'}${said ? ofRun(said) : ''}`,
  );

function failed(said: Said, { code }: Ended['finished']): StepError {
  const how = isAnswer(said)
    ? `answered, but exited with ${code ?? 'a signal'}`
    : `failed${said.message && `: ${said.message}`}`;
  return unknown('AgentFailed', `openclaw ${how}${ofRun(said)}`);
}

/** The last words of a program that gave no answer. */
const excerptChars = 500;

function unreadable(finished: Ended['finished']): StepError {
  if (finished.ending !== 'exited') return interrupted(finished, undefined);
  const { code, signal, stderr } = finished;
  const end = code === null ? `was ended by ${signal}` : `exited with ${code}`;
  const words = stderr.text.trim().slice(-excerptChars);
  return unknown('Unreadable', `openclaw ${end} without an answer that can be read${words && `: ${words}`}`);
}
