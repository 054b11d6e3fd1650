/** What clients and operators do. */
import { setTimeout as pause } from 'node:timers/promises';
import { runBeat } from '../../../supabase/client/beat.js';
import type { OpsPort } from '../../../supabase/client/port.js';
import { until } from '../../support/until.js';
import type { Arena } from '../arena.js';
import { callOnce, type Send } from '../calls.js';
import { answerBoundMs, databaseBoundMs, type Fault } from '../fault.js';
import type { Kind } from '../ledger.js';
import { policies, setPolicies } from '../policies.js';
import type { Dice } from '../random.js';

let serial = 0;
const fresh = (what: string): string => `${what}-${++serial}-${process.pid}`;

const smallPool: Fault = {
  name: 'small-pool',
  what: '60 callers at once on a pool of one or two connections',
  boundMs: databaseBoundMs,
  strike: async ({ openClient, ledger }, dice) => {
    const { port, close } = openClient(dice.whole(1, 2));
    const call = () => {
      const key = fresh('crowd');
      const data = { n: -1 };
      return callOnce(ledger, 'event', key, port, (p) =>
        p.emitEvent({ type: 'drill:work', data, dedupeKey: key }),
      );
    };
    await Promise.all(Array.from({ length: 60 }, call));
    await close();
    return undefined;
  },
};

const beats: Fault = {
  name: 'beats',
  what: '20 beats at the same time, twice',
  boundMs: databaseBoundMs,
  strike: async ({ openClient }) => {
    const { port, close } = openClient(20);
    for (let round = 0; round < 2; round++)
      await Promise.all(Array.from({ length: 20 }, () => runBeat(port, { source: 'drill' })));
    await close();
    return undefined;
  },
};

const mebibyte = 2 ** 20;

const huge: Fault = {
  name: 'huge',
  what: 'payloads of 5 MB: events, proposals, with and without pattern',
  boundMs: databaseBoundMs,
  strike: async (arena, dice) => {
    const text = Array.from({ length: 5 * 16 }, () =>
      String(dice())
        .padEnd(20, '0')
        .repeat(mebibyte / 320),
    ).join('');
    await Promise.all([
      send(
        arena,
        'event',
        (key) => (port) => port.emitEvent({ type: 'drill:huge', data: { text }, dedupeKey: key }),
      ),
      send(
        arena,
        'event',
        (key) => (port) => port.emitEvent({ type: 'nobody:huge', data: { text }, dedupeKey: key }),
      ),
      send(
        arena,
        'proposal',
        propose({ title: 'Huge', steps: [{ key: 'only', kind: 'drill', params: { ballast: text } }] }),
      ),
    ]);
    return undefined;
  },
};

const nasty = [
  '\u0000',
  'a\u0000b',
  '\ud800',
  '\udfff\ud800',
  '\ufffe\uffff',
  '\u202e\u0007',
  "'; drop table ops_policy; --",
];

/** In a step's own params this would be a missing path, and rightly a failed step; in an event it is text. */
const placeholder = '{{event.data.x}}';

const unicode: Fault = {
  name: 'unicode',
  what: 'NUL, lone surrogates, control characters and placeholders in data',
  boundMs: databaseBoundMs,
  strike: async (arena) => {
    await Promise.all([
      ...[...nasty, placeholder].map((text) => {
        const data = { n: text, [text]: text };
        return send(
          arena,
          'event',
          (key) => (port) => port.emitEvent({ type: 'drill:work', data, dedupeKey: key }),
        );
      }),
      ...nasty.map((text) => {
        const steps = [{ key: 'only', kind: 'drill', params: { ballast: text } }];
        return send(arena, 'proposal', propose({ title: `Odd ${text}`, steps }));
      }),
    ]);
    return undefined;
  },
};

const send = ({ ledger, client }: Arena, kind: Kind, call: (key: string) => Send) => {
  const key = fresh('odd');
  return callOnce(ledger, kind, key, client.port, call(key));
};

const propose =
  (template: Parameters<OpsPort['createProposal']>[0]['template']) =>
  (key: string): Send =>
  (port) =>
    port.createProposal({ template, source: 'api', dedupeKey: key });

/** Each is undone by setting the policies right. A refusal is as good: the policy of before holds. */
const edits: ((arena: Arena, dice: Dice) => Promise<unknown>)[] = [
  ({ client }, dice) => {
    const executors = {
      drill: { max_running: dice.whole(1, 5) },
      drill_once: { rate: { count: 20, per_minutes: 0.05 } },
    };
    return client.port.setPolicy({ key: 'worker_policy', value: { ...policies.worker_policy, executors } });
  },
  ({ client }) =>
    client.port.setPolicy({ key: 'auto_approve', value: { ...policies.auto_approve, enabled: false } }),
  ({ client }) => client.port.setPolicy({ key: 'reaction_matrix', value: { patterns: 'none' } }),
  ({ client }, dice) =>
    client.port.pause({ scope: 'executor:drill', mode: dice.pick(['drain', 'halt']), reason: 'drill' }),
  ({ client }, dice) =>
    client.port.pause({
      scope: dice.pick(['reactions', 'heartbeat', 'dispatch', 'pattern:work']),
      mode: 'drain',
      reason: 'drill',
    }),
];

const policyEdits: Fault = {
  name: 'policy-edits',
  what: 'caps, approvals, patterns and switches edited under load, then set right',
  boundMs: databaseBoundMs,
  strike: async (arena, dice) => {
    for (const edit of dice.shuffle(edits).slice(0, 3)) {
      await edit(arena, dice).catch(() => {});
      await pause(dice.whole(200, 1_000));
    }
    await until(
      () =>
        setPolicies(arena.client.port, 'the edit ends').then(
          () => true,
          () => false,
        ),
      { what: 'policies are set right', deadlineMs: answerBoundMs },
    );
    return undefined;
  },
};

export const callerFaults = [smallPool, beats, huge, unicode, policyEdits];
