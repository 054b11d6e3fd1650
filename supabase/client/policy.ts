/**
 * Policy writes whose refusal leaves a trace. The engine refuses by raising, which undoes all that its transaction
 * wrote; so the alarm `policy:refused` is raised by a second call, once per key, message and hour.
 */
import { OpsError } from './errors.js';
import type { OpsPort } from './port.js';

type Write = Parameters<OpsPort['setPolicy']>[0];
type Rollback = Parameters<OpsPort['rollbackPolicy']>[0];
type Apply = Parameters<OpsPort['applyPolicies']>[0];
type Written = Awaited<ReturnType<OpsPort['setPolicy']>>;

/** Writes a policy: `{key, version}`. Throws what `setPolicy` throws; `OPS_008` is recorded before. */
export function setPolicyOrAlarm(port: OpsPort, write: Write): Promise<Written> {
  return orAlarm(port, write.key, port.setPolicy(write));
}

/** Writes an earlier value as a new version: `{key, version}`. Throws as `rollbackPolicy`; `OPS_008` is recorded before. */
export function rollbackPolicyOrAlarm(port: OpsPort, rollback: Rollback): Promise<Written> {
  return orAlarm(port, rollback.key, port.rollbackPolicy(rollback));
}

/** Writes several policies, all or none. Throws as `applyPolicies`; `OPS_008` is recorded before, for the first of them. */
export function setPoliciesOrAlarm(port: OpsPort, apply: Apply): ReturnType<OpsPort['applyPolicies']> {
  return orAlarm(port, Object.keys(apply.values)[0] ?? 'reaction_matrix', port.applyPolicies(apply));
}

async function orAlarm<T>(port: OpsPort, key: string, write: Promise<T>): Promise<T> {
  try {
    return await write;
  } catch (error) {
    // What the caller has to know is the refusal; a lost alarm must not stand in its place.
    if (error instanceof OpsError && error.code === 'OPS_008')
      await port.recordRefusal({ key, reason: error.message }).catch(() => {});
    throw error;
  }
}
