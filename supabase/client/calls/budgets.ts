/** Budgets: what is spent, reserved and left. */
import { z } from 'zod';
import { call, rows } from '../call.js';
import { count, timestamp } from '../schemas/values.js';

export const Budget = z.object({
  /** Such as `role:scout:usd:day`. */
  budget: z.string(),
  unit: z.enum(['usd', 'tokens', 'runs']),
  cap: count,
  spent: count,
  reserved: count,
  remaining: count,
  /** Steps that wait for it. */
  waiting: count,
  starts_at: timestamp,
  ends_at: timestamp,
});

export const budgetCalls = {
  listBudgets: call('ops_list_budgets', {}, rows(Budget)),
};
