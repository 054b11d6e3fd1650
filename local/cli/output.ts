/**
 * Where a command's answer goes. With `--json` stdout carries JSON and nothing else: one document, or one per line
 * for streams. Notes, progress and errors go to stderr, so that a pipe gets the answer alone.
 */
import Table from 'cli-table3';
import { OpsError } from '../../supabase/client/errors.js';
import { stringify } from '../../supabase/client/json-text.js';
import { type Paint, painter, wantsColour } from './colours.js';

type Stream = { write(text: string): unknown; isTTY?: boolean };

export type Output = {
  json: boolean;
  /** True when a person looks at stdout. */
  interactive: boolean;
  paint: Paint;
  now: () => Date;
  /** The answer: `value` as JSON, or what `render` says. May be called again for a stream. */
  show(value: unknown, render: () => string): void;
  /** A line for people beside the answer. */
  note(text: string): void;
  fail(error: OpsError): void;
};

/** Where a command is called and what it prints to: the process's own, unless another is given. */
export type Place = {
  stdout?: Stream;
  stderr?: Stream;
  variables?: NodeJS.ProcessEnv;
  now?: () => Date;
};

export function createOutput(options: Place & { json: boolean }): Output {
  const { json, stdout = process.stdout, stderr = process.stderr, variables = process.env } = options;
  const paint = painter(!json && wantsColour(stdout, variables));
  const paintError = painter(wantsColour(stderr, variables));
  return {
    json,
    interactive: !json && stdout.isTTY === true,
    paint,
    now: options.now ?? (() => new Date()),
    show: (value, render) => stdout.write(`${json ? stringify(value) : render()}\n`),
    note: (text) => stderr.write(`${text}\n`),
    fail: (error) =>
      json
        ? stdout.write(`${JSON.stringify(errorDocument(error))}\n`)
        : stderr.write(`${errorLines(error, paintError)}\n`),
  };
}

/** `{error: {code, message, hint, detail}}`, the same shape for every failure. */
export function errorDocument({ code, message, hint, detail }: OpsError): object {
  return { error: { code, message, hint: hint ?? null, ...(detail === undefined ? {} : { detail }) } };
}

/** `OPS_001  database unreachable …`, then what to do next. */
export function errorLines({ code, message, hint }: OpsError, paint: Paint): string {
  const first = `${paint(['bold', 'red'], code)}  ${message}`;
  return hint === undefined ? first : `${first}\n${paint('yellow', '→')} ${hint}`;
}

/** Whatever was thrown, as the one error type that is shown. */
export function asOpsError(error: unknown): OpsError {
  if (error instanceof OpsError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new OpsError('OPS_018', message, { cause: error });
}

export type Cell = string | number | null | undefined;
export type Column = string | { name: string; align: 'right' };

const noBorders = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

/** Aligned columns under a dim head, no borders. An empty list of rows is said in words by the caller. */
export function table(columns: Column[], rows: Cell[][], paint: Paint): string {
  const grid = new Table({
    head: columns.map((column) => paint('dim', typeof column === 'string' ? column : column.name)),
    colAligns: columns.map((column) => (typeof column === 'string' ? 'left' : column.align)),
    chars: noBorders,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  grid.push(
    ...rows.map((cells) => cells.map((cell) => (cell === null || cell === undefined ? '-' : String(cell)))),
  );
  return grid
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** What steers a terminal or turns its writing round: controls (escape sequences begin with one) and bidi marks. */
const steering = /[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

/** Shortens a long text to one line of at most `most` characters that a terminal shows and does not obey. */
export function oneLine(text: string, most: number): string {
  const flat = text.replace(/\s+/g, ' ').replace(steering, '').trim();
  if (flat.length <= most) return flat;
  const seen = Array.from(characters.segment(flat), ({ segment }) => segment);
  return seen.length <= most ? flat : `${seen.slice(0, most - 1).join('')}…`;
}
/** As people count them: an emoji of several code points, or a letter with its accents, is one. */
const characters = new Intl.Segmenter('en', { granularity: 'grapheme' });
