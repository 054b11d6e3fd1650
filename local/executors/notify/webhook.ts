import { Webhook } from 'standardwebhooks';
import { StepError } from '../contract.js';
import type { Given, Speech } from './message.js';
import { within } from './text.js';

/** As long as what a step may say; a program reads it, so nothing is escaped. */
const textChars = 4_000;

/**
 * Any receiver, signed as Standard Webhooks asks (standardwebhooks.com, specification 1.0): the step's id is the
 * message's id on every attempt, so a receiver that keeps to it takes one that comes twice for one.
 */
export const webhook: Speech = {
  hosts: [],
  mayRepeat: true,
  deliver({ title, text, link, decide }, given) {
    const { stepId, missionId, now } = given;
    const body = JSON.stringify({
      type: 'ops_loop.notification',
      timestamp: now.toISOString(),
      data: {
        ...{ title, text: within(textChars, text), link, step_id: stepId, mission_id: missionId },
        ...(decide && {
          proposal_id: decide.proposalId,
          approve_url: decide.approve,
          reject_url: decide.reject,
          expires_at: decide.expiresAt,
        }),
      },
    });
    const url = given.optional('url') ?? given.secret('url_secret');
    return { url, body, headers: signature(body, given) };
  },
};

function signature(body: string, given: Given): Record<string, string> {
  return {
    'webhook-id': given.stepId,
    'webhook-timestamp': String(Math.floor(given.now.getTime() / 1000)),
    'webhook-signature': signer(given.secret('signing_secret')).sign(given.stepId, given.now, body),
  };
}

/** 24 to 64 bytes in base64, as the specification has it. */
function signer(secret: string): Webhook {
  const bytes = Buffer.from(secret.replace(/^whsec_/, ''), 'base64').length;
  if (bytes >= 24 && bytes <= 64) return new Webhook(secret);
  throw new StepError('the signing secret is not 24 to 64 bytes in base64', {
    outcome: 'permanent',
    errorClass: 'ChannelInvalid',
    hint: 'Make one: echo "whsec_$(openssl rand -base64 32)".',
  });
}
