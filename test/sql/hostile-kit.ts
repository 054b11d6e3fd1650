/**
 * Input that means harm: it is decided or refused once, with words, and within the patience of a beat. No statement
 * that decides or writes here may take the server five seconds of work. Where that cannot be seen, a statement timeout
 * says the same of the time on the wall, which a busy machine makes longer.
 */
import type { Client, QueryResult, QueryResultRow } from 'pg';
import { beforeAll, expect } from 'vitest';
import { backendCpu } from '../support/cpu.js';
import { type Json, noop, only, useEngine } from './engine-kit.js';

export const engine = useEngine();
const limitMs = 5_000;
let client: Client;
let worked: (() => number) | undefined;

beforeAll(async () => {
  client = await engine.db.connect();
  worked = await backendCpu(client);
  await client.query(`set statement_timeout = ${worked === undefined ? limitMs : 12 * limitMs}`);
});

/** A client that fails when a statement was too much work. */
export const impatient = {
  async query<Row extends QueryResultRow>(text: string, values?: unknown[]): Promise<QueryResult<Row>> {
    const before = worked?.() ?? 0;
    const answer = await client.query<Row>(text, values);
    const took = (worked?.() ?? 0) - before;
    if (took > limitMs) throw new Error(`${took} ms of work for: ${text.slice(0, 200)}`);
    return answer;
  },
};

export const row = async (text: string, values?: unknown[]) =>
  only((await impatient.query<Record<string, Json>>(text, values)).rows);
export const emit = (type: string, data: Json) =>
  impatient.query('insert into ops_agent_events (type, data) values ($1, $2)', [type, JSON.stringify(data)]);
export const template = (echo: Json): Json => ({
  title: 'look',
  steps: [noop('a', { params: { echo } }), noop('b', { params: { echo: '{{steps.a.result.echo}}' } })],
});
export const pattern = (more: { [name: string]: Json } = {}): Json => ({
  id: 'hostile',
  event_type: 'hostile:*',
  template: template('{{event.data}}'),
  ...more,
});
export const setPatterns = (...patterns: Json[]) =>
  impatient.query("select ops_set_policy('reaction_matrix', $1)", [JSON.stringify({ patterns })]);

/** Rounds under the timeout until nothing is left. */
export async function beat(): Promise<void> {
  for (let rounds = 0; rounds < 100; rounds += 1) {
    const { said } = await row("select ops_heartbeat(p_source => 'reactive') as said");
    const { more, failures } = said as { more: boolean; failures: Json[] };
    expect(failures).toEqual([]);
    if (!more) return;
  }
  throw new Error('a hundred rounds did not decide everything');
}

export const decisions = () =>
  engine.db.sql<{ type: string; outcome: string; clause: string | null; detail: { error?: string } | null }>(
    `select e.type, e.outcome, d.clause, d.detail from ops_agent_events e left join ops_event_decisions d on d.event_id = e.id
     where e.type like 'hostile:%' or e.type like 'plain:%' order by e.type`,
  );
