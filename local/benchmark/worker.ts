/** Workers as the benchmark sees them: child processes that start together, and say what they used. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';

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
  | { do: 'stop' };

export type Ended = { started: number; ended: number; cpuMs: number; rssMb: number; succeeded: number };
export type Said =
  | { say: 'ready' }
  | { say: 'idle' }
  | { say: 'began'; seq: number; at: number }
  | ({ say: 'ended' } & Ended);

/** Milliseconds of the monotonic clock, the same in every process of one machine. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6;

const program = fileURLToPath(new URL('worker-process.ts', import.meta.url));
/** Longer than any drain takes: a child that says nothing by then hangs. */
const patienceMs = 300_000;

export type WorkerChild = {
  /** Resolves when it has found nothing to do. */
  idle: Promise<void>;
  /** When each no-op began, by the number it echoes. */
  began: Map<number, number>;
  ended: Promise<Ended>;
  stop(): Promise<Ended>;
};
export type WorkerWish = Partial<Omit<Extract<Order, { do: 'start' }>, 'do' | 'url'>>;

/** Starts a worker and waits until it is idle; `end` stops it whatever happened. */
export async function withIdleWorker<T>(
  url: string,
  wish: WorkerWish,
  use: (w: WorkerChild) => Promise<T>,
): Promise<T> {
  const child = await load();
  const worker = start(child, url, { ...wish, once: false });
  try {
    await worker.idle;
    return await use(worker);
  } finally {
    await worker.stop();
  }
}

/** Drains the queue with so many workers that start at one moment. */
export async function drain(url: string, wishes: WorkerWish[]): Promise<Ended[]> {
  const children = await Promise.all(wishes.map(() => load()));
  const workers = children.map((child, i) =>
    start(child, url, { ...wishes[i], once: true, name: `benchmark-${i}` }),
  );
  return await Promise.all(workers.map(({ ended }) => ended));
}

/** Its code is loaded before any clock starts. */
async function load(): Promise<ChildProcess> {
  const child = fork(program, {
    execArgv: ['--import', import.meta.resolve('tsx')],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  await heard(child, 'ready');
  return child;
}

function start(child: ChildProcess, url: string, wish: WorkerWish): WorkerChild {
  const began = new Map<number, number>();
  child.on('message', (said: Said) => {
    if (said.say === 'began' && !began.has(said.seq)) began.set(said.seq, said.at);
  });
  const ended = heard(child, 'ended');
  const idle = heard(child, 'idle').then(() => {});
  // Who waits for one of them hears of its end; the other is nobody's to hear.
  for (const promise of [ended, idle]) promise.catch(() => {});
  send(child, {
    do: 'start',
    url,
    name: 'benchmark',
    once: false,
    listen: false,
    reactive: false,
    report: false,
    concurrency: undefined,
    ...wish,
  });
  const stop = (): Promise<Ended> => {
    send(child, { do: 'stop' });
    return ended;
  };
  return { idle, began, ended, stop };
}

const send = (child: ChildProcess, order: Order): void => void (child.connected && child.send(order));

function heard<S extends Said['say']>(child: ChildProcess, what: S): Promise<Extract<Said, { say: S }>> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => fail(`said nothing for ${patienceMs / 1_000} s`), patienceMs);
    const fail = (why: string): void => {
      clearTimeout(late);
      child.kill('SIGKILL');
      reject(new Error(`a worker process of the benchmark ${why}`));
    };
    const left = (code: number | null): void => fail(`ended with code ${code} before it said ${what}`);
    const hear = (said: Said): void => {
      if (said.say !== what) return;
      clearTimeout(late);
      child.off('exit', left).off('message', hear);
      resolve(said as Extract<Said, { say: S }>);
    };
    child.on('message', hear);
    child.on('exit', left);
  });
}
