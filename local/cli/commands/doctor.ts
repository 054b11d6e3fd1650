import type { Level } from '../../doctor/finding.js';
import type { AddCommand } from '../command.js';
import { exitCodes } from '../exit-codes.js';
import { table } from '../output.js';

export const addDoctor: AddCommand = (program, bind) => {
  program
    .command('doctor')
    .description('look for what is wrong: versions, schema, health, policies, data, server, keys, executors')
    .action(
      bind(async ({ out, env, connect }) => {
        const { loadRegistry } = await import('../../executors/registry.js');
        const { examine } = await import('../../doctor/examine.js');
        const registry = await loadRegistry(env().OPS_EXECUTORS);
        const { port, chosen } = await connect();
        out.note(`examining ${chosen.label}`);
        const checks = await examine({ port, chosen, registry, env: env() });
        const ok = checks.every(({ level }) => level !== 'bad');
        const shownChecks = checks.map((check) => ({ ok: check.level !== 'bad', ...check }));
        out.show({ ok, checks: shownChecks }, () =>
          table(
            ['check', '', 'found'],
            checks.map(({ check, level, findings }) => [
              check,
              out.paint(colours[level], level),
              findings.join('\n') || 'nothing',
            ]),
            out.paint,
          ),
        );
        return ok ? exitCodes.ok : exitCodes.failed;
      }),
    );
};

const colours = { ok: 'green', warn: 'yellow', bad: 'red' } as const satisfies Record<Level, string>;
