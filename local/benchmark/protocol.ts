/** What the benchmark and its worker processes say to each other over IPC. */

export type Order =
  | {
      do: 'start';
      url: string;
      name: string;
      once: boolean;
      listen: boolean;
      reactive: boolean;
      /** Says when each no-op with a number to echo began. */
      report: boolean;
      concurrency: number | undefined;
    }
  | { do: 'stop' }
  /** The process may go. */
  | { do: 'leave' };

export type Ended = { started: number; ended: number; cpuMs: number; rssMb: number; succeeded: number };
export type Message =
  | { say: 'ready' }
  | { say: 'idle' }
  | { say: 'began'; seq: number; at: number }
  | ({ say: 'ended' } & Ended);

/** Milliseconds of the monotonic clock, the same in every process of one machine. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6;
