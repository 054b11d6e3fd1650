import { wholeNumber } from '../arguments.js';
import type { AddCommand } from '../command.js';
import type { WorkerFlags } from '../run-worker.js';

export const addWorker: AddCommand = (program, bind) => {
  program
    .command('worker')
    .description('claim steps and run them until told to stop')
    .option('--once', 'drain what is queued, then exit')
    .option('--name <name>', 'unique among the living; runs a further worker on one host')
    .option('--concurrency <count>', 'steps that run at once', wholeNumber)
    .option('--executors <list>', 'packages or paths of further executors, separated by commas')
    .option('--reactive', 'beat at once when events come in')
    .action(
      bind(async (context, flags: WorkerFlags) => {
        const { runWorker } = await import('../run-worker.js');
        return runWorker(context, flags);
      }),
    );
};
