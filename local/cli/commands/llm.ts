import { type Command, Option } from 'commander';
import { AgentRoles } from '../../../supabase/client/schemas/policies.js';
import type { LlmHealth } from '../../../supabase/client/schemas/rows.js';
import type { AddCommand, Bind } from '../command.js';
import { exitCodes } from '../exit-codes.js';
import { type Output, table } from '../output.js';
import type { CheckFlags } from '../run-llm-check.js';
import { relativeTime } from '../times.js';

export const addLlm: AddCommand = (program, bind) => {
  const llm = program.command('llm').description('the model providers of the agent executor');
  addHealth(llm, bind);
  addReset(llm, bind);
  addCheck(llm, bind);
};

function addHealth(llm: Command, bind: Bind): void {
  llm
    .command('health', { isDefault: true })
    .description('how each worker finds its providers')
    .action(
      bind(async ({ out, connect }) => {
        const { port } = await connect();
        const health = await port.llmHealth();
        out.show(health, () => renderHealth(health, out));
        return health.status === 'down' ? exitCodes.failed : exitCodes.ok;
      }),
    );
}

const columns = [
  'worker',
  'provider',
  'model',
  'state',
  { name: 'calls', align: 'right' as const },
  { name: 'failed', align: 'right' as const },
  { name: 'p95', align: 'right' as const },
  'last error',
  'asked again',
];

function renderHealth({ status, providers }: LlmHealth, out: Output): string {
  if (providers.length === 0)
    return 'no worker has reported a provider; OPS_LLM_PROVIDERS names those that a worker asks';
  const when = (at: string | null) => (at === null ? null : relativeTime(at, out.now()));
  const rows = providers.map((p) => [
    p.alive ? p.worker : `${p.worker} (gone)`,
    p.provider,
    p.model,
    p.reset_pending ? `${p.state}, reset pending` : p.state,
    p.calls,
    p.failed_calls,
    p.latency_p95_ms === null ? null : `${p.latency_p95_ms} ms`,
    p.last_error === null ? null : `${p.last_error}, ${when(p.last_error_at)}`,
    when(p.asked_again_at),
  ]);
  return `${status}\n${table(columns, rows, out.paint)}`;
}

function addReset(llm: Command, bind: Bind): void {
  llm
    .command('reset')
    .description('have every worker ask a provider again, or all of them, whatever went wrong before')
    .argument('[provider]', 'together, openai, openrouter, ollama, openclaw or custom')
    .action(
      bind(async ({ out, connect }, provider: string | undefined) => {
        const { port } = await connect();
        const answer = await port.resetLlm({ provider });
        out.show(answer, () =>
          answer.workers.length === 0
            ? 'no worker has reported a provider, so there is nothing to reset'
            : `asked ${answer.workers.join(', ')}; it is done with the next report, within half a minute`,
        );
      }),
    );
}

function addCheck(llm: Command, bind: Bind): void {
  llm
    .command('check')
    .description("one small call from this machine, with this machine's keys; says who answered")
    .addOption(
      new Option('--role <role>', 'as this role of the policy agent_roles').choices(
        AgentRoles.keyof().options,
      ),
    )
    .option('--provider <name>', 'ask only this one')
    .action(
      bind(async (context, flags: CheckFlags) => {
        const { runLlmCheck } = await import('../run-llm-check.js');
        return runLlmCheck(context, flags);
      }),
    );
}
