/** The pure parts of the openclaw executor: what is granted, what stands on its command line, which release it is. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { agentArguments, execArguments } from '../../local/executors/openclaw/command.js';
import { problemOf, runConfig } from '../../local/executors/openclaw/config.js';
import { grantedVariables, grantsOf, requireGrants } from '../../local/executors/openclaw/grants.js';
import { AgentParams, ExecParams, Params } from '../../local/executors/openclaw/params.js';
import { hasExec, mayFallBack, parseVersion } from '../../local/executors/openclaw/version.js';
import { seed } from '../support/seed.js';

const grants = (worker_policy: object) => grantsOf({ worker_policy: { ...worker_policy }, agent_roles: {} });
const policy = {
  allowed_openclaw_subcommands: ['agent exec', 'agent', 'agent --local', 'agent --deliver', 'gateway'],
  allowed_openclaw_agents: ['ops', 'default'],
  allowed_openclaw_models: ['standin/m1'],
  allowed_openclaw_recipients: ['#reports'],
  allowed_tools: ['read'],
};
const exec = { mode: 'exec', message: 'm' };
const agent = { mode: 'agent', message: 'm' };
const gateway = { mode: 'gateway', message: 'm' };
const refusal = (params: object, over: object = {}): unknown => {
  try {
    requireGrants(grants({ ...policy, ...over }), Params.parse(params));
    return undefined;
  } catch (error) {
    return error;
  }
};
const notAllowed = (what: string) =>
  expect.objectContaining({
    outcome: 'permanent',
    errorClass: 'NotAllowed',
    message: expect.stringContaining(what),
  });

describe('what the policy grants', () => {
  test.each([
    [exec],
    [{ ...exec, tools: ['read'], model: 'standin/m1', fallbacks: ['standin/m1'], thinking: 'ultra' }],
    [agent],
    [{ ...agent, agent: 'ops', session_key: 'agent:ops:incident-42', to: '#reports', deliver: true }],
    [{ ...agent, local: true, session_id: '1234' }],
    [gateway],
    [{ ...gateway, agent: 'ops', session_key: 'incident-42', model: 'standin/m1' }],
  ])('may be used: %j', (params) => {
    expect(refusal(params)).toBeUndefined();
  });

  test.each<[string, object, object]>([
    ['agent exec', exec, { allowed_openclaw_subcommands: ['agent'] }],
    ['agent exec', exec, { allowed_openclaw_subcommands: [] }],
    ['agent exec', exec, { allowed_openclaw_subcommands: undefined }],
    ['agent exec', exec, { allowed_openclaw_subcommands: 'agent exec' }],
    ['agent', agent, { allowed_openclaw_subcommands: ['agent exec'] }],
    ['agent --local', { ...agent, local: true }, { allowed_openclaw_subcommands: ['agent'] }],
    ['agent --deliver', { ...agent, deliver: true }, { allowed_openclaw_subcommands: ['agent'] }],
    ['gateway', gateway, { allowed_openclaw_subcommands: ['agent'] }],
    ['standin/m9', { ...exec, model: 'standin/m9' }, {}],
    ['standin/m9', { ...exec, model: 'standin/m1', fallbacks: ['standin/m9'] }, {}],
    ['standin/m9', { ...gateway, model: 'standin/m9' }, {}],
    ['exec', { ...exec, tools: ['read', 'exec'] }, {}],
    ['read', { ...exec, tools: ['read'] }, { allowed_tools: undefined }],
    ['read', { ...exec, tools: ['read'] }, { allowed_tools: [] }],
    ['read', { ...exec, tools: ['read'] }, { allowed_tools: ['read', 7] }],
    ['high', { ...exec, thinking: 'high' }, { allowed_openclaw_thinking: ['low'] }],
    ['high', { ...agent, thinking: 'high' }, { allowed_openclaw_thinking: [] }],
    ['default', agent, { allowed_openclaw_agents: ['ops'] }],
    ['default', gateway, { allowed_openclaw_agents: [] }],
    ['boss', { ...agent, agent: 'boss' }, {}],
    ['boss', { ...agent, session_key: 'agent:boss:main' }, {}],
    ['another agent than ops', { ...agent, agent: 'ops', session_key: 'agent:boss:main' }, {}],
    ['keeps for itself', { ...agent, session_key: 'subagent:x' }, {}],
    ['keeps for itself', { ...gateway, session_key: 'agent:ops:cron:x' }, {}],
    ['is not agent:<id>:<key>', { ...agent, session_key: 'agent:ops:' }, {}],
    ['+15550001', { ...agent, to: '+15550001' }, {}],
    ['#all', { ...agent, reply_to: '#all' }, {}],
  ])('else it is refused: %s', (what, params, over) => {
    expect(refusal(params, over)).toEqual(notAllowed(what));
  });

  test.each(['DATABASE_URL', 'PGPASSWORD', 'OPS_API_KEY', 'SUPABASE_SERVICE_ROLE_KEY', 'CRON_SECRET'])(
    'the variable %s is never handed over',
    (name) => {
      const hand = () => grantedVariables({ openclaw_environment: ['A', name] }, () => 'x');
      expect(hand).toThrow(notAllowed(name));
    },
  );

  test.each(['PATH', 'NODE_OPTIONS', 'LD_PRELOAD', 'OPENCLAW_CONFIG_PATH', 'OPENCLAW_INCLUDE_ROOTS'])(
    'nor %s, which decides what runs',
    (name) => {
      expect(() => grantedVariables({ openclaw_environment: [name] }, () => 'x')).toThrow(notAllowed(name));
    },
  );

  test('variables that are not set are left out', () => {
    const set: Record<string, string> = { A: '1' };
    expect(grantedVariables({ openclaw_environment: ['A', 'B'] }, (name) => set[name])).toEqual({ A: '1' });
  });
});

describe('the command line', () => {
  const nasty = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(
      '--help',
      '-rf',
      '$(id)',
      ';id',
      'a\nb',
      '\0',
      '--message=x',
      '=',
      '-1001234',
      '#reports',
      'openai/m',
    ),
  );
  const fields = [
    'agent',
    'session_key',
    'session_id',
    'to',
    'channel',
    'model',
    'reply_channel',
    'reply_to',
    'reply_account',
  ];

  test('no text of a step changes its length, or stands anywhere but behind its own option', () => {
    fc.assert(
      fc.property(fc.constantFrom(...fields), nasty, nasty, (field, value, message) => {
        const asked = AgentParams.safeParse({ mode: 'agent', message: message || 'm', [field]: value });
        if (!asked.success) return;
        const args = agentArguments(asked.data, '/room/message.txt');
        const option = `--${field.replace('_', '-')}=${value}`;
        expect(args.filter((word) => word !== option)).toEqual([
          ...['agent', '--json', '--message-file=/room/message.txt', '--timeout=0'],
        ]);
        expect(args).toHaveLength(5);
      }),
      { numRuns: 1_000, seed },
    );
  });

  test('of exec neither', () => {
    const place = { config: '/room/openclaw.json', directory: '/work' };
    fc.assert(
      fc.property(nasty, nasty, (model, message) => {
        const asked = ExecParams.safeParse({
          mode: 'exec',
          message: message || 'm',
          model,
          fallbacks: [model],
        });
        if (!asked.success) return;
        const args = execArguments(asked.data, place);
        expect(args).toHaveLength(10);
        expect(args.filter((word) => word.includes(model))).toEqual(
          expect.arrayContaining([`--model=${model}`, `--fallback=${model}`]),
        );
      }),
      { numRuns: 1_000, seed },
    );
  });
});

describe('the configuration of a run', () => {
  test.each([
    ['{}', undefined],
    ['{"agents":{},"tools":{"profile":"coding","deny":["exec"]}}', undefined],
    ['{"agents":{"$include":"./agents.json"}}', undefined],
    ['{ tools: {} }', 'is not plain JSON'],
    ['[]', 'is no JSON object'],
    ['{"$include":"./base.json"}', 'includes another file at its top'],
    ['{"tools":{"allow":[]}}', 'says itself which tools'],
    ['{"tools":{"alsoAllow":["exec"]}}', 'says itself which tools'],
    ['{"tools":{"$include":"./tools.json"}}', 'says itself which tools'],
  ])('%s', (text, problem) => {
    if (problem === undefined) expect(problemOf(text)).toBeUndefined();
    else expect(problemOf(text)).toContain(problem);
  });

  test('denies everything when no tool was granted', () => {
    const base = { file: '/etc/openclaw.json', roots: '/etc' };
    expect(JSON.parse(runConfig(base, []))).toEqual({
      $include: '/etc/openclaw.json',
      tools: { deny: ['*'] },
    });
    expect(JSON.parse(runConfig(undefined, ['read']))).toEqual({ tools: { allow: ['read'] } });
  });
});

test.each([
  ['OpenClaw 2026.9.6 (eb377ac)', '2026.9.6', true, false],
  ['2026.8.1\n', '2026.8.1', true, false],
  ['2026.10.12', '2026.10.12', true, false],
  ['2027.1.1', '2027.1.1', true, false],
  ['OpenClaw 2026.7.1-2 (0790d9f)', '2026.7.1-2', false, true],
  ['2026.7.35', '2026.7.35', false, true],
  ['2025.12.30', '2025.12.30', false, true],
  // Somebody's own build: taken for a late one, and watched like an early one.
  ['dev', undefined, true, true],
])('the release %s', (printed, text, exec, fallsBack) => {
  const version = parseVersion(printed);
  expect([version?.text, hasExec(version), mayFallBack(version)]).toEqual([text, exec, fallsBack]);
});
