import type { Message } from './call.js';
import { type OutputReader, schemaRule } from './output.js';
import type { Params } from './params.js';
import type { Role } from './role.js';
import type { Tool } from './tools.js';
import { fence, fenceRule, visible } from './untrusted.js';

type Parts = { role: Role; params: Params; tools: readonly Tool[]; reader: OutputReader | undefined };

/** What the model is told first: who it is and the rules, then the task with its data fenced off. */
export function opening({ role, params, tools, reader }: Parts): Message[] {
  const hasData = params.input !== undefined || tools.length > 0;
  const system = [
    role.instructions ?? `You work as ${params.role}.`,
    ...(hasData ? [fenceRule] : []),
    ...(reader === undefined ? [] : [schemaRule(reader.schema)]),
  ];
  const task = [visible(params.prompt), ...(params.input === undefined ? [] : [fence('data', params.input)])];
  return [
    { role: 'system', content: system.join('\n\n') },
    { role: 'user', content: task.join('\n\n') },
  ];
}
