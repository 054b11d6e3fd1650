import { styleText } from 'node:util';

type Style = Parameters<typeof styleText>[0];
/** Dresses a text for the terminal, or leaves it plain. */
export type Paint = (style: Style, text: string) => string;

type Stream = { isTTY?: boolean };

/** Colours only on a terminal, and never when NO_COLOR is set (https://no-color.org) or TERM is `dumb`. */
export function wantsColour(stream: Stream, variables: NodeJS.ProcessEnv): boolean {
  return stream.isTTY === true && !variables.NO_COLOR && variables.TERM !== 'dumb';
}

export const painter = (colour: boolean): Paint =>
  colour ? (style, text) => styleText(style, text, { validateStream: false }) : (_style, text) => text;

const statusStyles: Record<string, Style> = {
  succeeded: 'green',
  fired: 'green',
  done: 'green',
  approved: 'green',
  auto_approved: 'green',
  healthy: 'green',
  running: 'cyan',
  started: 'cyan',
  processing: 'cyan',
  queued: 'blue',
  scheduled: 'blue',
  pending: 'yellow',
  voting: 'yellow',
  degraded: 'yellow',
  suppressed: 'yellow',
  failed: 'red',
  crashed: 'red',
  timed_out: 'red',
  rejected: 'red',
  unhealthy: 'red',
  unknown: 'red',
  open: 'red',
};

/** A status in its colour; one without a colour of its own is dimmed. */
export const paintStatus = (paint: Paint, status: string): string =>
  paint(statusStyles[status] ?? 'dim', status);
