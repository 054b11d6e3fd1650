import type { AddCommand } from '../command.js';
import { table } from '../output.js';
import { relativeTime } from '../times.js';

const columns = [
  'budget',
  ...['cap', 'spent', 'reserved', 'remaining', 'waiting'].map((name) => ({ name, align: 'right' as const })),
  'starts anew',
];
const amount = (unit: string, value: number): string =>
  unit === 'usd' ? `$${value.toFixed(2)}` : value.toLocaleString('en');

export const addBudgets: AddCommand = (program, bind) => {
  program
    .command('budgets')
    .description('what is spent, reserved and left, by budget')
    .action(
      bind(async ({ out, connect }) => {
        const { port } = await connect();
        const budgets = await port.listBudgets();
        out.show(budgets, () => {
          if (budgets.length === 0)
            return 'no budget is set; docs/policies.md says how: ops-loop policy set budgets …';
          const rows = budgets.map(({ budget, unit, cap, spent, reserved, remaining, waiting, ends_at }) => [
            budget,
            ...[cap, spent, reserved, remaining].map((value) => amount(unit, value)),
            waiting,
            relativeTime(ends_at, out.now()),
          ]);
          return table(columns, rows, out.paint);
        });
      }),
    );
};
