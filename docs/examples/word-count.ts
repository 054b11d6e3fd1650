/** An executor of your own, complete: it counts the words of a text, or of a file in the workspace. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { defineExecutor, StepError } from 'ops-loop/executor';
import { z } from 'zod';

export default defineExecutor({
  name: 'word-count',
  // What a template may pass. Strict, so that a typo is refused when the step is proposed.
  params: z.strictObject({
    text: z.string().max(100_000).optional(),
    file: z
      .string()
      .regex(/^[\w-]+\.txt$/)
      .optional(),
    warn_above: z.int().min(0).optional(),
  }),
  // What later steps may rely on: {{steps.<key>.result.words}}.
  result: z.strictObject({ words: z.int(), longest: z.string() }),
  // It reads only, so it may run again after a crash; it costs nothing and reaches nobody.
  traits: { idempotent: true, risk: 'low' },
  async run({ params, workspace, signal, progress, cost, emit }) {
    const text = params.text ?? (await read(join(workspace, params.file ?? ''), signal));
    progress(0.5, 'read');
    const words = text.split(/\s+/).filter((word) => word !== '');
    cost({ words: words.length });
    if (params.warn_above !== undefined && words.length > params.warn_above)
      emit({ type: 'text:too_long', data: { words: words.length } });
    return {
      words: words.length,
      longest: words.reduce((longest, word) => (word.length > longest.length ? word : longest), ''),
    };
  },
  // What `ops-loop doctor` asks on the worker's machine.
  doctor: async ({ workspace }) => [
    { name: 'workspace', ok: true, message: `files are looked for in ${workspace}` },
  ],
});

async function read(file: string, signal: AbortSignal): Promise<string> {
  try {
    return await readFile(file, { encoding: 'utf8', signal });
  } catch (cause) {
    // Trying again would not bring the file: a permanent failure is a dead letter at once.
    throw new StepError('there is neither a text nor such a file', {
      outcome: 'permanent',
      errorClass: 'NoText',
      hint: 'Pass `text`, or the name of a .txt file in the workspace.',
      cause,
    });
  }
}

/** For `ops-loop executor test`: what works, and what must be refused before anything happens. */
export const examples = {
  'word-count': {
    good: [{ params: { text: 'one two three' } }, { params: { text: '' } }],
    bad: [{ file: '../secrets.txt' }, { text: 1 }, { unknown: true }],
  },
};
