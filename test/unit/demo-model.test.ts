/** The stand-in model in its roles: what it says has the form that was asked for. */
import { expect, test } from 'vitest';
import { z } from 'zod';
import { replyInRole } from '../../local/demo/model-roles.js';
import { schemaRule } from '../../local/executors/agent/output.js';

const told = (system: string, user: string) => ({
  body: {
    model: 'm',
    messages: [
      { role: 'system', content: system },
      { role: 'user', content: user },
    ],
  },
  headers: {},
  path: '/v1/chat/completions',
});

test('a task is read back', () => {
  expect(replyInRole(told('You judge.', 'Judge this.\n\n<<<data x'))).toEqual({ text: 'Done: Judge this.' });
});

test('an answer by schema fits it, the same every time', () => {
  const schema = z.toJSONSchema(
    z.strictObject({
      verdict: z.enum(['go', 'stop']),
      risk: z.int().min(2),
      facts: z.array(z.string()).min(2),
      sure: z.boolean(),
      by: z.strictObject({ kind: z.literal('role'), name: z.string() }),
    }),
  );
  const reply = () =>
    replyInRole(told(`You judge.\n\n${schemaRule(schema)}`, 'Judge this.')) as { text: string };
  expect(z.fromJSONSchema(schema).safeParse(JSON.parse(reply().text)).success).toBe(true);
  expect(reply()).toEqual(reply());
});
