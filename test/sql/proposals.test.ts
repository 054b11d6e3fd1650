/** Proposals: how they come in, who decides them, and that they are decided once. */
import { describe, expect, test } from 'vitest';
import { type Json, noop, useEngine } from './engine-kit.js';

const engine = useEngine();
const { db } = engine;

const template = (title = 'work', more: { [key: string]: Json } = {}) => ({
  title,
  steps: [noop('one')],
  ...more,
});
const insert = (document: Json, columns = '', values = '') =>
  db.one<{ id: string }>(
    `insert into ops_mission_proposals (template ${columns}) values ($1 ${values}) returning id`,
    [JSON.stringify(document)],
  );
const row = (id: string) => db.one('select * from ops_mission_proposals where id = $1', [id]);
const missions = () => db.sql('select * from ops_missions');
const manual = () => engine.setPolicy('auto_approve', { enabled: false });
const propose = (title?: string) => engine.port.createProposal({ template: template(title) });

describe('creating', () => {
  test('gates at once and answers what came of it', async () => {
    const receipt = await propose();
    expect(receipt).toMatchObject({ status: 'auto_approved', created: true, reason: 'approved by policy' });
    expect(await row(receipt.id)).toMatchObject({
      title: 'work',
      source: 'api',
      risk: 'low',
      decided_by: 'ops-loop',
      policy_snapshot: {
        auto_approve: expect.any(Number),
        proposal_caps: expect.any(Number),
        reaction_matrix: expect.any(Number),
      },
    });
    expect(await missions()).toMatchObject([
      { id: receipt.mission_id, proposal_id: receipt.id, status: 'approved' },
    ]);
  });

  test('a hundred times at once with one dedupe key makes one', async () => {
    const receipts = await Promise.all(
      Array.from({ length: 100 }, () =>
        engine.port.createProposal({ template: template(), dedupeKey: 'release 7' }),
      ),
    );
    expect(new Set(receipts.map(({ id }) => id)).size).toBe(1);
    expect(receipts.filter(({ created }) => created)).toHaveLength(1);
    expect(await missions()).toHaveLength(1);
  });

  test('many answers a row each, in their order, and knows duplicates within the list', async () => {
    const proposals = ['a', 'b', 'a', 'c'].map((key) => ({ template: template(key), dedupe_key: key }));
    const rows = await engine.port.createProposals({ proposals });
    expect(rows.map(({ position, created }) => [position, created])).toEqual([
      [0, true],
      [1, true],
      [2, false],
      [3, true],
    ]);
    expect(rows[2]?.id).toBe(rows[0]?.id);
  });

  test('many stores nothing when one of them is wrong', async () => {
    const proposals = [{ template: template() }, { template: { title: 'x', steps: [] } }];
    await expect(engine.port.createProposals({ proposals })).rejects.toMatchObject({ code: 'OPS_004' });
    expect(await db.sql('select from ops_mission_proposals')).toEqual([]);
  });

  test.each([
    ['no steps', { title: 'x', steps: [] }, 'OPS_004', '$.steps: is empty'],
    [
      'params of the wrong type',
      template('x', { steps: [noop('a', { params: { sleep_ms: 'long' } })] }),
      'OPS_004',
      '$.steps[0].params.sleep_ms',
    ],
    ['a key nobody knows', template('x', { color: 'red' }), 'OPS_004', '$.color'],
    [
      'a need that is not there',
      template('x', { steps: [noop('a', { depends_on: ['b'] })] }),
      'OPS_004',
      '$.steps[0].depends_on',
    ],
    [
      'a placeholder for a later step',
      template('x', { steps: [noop('a', { params: { echo: '{{steps.b.result}}' } }), noop('b')] }),
      'OPS_004',
      '$.steps[0].params.echo',
    ],
    [
      'an executor nobody brings',
      template('x', { steps: [noop('a'), { kind: 'teleport' }] }),
      'OPS_005',
      '$.steps[1].kind',
    ],
  ])(
    'refuses %s with code, place and remedy, by function and by insert',
    async (_what, document, code, place) => {
      await expect(engine.port.createProposal({ template: document })).rejects.toMatchObject({
        code,
        message: expect.stringContaining(place),
        hint: expect.stringMatching(/\S/),
        detail: [expect.objectContaining({ path: expect.stringContaining(place.split(':')[0] ?? '') })],
      });
      await expect(insert(document)).rejects.toMatchObject({
        code: code.replace('S_', ''),
        message: expect.stringContaining(place),
      });
      expect(await db.sql('select from ops_mission_proposals')).toEqual([]);
    },
  );

  test('from a source nobody knows is refused with a code', async () => {
    await expect(engine.port.createProposal({ template: template(), source: 'bogus' })).rejects.toMatchObject(
      { code: 'OPS_011' },
    );
  });

  test('takes 1.0 for the integer that it is', async () => {
    // JSON has one kind of number, and to_jsonb(2 * 0.5) is 1.0.
    const text = '{"title":"t","steps":[{"key":"a","kind":"noop","priority":1.0,"max_retries":2.0}]}';
    const { receipt } = await db.one('select ops_create_proposal($1) as receipt', [text]);
    expect(receipt).toMatchObject({ status: 'auto_approved' });
    expect(await db.one('select priority, max_retries from ops_mission_steps')).toEqual({
      priority: 1,
      max_retries: 2,
    });
  });
});

describe('inserted by hand', () => {
  test('a template is all it takes: completed at once, gated at the next beat', async () => {
    const { id } = await insert(template('by hand'));
    expect(await row(id)).toMatchObject({
      title: 'by hand',
      source: 'manual',
      status: 'pending',
      leaves: [],
      gated_at: null,
    });
    const [round] = await engine.beat();
    expect(round?.gateResult).toMatchObject({ gated: 1, approved: 1 });
    expect(await row(id)).toMatchObject({ status: 'auto_approved' });
    expect(await missions()).toHaveLength(1);
  });

  test('as approved it does not vanish: refused, or decided as an approval', async () => {
    const made = await insert(template(), ', status', ", 'approved'").then(
      ({ id }) => id,
      (error) => error.code,
    );
    await engine.beat();
    expect(made === 'OP015' || (await missions()).length === 1).toBe(true);
  });

  test('one that cannot be gated does not hold up the others', async () => {
    // A template in which the schema check sees nothing wrong and the mission maker does.
    await db
      .sql(
        'insert into ops_mission_proposals (template, leaves) values (\'{"title":"x","steps":[{"kind":"noop","priority":"high"}]}\', \'[]\')',
      )
      .catch(() => {});
    const { id } = await insert(template('good'));
    await engine.port.heartbeat({ source: 'reactive' });
    expect(await row(id)).toMatchObject({ status: 'auto_approved' });
  });
});

describe('ops_gate_proposal', () => {
  test('answers false and a reason for null and for an id that is not there', async () => {
    expect(await db.one('select * from ops_gate_proposal(null)')).toEqual({
      ok: false,
      reason: 'no proposal id was given',
    });
    expect(await db.one('select * from ops_gate_proposal()')).toMatchObject({ ok: false });
    const nobody = '00000000-0000-4000-8000-000000000000';
    expect(await engine.port.gateProposal({ id: nobody })).toEqual({
      ok: false,
      reason: `there is no proposal ${nobody}`,
    });
  });

  test('says what the gates would say now, and changes nothing', async () => {
    await manual();
    const { id } = await propose();
    const before = await row(id);
    expect(await engine.port.gateProposal({ id })).toEqual({ ok: false, reason: 'auto-approval is off' });
    await engine.setPolicy('auto_approve', { enabled: true, allowed_step_kinds: ['noop'] });
    expect(await engine.port.gateProposal({ id })).toEqual({ ok: true, reason: 'every gate is open' });
    expect(await row(id)).toEqual(before);
    await engine.port.approveProposal({ id });
    expect(await engine.port.gateProposal({ id })).toMatchObject({
      ok: true,
      reason: expect.stringContaining('already approved'),
    });
  });
});
