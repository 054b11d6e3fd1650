/** Commands in the whole loop: what an event says reaches a program as a value, or not at all. */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, expect, test } from 'vitest';
import type { Json } from '../../local/executors/json.js';
import { minion } from '../../local/executors/minion/minion.js';
import { createRegistry } from '../../local/executors/registry.js';
import { startWorker } from '../../local/worker/worker.js';
import { useEngine } from '../sql/engine-kit.js';
import { recordingLog } from '../unit/worker-kit.js';

const engine = useEngine();
const workspace = realpathSync(mkdtempSync(join(tmpdir(), 'ops-loop-minion-')));
afterAll(() => rmSync(workspace, { recursive: true }));

const commands = {
  say: { program: 'printf', arguments: ['%s;', 'said', { value: 'text', repeat: 2 }], env: ['SAY_TOKEN'] },
};
const pattern = (params: { [name: string]: Json }) => ({
  id: 'say',
  event_type: 'mail:received',
  template: { title: 'Say it', steps: [{ kind: 'minion', params }] },
});
const saying = pattern({ command: 'say', arguments: ['{{event.data.text}}', 'end'] });

beforeEach(async () => {
  await engine.setPolicy('worker_policy', { allowed_commands: ['say'], commands, workspace_root: workspace });
});

/** Approves what the events led to, and lets a worker do it. */
async function work(): Promise<void> {
  await engine.beat();
  const pending = await engine.db.sql<{ id: string }>(
    "select id from ops_mission_proposals where status = 'pending'",
  );
  for (const { id } of pending) await engine.port.approveProposal({ id });
  const { log } = recordingLog();
  const worker = await startWorker({
    ...{
      port: engine.port,
      log,
      registry: createRegistry([minion]),
      once: true,
      name: 'hand',
      print: () => {},
    },
    secrets: (name) => (name === 'SAY_TOKEN' ? 'canary-of-the-loop' : undefined),
  });
  await worker.done;
}

const steps = (columns: string) =>
  engine.db.sql(`select ${columns} from ops_mission_steps order by created_at, position`);

test('a value of an event is one argument; one that would be an option fails its step for good', async () => {
  await engine.patterns(saying);
  await engine.emit('mail:received', { text: '$(id) `id`; id\n' });
  await engine.emit('mail:received', { text: '--help' });
  await work();
  expect(await steps("status, result ->> 'stdout' as stdout")).toEqual(
    expect.arrayContaining([
      { status: 'succeeded', stdout: 'said;$(id) `id`; id\n;end;' },
      { status: 'failed', stdout: null },
    ]),
  );
  expect(await engine.db.sql('select cause, error_class from ops_step_dead_letters')).toEqual([
    { cause: 'permanent', error_class: 'InvalidArguments' },
  ]);
  const all = await engine.db.sql('select * from ops_mission_steps, ops_action_runs, ops_workers');
  expect(JSON.stringify(all)).not.toContain('canary-of-the-loop');
});

test('what an empty list allows is nothing, also for what was approved before', async () => {
  await engine.patterns(saying);
  await engine.emit('mail:received', { text: 'hello' });
  await engine.setPolicy('worker_policy', { allowed_commands: [], commands, workspace_root: workspace });
  await work();
  expect(await steps('status, last_error')).toEqual([
    { status: 'failed', last_error: 'the policy does not allow the command "say"' },
  ]);
});

test.each<[string, { [name: string]: Json }]>([
  ['a command', { command: '{{event.data.text}}' }],
  ['a directory', { command: 'say', cwd: '{{event.data.text}}' }],
  ['a wreckit command', { wreckit: { command: '{{event.data.text}}', repository: 'shop' } }],
  ['a wreckit command with all its words', { wreckit: '{{event.data.command}}' }],
])('a pattern that would let an event name %s is refused', async (_, params) => {
  await expect(engine.patterns(pattern(params))).rejects.toMatchObject({ code: 'OP008' });
});

test.each<[string, Json]>([
  ['an option as a word', { value: 'word', words: ['--force'] }],
  ['a prefix that ends as an option', { value: 'text', prefix: '--' }],
  ['a kind of value that nobody knows', { value: 'code' }],
])('a policy with %s is refused', async (_, argument) => {
  const policy = { allowed_commands: ['say'], commands: { say: { arguments: [argument] } } };
  await expect(engine.setPolicy('worker_policy', policy)).rejects.toMatchObject({
    code: 'OP008',
    message: expect.stringContaining('$.commands.say.arguments[0]'),
  });
});
