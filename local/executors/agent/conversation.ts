/** From the task to the answer: calls of tools in between, and one chance to correct an answer that does not fit. */
import { StepError } from '../contract.js';
import { maxJsonChars } from '../json.js';
import type { Message, Question } from './call.js';
import { type OutputReader, repairPrompt } from './output.js';
import type { Answered } from './route.js';
import { runTool, type Tool, type ToolContext } from './tools.js';
import { cut, fence } from './untrusted.js';

/** Calls of a model in one attempt. The last one may call no tool, so that it comes to an end by itself. */
const maxTurns = 8;
/** What a model is told of one call of a tool. */
const maxToolChars = 20_000;
/** Half of what a result may hold: the other half is for whatever stands beside it. */
const maxTextChars = maxJsonChars / 2;

export type Said = { text: string; truncated?: true } | { output: unknown };
export type Conversation = {
  ask: (question: Question) => Promise<Answered>;
  /** System and user prompt. */
  opening: readonly Message[];
  settings: Pick<Question, 'temperature' | 'maxTokens' | 'effort'>;
  tools: readonly Tool[];
  reader: OutputReader | undefined;
  ctx: ToolContext;
};

/** Answers what was said, by whom. Throws `StepError` for refusals, endless calls of tools and answers that do not fit. */
export async function converse(conversation: Conversation): Promise<Said & { by: Answered }> {
  const { ask, opening, settings, tools, reader } = conversation;
  const messages: Message[] = [...opening];
  const specs = tools.map(({ spec }) => spec);
  let repaired = false;
  for (let turn = 1; turn <= maxTurns; turn++) {
    const final = turn === maxTurns;
    const answer = await ask({ ...settings, messages, tools: specs, schema: reader?.schema, final });
    if (answer.refusal !== undefined) throw refused(answer);
    if (answer.toolCalls.length > 0) {
      messages.push(asMessage(answer), ...(await toolAnswers(conversation, answer)));
      continue;
    }
    if (reader === undefined) return { ...asText(answer), by: answer };
    const read = reader.read(answer.text);
    if (read.ok) return { output: read.value, by: answer };
    if (answer.cutOff) throw tooShort();
    if (repaired || final) throw unfit(read.problem);
    repaired = true;
    messages.push(asMessage(answer), { role: 'user', content: repairPrompt(read.problem) });
  }
  throw endless();
}

function asText({ text, cutOff }: Answered): Said {
  if (text.trim() === '' && cutOff) throw tooShort();
  const isLong = text.length > maxTextChars;
  const shown = isLong ? cut(text, maxTextChars) : text;
  return { text: shown, ...((isLong || cutOff) && { truncated: true }) };
}

const asMessage = ({ text, toolCalls }: Answered): Message => ({
  role: 'assistant',
  content: text,
  ...(toolCalls.length > 0 && {
    tool_calls: toolCalls.map(({ id, name, arguments: given }) => ({
      id,
      type: 'function',
      function: { name, arguments: given },
    })),
  }),
});

/** One after the other, since they may build on each other. What they answer may come from outside. */
async function toolAnswers({ tools, ctx }: Conversation, { toolCalls }: Answered): Promise<Message[]> {
  const answers: Message[] = [];
  for (const call of toolCalls) {
    const content = fence('tool', await runTool(tools, call, ctx), { most: maxToolChars });
    answers.push({ role: 'tool', tool_call_id: call.id, content });
  }
  return answers;
}

const permanent = (errorClass: string, message: string) =>
  new StepError(message, { outcome: 'permanent', errorClass });

const refused = ({ provider, model, refusal }: Answered): StepError =>
  permanent('ModelRefusal', `${model} of ${provider} refused: ${cut(refusal ?? '', 500)}`);
const tooShort = (): StepError =>
  permanent(
    'ModelCutOff',
    'the answer was cut off at max_tokens before it was complete; raise max_tokens of the step or the role',
  );
const endless = (): StepError =>
  permanent('ToolLoop', `the model called tools ${maxTurns} times in a row and came to no answer`);
const unfit = (problem: string): StepError =>
  new StepError(`the answer does not fit the schema, also not when told why: ${cut(problem, 1_000)}`, {
    errorClass: 'InvalidOutput',
  });
