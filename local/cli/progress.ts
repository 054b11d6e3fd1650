/** Progress of long work: a bar for a person at a terminal, a line per tenth in a pipe, nothing with `--json`. */
import { Presets, SingleBar } from 'cli-progress';
import type { Output } from './output.js';

/** `total` may grow while the work goes on. */
export type Progress = { to(done: number, total: number): void; end(): void };

export function startProgress(output: Output, what: string): Progress {
  if (output.json) return { to: () => {}, end: () => {} };
  return process.stderr.isTTY ? bar(what) : lines(output, what);
}

function bar(what: string): Progress {
  const format = `${what}  {bar}  {value}/{total}`;
  const single = new SingleBar(
    { format, hideCursor: true, barsize: 30, stream: process.stderr },
    Presets.rect,
  );
  single.start(1, 0);
  const to = (done: number, total: number): void => {
    single.setTotal(total);
    single.update(done);
  };
  return { to, end: () => single.stop() };
}

function lines(output: Output, what: string): Progress {
  let said = -1;
  const to = (done: number, total: number): void => {
    const tenth = Math.floor((done * 10) / Math.max(total, 1));
    if (tenth <= said) return;
    said = tenth;
    output.note(`${what}  ${done}/${total}`);
  };
  return { to, end: () => {} };
}
