/** Workers as the benchmark sees them: child processes that start together, and say what they used. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Ended, Message, Order } from './protocol.js';

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

/** Workers that wait for their next start, while they are kept; see `keepWorkers`. */
let kept: ChildProcess[] | undefined;

/**
 * From here on a worker process is used again for the next measure: saves its start, where the figures mean nothing
 * anyway. The answer ends them.
 */
export function keepWorkers(): () => void {
  const mine: ChildProcess[] = [];
  kept = mine;
  return () => {
    kept = undefined;
    for (const child of mine) send(child, { do: 'leave' });
  };
}

/** Its code is loaded before any clock starts. */
async function load(): Promise<ChildProcess> {
  const waiting = kept?.pop();
  if (waiting !== undefined) return waiting;
  const child = fork(program, {
    execArgv: ['--import', import.meta.resolve('tsx')],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const ready = new Promise<void>((resolve) => child.once('message', () => resolve()));
  await orLost(child, ready);
  return child;
}

function start(child: ChildProcess, url: string, wish: WorkerWish): WorkerChild {
  const began = new Map<number, number>();
  const says = new Said(child, began);
  send(child, { ...wishless, do: 'start', url, ...wish });
  const ended = orLost(child, says.ended).then((end) => {
    if (kept === undefined) send(child, { do: 'leave' });
    else kept.push(child);
    return end;
  });
  const idle = orLost(child, Promise.race([says.idle, ended.then(() => {})]));
  // Who waits for one of them hears of its loss; the other is nobody's to hear.
  for (const promise of [ended, idle]) promise.catch(() => {});
  const stop = (): Promise<Ended> => {
    send(child, { do: 'stop' });
    return ended;
  };
  return { idle, began, ended, stop };
}

const wishless = {
  name: 'benchmark',
  once: false,
  listen: false,
  reactive: false,
  report: false,
  concurrency: undefined,
};

const send = (child: ChildProcess, order: Order): void => void (child.connected && child.send(order));

/** What one run of a worker says, until it has ended. */
class Said {
  readonly idle: Promise<void>;
  readonly ended: Promise<Ended>;

  constructor(child: ChildProcess, began: Map<number, number>) {
    let onIdle = (): void => {};
    this.idle = new Promise((resolve) => {
      onIdle = resolve;
    });
    this.ended = new Promise((resolve) => {
      const hear = (message: Message): void => {
        if (message.say === 'idle') onIdle();
        if (message.say === 'began' && !began.has(message.seq)) began.set(message.seq, message.at);
        if (message.say !== 'ended') return;
        child.off('message', hear);
        resolve(message);
      };
      child.on('message', hear);
    });
  }
}

/** Fails when the child ends before, or says nothing for longer than any measure takes. */
async function orLost<T>(child: ChildProcess, answer: Promise<T>): Promise<T> {
  let forget = (): void => {};
  const lost = new Promise<never>((_, reject) => {
    const fail = (why: string): void => {
      child.kill('SIGKILL');
      reject(new Error(`a worker process of the benchmark ${why}`));
    };
    const left = (code: number | null): void => fail(`ended with code ${code} before its work was done`);
    const late = setTimeout(() => fail(`said nothing for ${patienceMs / 1_000} s`), patienceMs);
    child.on('exit', left);
    forget = () => {
      clearTimeout(late);
      child.off('exit', left);
    };
  });
  return await Promise.race([answer, lost]).finally(forget);
}
