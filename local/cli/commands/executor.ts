import { Argument, type Command } from 'commander';
import { callingDirectory } from '../../env.js';
import type { Executor } from '../../executors/contract.js';
import type { Examples } from '../../executors/kit/checks.js';
import type { AddCommand, Bind } from '../command.js';
import { exitCodes } from '../exit-codes.js';
import { type Output, table } from '../output.js';

export const addExecutor: AddCommand = (program, bind) => {
  const executor = program
    .command('executor')
    .description('executors of your own: check them against the contract');
  addTest(executor, bind);
};

type Verdict = { executor: string; check: string; ok: boolean; problem: string | null };

function addTest(executor: Command, bind: Bind): void {
  executor
    .command('test')
    .description(
      'run the contract checks on what a package or file exports; `examples` beside it says with which parameters',
    )
    .addArgument(new Argument('<place>', 'an installed package or a path, as in OPS_EXECUTORS'))
    .action(
      bind(async ({ out }, place: string) => {
        // Executors bring large libraries: no other command waits for them.
        const { loadExecutorModule } = await import('../../executors/registry.js');
        const { executors, examples } = await loadExecutorModule(place, callingDirectory());
        const verdicts: Verdict[] = [];
        for (const loaded of executors)
          verdicts.push(...(await judge(loaded, examples[loaded.name] ?? { good: [], bad: [] })));
        const ok = verdicts.every((verdict) => verdict.ok);
        out.show({ ok, verdicts }, () => render(verdicts, executors, examples, out));
        return ok ? exitCodes.ok : exitCodes.failed;
      }),
    );
}

async function judge(executor: Executor, examples: Examples): Promise<Verdict[]> {
  const { contractChecks } = await import('../../executors/kit/checks.js');
  const verdicts: Verdict[] = [];
  for (const { name, run } of contractChecks(executor, examples)) {
    const problem = await run().then(
      () => null,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    verdicts.push({ executor: executor.name, check: name, ok: problem === null, problem });
  }
  return verdicts;
}

function render(
  verdicts: Verdict[],
  executors: Executor[],
  examples: Record<string, Examples>,
  { paint }: Output,
): string {
  const rows = verdicts.map(({ executor, check, ok, problem }) => [
    ok ? paint('green', 'ok') : paint('red', 'fails'),
    executor,
    check,
    problem ?? '',
  ]);
  const bare = executors.filter(({ name }) => examples[name] === undefined).map(({ name }) => name);
  const hint =
    bare.length === 0
      ? ''
      : `\n${paint('yellow', '→')} ${bare.join(', ')} was only checked as far as its registration: export const examples = { ${bare[0]}: { good: [{ params: … }], bad: [ … ] } }`;
  return `${table(['', 'executor', 'check', 'problem'], rows, paint)}${hint}`;
}
