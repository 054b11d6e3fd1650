/**
 * Hears notifications on a connection of its own. A notification is a hint, so losing the connection loses nothing:
 * the poll gets shorter until it is back. A connection that dies in silence is found by a probe.
 */

import pg from 'pg';
import type { Logger } from 'pino';
import { wakeChannels } from '../../supabase/client/terms.js';
import { backoffMs } from './backoff.js';
import { type Cancel, type Clock, jittered, type Random } from './clock.js';
import { write } from './log.js';

export type Channel = (typeof wakeChannels)[keyof typeof wakeChannels];
export type ListenHandlers = { heard(channel: Channel): void; lost(error: unknown): void };
export type ListenConnection = { probe(): Promise<void>; close(): Promise<void> };
/** Opens a connection that listens to both channels. Only for direct connections and session-mode poolers. */
export type Listen = (handlers: ListenHandlers) => Promise<ListenConnection>;

const probeEveryMs = 10_000;
const probeDeadlineMs = 5_000;

/** The factory over `pg`. */
export function listenOver(config: pg.ClientConfig): Listen {
  return async ({ heard, lost }) => {
    const client = new pg.Client({ connectionTimeoutMillis: 5_000, keepAlive: true, ...config });
    client.on('error', lost);
    client.on('end', () => lost(new Error('the connection ended')));
    client.on('notification', ({ channel }) => heard(channel as Channel));
    try {
      await client.connect();
      await client.query(
        Object.values(wakeChannels)
          .map((channel) => `listen ${channel}`)
          .join(';'),
      );
    } catch (error) {
      client.end().catch(() => {});
      throw error;
    }
    return { probe: async () => void (await client.query('select 1')), close: () => client.end() };
  };
}

export type ListenerDeps = {
  listen: Listen;
  clock: Clock;
  random: Random;
  log: Logger;
  /** A notification came, or the connection is new and may have missed some. */
  onHeard: (channel: Channel) => void;
};

export class Listener {
  readonly #deps: ListenerDeps;
  #connection: ListenConnection | undefined;
  #failures = 0;
  #cancel: Cancel = () => {};
  #stopped = false;

  constructor(deps: ListenerDeps) {
    this.#deps = deps;
  }

  get live(): boolean {
    return this.#connection !== undefined;
  }

  /** Connects, and again with backoff whenever the connection is lost. Never throws. */
  async connect(): Promise<void> {
    let mine: ListenConnection | undefined;
    let isLost = false;
    const lost = (error: unknown) => {
      if (isLost) return;
      isLost = true;
      if (mine !== undefined && this.#connection === mine) this.#lose(error);
    };
    try {
      mine = await this.#deps.listen({ heard: this.#deps.onHeard, lost });
    } catch (error) {
      return this.#lose(error);
    }
    if (this.#stopped || isLost) return void (await this.#discard(mine));
    this.#ready(mine);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection !== undefined) await connection.close().catch(() => {});
  }

  /** One tick: asks the connection for a sign of life. */
  async probe(): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined) return;
    try {
      await this.#withDeadline(connection.probe());
      if (this.#connection === connection) this.#armProbe();
    } catch (error) {
      if (this.#connection === connection) this.#lose(error);
      connection.close().catch(() => {});
    }
  }

  #ready(connection: ListenConnection): void {
    this.#connection = connection;
    this.#failures = 0;
    write(this.#deps.log, 'debug', { event: 'listen.ready' });
    this.#armProbe();
    for (const channel of Object.values(wakeChannels)) this.#deps.onHeard(channel);
  }

  #lose(error: unknown): void {
    this.#connection = undefined;
    this.#cancel();
    if (this.#stopped) return;
    this.#failures++;
    write(this.#deps.log, this.#failures === 1 ? 'warn' : 'debug', {
      event: 'listen.lost',
      error: String(error),
    });
    const delayMs = backoffMs(this.#failures, this.#deps.random);
    this.#cancel = this.#deps.clock.after(delayMs, () => void this.connect());
  }

  /** Lost while it was being set up, or no longer wanted. */
  async #discard(connection: ListenConnection): Promise<void> {
    connection.close().catch(() => {});
    if (!this.#stopped) this.#lose(new Error('the connection ended while it was set up'));
  }

  #armProbe(): void {
    const delayMs = jittered(probeEveryMs, 0.25, this.#deps.random);
    this.#cancel = this.#deps.clock.after(delayMs, () => void this.probe());
  }

  #withDeadline(work: Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const cancel = this.#deps.clock.after(probeDeadlineMs, () =>
        reject(new Error('no answer to the probe')),
      );
      work.then(resolve, reject).finally(cancel);
    });
  }
}
