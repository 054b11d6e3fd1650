/** What the SQLSTATEs of PostgreSQL (manual, appendix A) and the errnos of Node mean to a caller. */

/**
 * SQLSTATEs after which the transaction is known to be rolled back, so the same call may be made again at once:
 * serialization failure, deadlock, lock not available (PostgreSQL manual, appendix A).
 */
export const rolledBackStates = new Set(['40001', '40P01', '55P03']);

/**
 * SQLSTATEs and errnos that mean "the database is away": connection exceptions (class 08), shutdown and start-up
 * (57P01-57P03), no room left (53100 disk, 53200 memory, 53300 connections), a read-only server, I/O errors, and what
 * Node's sockets report. The outcome of a call that ended so is unknown; only calls that are safe to repeat are
 * repeated.
 */
export const databaseAwayStates = new Set([
  '08000',
  '08001',
  '08003',
  '08004',
  '08006',
  '08P01',
  '57P01',
  '57P02',
  '57P03',
  '53100',
  '53200',
  '53300',
  '58030',
  '25006',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
]);

/**
 * SQLSTATEs of values that the database cannot take: bad text, bad escapes, bad encoding, numbers out of range, times
 * that are none (22007 to 22009).
 */
export const malformedStates = new Set(['22P02', '22P05', '22003', '22007', '22008', '22009', '22021']);

/** No such function, table or schema. */
export const missingStates = new Set(['42883', '42P01', '3F000']);

/** No privilege, wrong password, no such role. */
export const refusedStates = new Set(['42501', '28P01', '28000']);
