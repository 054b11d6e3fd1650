import type { z } from 'zod';
import { type Document, readDocument } from '../arguments.js';
import { paintStatus } from '../colours.js';
import type { AddCommand } from '../command.js';
import { usageError } from '../context.js';
import { exitCodes } from '../exit-codes.js';

type Template = z.infer<typeof Document>;
type Options = {
  kind?: string;
  params: string;
  title?: string;
  risk: string;
  executor?: string;
  dedupeKey?: string;
};

export const addPropose: AddCommand = (program, bind) => {
  program
    .command('propose')
    .description('propose work: a whole template, or one step with --kind')
    .argument('[template]', 'a JSON file with title and steps, or - for stdin')
    .option('--kind <kind>', 'the kind of the one step')
    .option('--params <json>', 'its params: a JSON object, @file, or -', '{}')
    .option('--executor <name>', 'who runs it, if not the executor named like the kind')
    .option('--title <text>', 'what people read')
    .option('--risk <level>', 'low, medium, high or critical', 'low')
    .option('--dedupe-key <key>', 'a second proposal with the same key is the first one')
    .action(
      bind(async ({ out, connect }, file: string | undefined, options: Options) => {
        const template = await chooseTemplate(file, options);
        const { port } = await connect();
        const proposal = await port.createProposal({
          template,
          source: 'manual',
          dedupeKey: options.dedupeKey,
        });
        out.show(proposal, () => {
          const because = proposal.reason === null ? '' : `: ${proposal.reason}`;
          const mission = proposal.mission_id === null ? '' : `\nmission ${proposal.mission_id}`;
          return `proposal ${proposal.id} ${paintStatus(out.paint, proposal.status)}${because}${mission}`;
        });
        return proposal.status === 'rejected' ? exitCodes.refused : exitCodes.ok;
      }),
    );
};

async function chooseTemplate(file: string | undefined, options: Options): Promise<Template> {
  if ((file === undefined) === (options.kind === undefined))
    throw usageError(
      'give either a template or --kind',
      'Try: ops-loop propose --kind noop --params \'{"echo":"hello"}\'',
    );
  if (file !== undefined)
    return readDocument(file === '-' ? '-' : `@${file.replace(/^@/, '')}`, 'the template');
  return oneStep(options, await readDocument(options.params, '--params'));
}

function oneStep({ kind, executor, title, risk }: Options, params: Template): Template {
  const step = { kind: kind ?? '', params, ...(executor === undefined ? {} : { executor }) };
  return { title: title ?? `${kind} from the command line`, risk_level: risk, steps: [step] };
}
