/** What the tests of the demand radar call all the time. */
import { type Engine, only } from './engine-kit.js';

export type Signal = Parameters<Engine['port']['radarAdd']>[0]['signals'][number];
type Filters = Parameters<Engine['port']['radarList']>[0];

export function radarOn(engine: Engine) {
  const add = async (signal: Signal) => only(await engine.port.radarAdd({ signals: [signal] }));
  const events = () =>
    engine.db.sql<{ type: string; data: Record<string, unknown> }>(
      "select type, data from ops_agent_events where type like 'radar:%' order by created_at, id",
    );
  return {
    /** One mention, by itself. */
    add,
    /** The id of a signal with this title. */
    named: (title: string) => add({ title }).then(({ id }) => id),
    move: (id: string, stage: string, reason?: string) => engine.port.radarMove({ id, stage, reason }),
    events,
    types: async () => (await events()).map(({ type }) => type),
    titles: async (filters: Filters = {}) => (await engine.port.radarList(filters)).map(({ title }) => title),
  };
}
