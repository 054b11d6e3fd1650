import { userInfo } from 'node:os';
import { type Command, Option } from 'commander';
import { newKey } from '../../../supabase/client/keys.js';
import { type KeyScope, keyScopes } from '../../../supabase/client/terms.js';
import { positiveNumber, wholeNumber } from '../arguments.js';
import type { AddCommand, Bind } from '../command.js';
import { usageError } from '../context.js';
import { findLiveKey, renderKeys, showNewKey } from '../key-view.js';

export const addKeys: AddCommand = (program, bind) => {
  const keys = program.command('keys').description('keys of those who call the HTTP interface');
  addList(keys, bind);
  addCreate(keys, bind);
  addRotate(keys, bind);
  addRevoke(keys, bind);
};

/** Who makes or revokes a key, for the record. */
const actor = (): string => userInfo().username;

function addList(keys: Command, bind: Bind): void {
  keys
    .command('list', { isDefault: true })
    .description('the keys that open something, their age and last use; never the keys themselves')
    .argument('[nothing]')
    .option('--all', 'also those that are replaced, expired or revoked')
    .action(
      bind(async ({ out, connect }, verb: string | undefined, { all = false }: { all?: boolean }) => {
        if (verb !== undefined)
          throw usageError(
            `unknown command 'keys ${verb}'`,
            'Use keys list, keys create <label>, keys rotate <key> or keys revoke <key>.',
          );
        const { port } = await connect();
        const listed = await port.listKeys({ all });
        out.show(listed, () => renderKeys(listed, out));
      }),
    );
}

function addCreate(keys: Command, bind: Bind): void {
  keys
    .command('create')
    .description('make a key and print it, this once; the database keeps its hash alone')
    .argument('<label>', 'whose it is; approvals and votes are signed with it')
    .addOption(new Option('--scope <scope>', 'what it may do').choices([...keyScopes]).makeOptionMandatory())
    .option('--expires-days <days>', 'when it ends (default: never)', positiveNumber)
    .action(
      bind(
        async (
          { out, connect },
          label: string,
          { scope, expiresDays }: { scope: KeyScope; expiresDays?: number },
        ) => {
          const { port } = await connect();
          const { key, prefix, hash } = newKey(scope);
          const receipt = await port.createKey({
            ...{ label, scope, prefix, hash, actor: actor() },
            ...(expiresDays === undefined ? {} : { expiresDays }),
          });
          showNewKey(receipt, key, out);
        },
      ),
    );
}

function addRotate(keys: Command, bind: Bind): void {
  keys
    .command('rotate')
    .description('make a new key in the place of a live one; the old one goes on for a while')
    .argument('<key>', 'its label or prefix')
    .option('--grace-hours <hours>', 'how long the old one goes on; 0 ends it now', wholeNumber, 24)
    .action(
      bind(async ({ out, connect }, named: string, { graceHours }: { graceHours: number }) => {
        const { port } = await connect();
        const { scope } = findLiveKey(await port.listKeys(), named);
        const { key, prefix, hash } = newKey(scope);
        const receipt = await port.rotateKey({ key: named, prefix, hash, graceHours, actor: actor() });
        showNewKey(receipt, key, out);
      }),
    );
}

type Revoke = { all?: boolean; reason?: string };

function addRevoke(keys: Command, bind: Bind): void {
  keys
    .command('revoke')
    .description('end a key, or all of them with every session of the page')
    .argument('[key]', 'its label or prefix')
    .option('--all', 'every key and every session; those of the environment go on')
    .option('--reason <text>', 'why; kept with the key')
    .action(
      bind(async ({ out, connect }, named: string | undefined, { all = false, reason }: Revoke) => {
        if ((named !== undefined) === all) throw usageError('name one key, or say --all');
        const { port } = await connect();
        const why = { actor: actor(), ...(reason === undefined ? {} : { reason }) };
        if (named === undefined) {
          const ended = await port.revokeKeys(why);
          out.show(ended, () => `${ended.keys} keys revoked, ${ended.sessions} sessions ended`);
        } else {
          const revoked = await port.revokeKey({ key: named, ...why });
          out.show({ revoked }, () =>
            revoked.map(({ label, prefix }) => `revoked ${label} ${prefix}`).join('\n'),
          );
        }
        out.note('A server that has used a key within the last 30 seconds may take it until they are over.');
      }),
    );
}
