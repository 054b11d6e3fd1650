import type { AddCommand } from '../command.js';

export const addDemo: AddCommand = (program, bind) => {
  program
    .command('demo')
    .description('the whole loop once, on 329 real GitHub payloads and a throw-away database')
    .action(
      bind(async (context) => {
        const { demo } = await import('../run-demo.js');
        return demo(context);
      }),
    );
};
