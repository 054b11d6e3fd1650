/** Sessions of people who have signed in to the page. */
import { z } from 'zod';
import { arg, call, value } from '../call.js';
import { timestamp } from '../schemas/values.js';

export const SessionHolder = z.object({
  label: z.string(),
  scope: z.enum(['operator', 'viewer']),
  key_id: z.uuid().nullable(),
  lives_seconds: z.number(),
});
export type SessionHolder = z.infer<typeof SessionHolder>;

export const sessionCalls = {
  openSession: call(
    'ops_open_session',
    {
      signInHash: arg.text,
      sessionHash: arg.text,
      scope: arg.text,
      label: arg.text,
      keyId: arg.uuid.orDefault,
      hours: arg.numeric.orDefault,
    },
    value(z.object({ opened: z.boolean(), expires_at: timestamp.nullable() })),
  ),
  checkSession: call('ops_check_session', { hash: arg.text }, value(SessionHolder.nullable())),
  endSession: call('ops_end_session', { hash: arg.text }, value(z.object({ ended: z.boolean() }))),
};
