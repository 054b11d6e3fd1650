import type { AddCommand } from '../command.js';
import type { SignInFlags } from '../run-sign-in.js';

export const addSignIn: AddCommand = (program, bind) => {
  program
    .command('sign-in')
    .description('print a fresh link that signs one browser in to the page')
    .option('--url <address>', 'where the control plane is (default: `start` on this machine)')
    .action(
      bind(async (context, flags: SignInFlags) => {
        const { signIn } = await import('../run-sign-in.js');
        return signIn(context, flags);
      }),
    );
};
