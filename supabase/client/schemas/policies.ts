/**
 * What operators decide: one zod schema per key of `ops_policy`. The database checks every write by the JSON Schemas
 * generated from these (`npm run generate`), so they use only what JSON Schema can say: no transforms, no defaults, no
 * refinements (but for the order of an alert's thresholds, which SQL checks by itself). Objects are strict, so a typo
 * is refused with the names that are known. A description completes "Write …" in the message to whoever wrote
 * something else. What only the database can know (does the executor exist?) is checked in SQL, in 0003_ops_policy.sql.
 */
import type { z } from 'zod';
import type { PolicyKey } from '../terms.js';
import { Alerts } from './policies/alerts.js';
import { Budgets, LoopLimits, Retention } from './policies/bounds.js';
import { Approvals, AutoApprove, ProposalCaps, Switches } from './policies/gates.js';
import { ReactionMatrix } from './policies/matrix.js';
import { AgentRoles } from './policies/roles.js';
import { Schedules } from './policies/schedules.js';
import { WorkerPolicy } from './policies/worker.js';

export { Command, type CommandValue, openclawThinkingLevels } from './policies/commands.js';
export { Channel, hostEntry } from './policies/destinations.js';
export { Template } from './policies/matrix.js';
export { AgentRole } from './policies/roles.js';
export { AgentRoles, Schedules, WorkerPolicy };

/** The schema of each key of `ops_policy`. */
export const policies = {
  reaction_matrix: ReactionMatrix,
  auto_approve: AutoApprove,
  proposal_caps: ProposalCaps,
  worker_policy: WorkerPolicy,
  agent_roles: AgentRoles,
  budgets: Budgets,
  approvals: Approvals,
  schedules: Schedules,
  alerts: Alerts,
  retention: Retention,
  loop_limits: LoopLimits,
  switches: Switches,
} satisfies Record<PolicyKey, z.ZodType>;
