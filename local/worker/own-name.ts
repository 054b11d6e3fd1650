/**
 * A worker that was silent for over a minute counts as dead, and its name may be given to another. Renewals and idle
 * looks name the instance, so that the old one learns of it when it wakes. It then stops: two under one name would
 * hide each other from status, health and operators. Its leases stay good as long as they last, for their fence is the
 * epoch, not the name; they are not renewed any more.
 */
import { OpsError } from '../../supabase/client/errors.js';
import type { OpsPort } from '../../supabase/client/port.js';

export type NamedPort = Pick<OpsPort, 'renewLeases' | 'workerIdle'>;

/** The two calls under the worker's own instance. `onLost` is told once; from then on nothing is renewed. */
export function underOwnName(port: NamedPort, instance: string, onLost: (why: OpsError) => void): NamedPort {
  let lost = false;
  const checked = async <T>(call: Promise<T>, otherwise: (error: OpsError) => T): Promise<T> => {
    try {
      return await call;
    } catch (error) {
      if (!(error instanceof OpsError) || error.code !== 'OPS_006') throw error;
      if (!lost) onLost(error);
      lost = true;
      return otherwise(error);
    }
  };
  return {
    renewLeases: async (args, options) =>
      lost ? [] : checked(port.renewLeases({ ...args, instance }, options), () => []),
    workerIdle: (args, options) =>
      checked(port.workerIdle({ ...args, instance }, options), (error) => {
        throw error;
      }),
  };
}
