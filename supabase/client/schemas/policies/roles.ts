/** `agent_roles`: who the agents are, and what each of them may use. */
import { z } from 'zod';
import { names, text, whole, word } from './fields.js';

export const AgentRole = z.strictObject({
  instructions: z.string().max(50_000).optional(),
  model: text(200).optional(),
  /** Its name at each provider, where that differs from `model`. */
  models: z.record(word, text(200)).optional(),
  /** Filters and orders: missing means the worker's providers in their order, empty means none. */
  providers: z.array(word).max(20).optional(),
  /** Grants: models that a step may name itself; missing or empty means none. */
  allowed_models: z.array(text(200)).max(100).optional(),
  /** Grants: missing or empty means none. */
  tools: names.optional(),
  temperature: z.number().min(0).max(2).optional(),
  max_tokens: whole(1, 10_000_000).optional(),
  thinking: z.enum(['off', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max', 'adaptive']).optional(),
});

export const AgentRoles = z.strictObject({
  minion: AgentRole.optional(),
  sage: AgentRole.optional(),
  scout: AgentRole.optional(),
  quill: AgentRole.optional(),
  xalt: AgentRole.optional(),
  observer: AgentRole.optional(),
});
