/** Why, trace, status and health: what they say is what the engine did or will do, and they never write. */
import { describe, expect, it } from 'vitest';
import { advanceClock } from '../support/clock.js';
import {
  beat,
  database,
  emit,
  everyClause,
  pattern,
  port,
  sayings,
  setMatrix,
  short,
  verdicts,
} from './insight-kit.js';

describe('an event', () => {
  it('is explained for every enabled pattern, and foretold as it is then decided', async () => {
    await setMatrix(...everyClause);
    await port.pause({ scope: 'pattern:paused' });
    await emit('a:b', { n: 7 });
    await beat();
    await advanceClock(database.sql, '3 minutes');
    const id = await emit('a:b', { n: 7, tags: ['y'] });
    const foretold = short(await verdicts(id));
    await beat();
    const decided = await verdicts(id);
    expect(short(decided)).toEqual(foretold);
    expect(short(decided)).toEqual([
      ['fires', 'fired', null],
      ['where', 'unmatched', 'where'],
      ['broken', 'unmatched', 'where'],
      ['source', 'unmatched', 'source'],
      ['tags', 'unmatched', 'tags'],
      ['dice', 'unmatched', 'probability'],
      ['cooling', 'suppressed', 'cooldown'],
      ['limited', 'suppressed', 'limit'],
      ['unrendered', 'failed', 'render'],
      ['paused', 'suppressed', 'switch'],
      ['elsewhere', 'unmatched', 'type'],
    ]);
  });

  it('gives the numbers of each clause, and what would change them', async () => {
    await setMatrix(...everyClause);
    await port.pause({ scope: 'pattern:paused' });
    await emit('a:b', { n: 7 });
    await beat();
    await advanceClock(database.sql, '3 minutes');
    const id = await emit('a:b', { n: 7, tags: ['y'] });
    await beat();
    const said = await sayings(id);
    expect(said).toMatch(
      /^Event a:b from manual was decided at 12:03:00 UTC under matrix revision \d+: fired \(1 of 11 patterns fired\)\.$/m,
    );
    expect(said).toMatch(/^Pattern fires fired: the proposal [0-9a-f-]{36} \(auto_approved\) came of it\.$/m);
    expect(said).toContain(
      'Pattern where did not fire: its condition `$.data.n > 50` was false (value false).',
    );
    expect(said).toContain(
      'Pattern broken did not fire: its condition `$.data.n.keyvalue()` could not be tested:',
    );
    expect(said).toContain('it takes source github, stripe, this event came from manual.');
    expect(said).toContain('it asks for the tags x, y, of which the event lacks x.');
    expect(said).toMatch(/Pattern dice did not fire: it rolled 0\.\d+, fires below 0\./);
    expect(said).toContain(
      'Pattern cooling did not fire: it is in cooldown until 12:10 UTC (7 minutes left);',
    );
    expect(said).toContain(
      'Pattern limited did not fire: its limit of 1 per 60 minutes is used up until 13:00 UTC (57 minutes left);',
    );
    expect(said).toContain(
      'Pattern unrendered failed: its template could not be rendered: $.title: event.data.nowhere is missing',
    );
    expect(said).toContain('its switch was at drain; `ops-loop resume pattern:paused` lifts it.');
    expect(said).toContain('1 pattern does not listen to a:b: elsewhere.');
    expect(said).toContain('Disabled, though listening to this type: off.');
  });

  it('is explained by the revision it was decided under, not by the one that followed', async () => {
    await setMatrix(pattern('old', { event_type: 'a:b', where: '$.data.n > 5' }));
    const id = await emit('a:b', { n: 1 });
    await beat();
    await setMatrix(pattern('new', { event_type: 'a:b' }));
    expect(short(await verdicts(id))).toEqual([['old', 'unmatched', 'where']]);
    expect(await sayings(id)).toContain('`$.data.n > 5` was false');
    await database.sql('update public.ops_agent_events set processed_at = null where id = $1', [id]);
    expect(short(await verdicts(id))).toEqual([['new', 'fired', null]]);
    await beat();
    expect(short(await verdicts(id))).toEqual([['new', 'fired', null]]);
  });

  it('keeps what fired before it was opened again', async () => {
    await setMatrix(pattern('old', { event_type: 'a:b' }));
    const id = await emit('a:b');
    await beat();
    await setMatrix(pattern('new', { event_type: 'a:b', where: '$.data.n > 5' }));
    await database.sql('update public.ops_agent_events set processed_at = null where id = $1', [id]);
    await beat();
    expect(short(await verdicts(id))).toEqual([
      ['new', 'unmatched', 'where'],
      ['old', 'fired', null],
    ]);
    expect(await sayings(id)).toMatch(/Pattern old fired under revision \d+: the proposal/);
  });

  it('says why it is still open: its turn, the last beat, the switch', async () => {
    await setMatrix(pattern('any', { event_type: 'a:b' }));
    await beat();
    await advanceClock(database.sql, '4 minutes');
    await emit('a:b');
    await advanceClock(database.sql, '1 second');
    const id = await emit('a:b');
    await advanceClock(database.sql, '119 seconds');
    expect(await sayings(id)).toContain(
      [
        'Event a:b from manual has been open for 2 minutes.',
        'It is decided at the next heartbeat; `ops-loop heartbeat` or `select ops_heartbeat()` runs one now.',
        'The last scheduled heartbeat ended 6 minutes ago.',
        'Open events ahead of it: 1.',
        'Pattern any will fire.',
      ].join('\n'),
    );
    await port.pause({ scope: 'heartbeat', reason: 'maintenance' });
    expect(await sayings(id)).toContain(
      'Deciding is paused by the switch heartbeat (drain); `ops-loop resume heartbeat` lifts it.',
    );
  });

  it('of the loop itself that nothing could match was closed as it arrived', async () => {
    await setMatrix(pattern('wild', { event_type: '*' }));
    await database.sql(`select public.ops_raise_event('step:noop:succeeded', '{}')`);
    const { id } = await database.one<{ id: string }>(
      `select id from public.ops_agent_events where type like 'step:%'`,
    );
    expect(await sayings(id)).toContain("it is the loop's own and no enabled pattern could match it.");
    const [wild] = await verdicts(id);
    expect(wild?.sentence).toBe(
      "Pattern wild did not fire: it listens to *, and a glob led by a wildcard hears the loop's own events only with allow_system.",
    );
  });

  it('that could not be decided says with which error', async () => {
    await setMatrix(pattern('any', { event_type: 'a:b' }));
    const id = await emit('a:b');
    await database.sql(
      `update public.ops_agent_events set outcome = 'failed', failure_count = 1, last_error = 'out of luck',
       decided_at = public.ops_clock(), processed_at = public.ops_clock() where id = $1`,
      [id],
    );
    expect(short(await verdicts(id))).toEqual([['any', 'failed', 'error']]);
    const said = await sayings(id);
    expect(said).toContain('deciding it failed: out of luck.');
    expect(said).toContain(`update ops_agent_events set processed_at = null where id = '${id}'`);
  });

  it('foretells loop limits without raising their event', async () => {
    await setMatrix(pattern('again', { event_type: 'deep:one' }));
    const { id } = await database.one<{ id: string }>(
      `insert into public.ops_agent_events (type, depth, root_id, chain) values ('deep:one', 8, gen_random_uuid(), '{again}') returning id`,
    );
    const foretold = await verdicts(id);
    expect(foretold[0]?.sentence).toBe(
      'Pattern again would not fire: its chain is 8 missions deep, loop_limits.max_depth is 8.',
    );
    expect(await database.sql(`select from public.ops_agent_events where type = 'loop:suppressed'`)).toEqual(
      [],
    );
    await beat();
    expect(short(await verdicts(id))).toEqual(short(foretold));
  });
});
