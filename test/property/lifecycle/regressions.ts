/**
 * Programs that once failed, in their smallest form, replayed before anything is drawn. They are kept as commands, not
 * as seed and path alone: those mean another program as soon as a command is added or drawn differently.
 */
import type { Command } from './program.js';
import type { Json } from './rows.js';

export const step = (more: { [key: string]: Json } = {}): Json => ({
  ...{ kind: 'noop', needs: null, continues: false, maxRetries: null, priority: 0 },
  ...{ when: null, echoes: false, timeout: null, crashes: false },
  ...more,
});
export const propose = (...steps: Json[]): Command => [
  'propose',
  [{ shape: { steps, risk: null }, source: 'api', key: null }],
];
export const claim: Command = [
  'claim',
  { worker: 'ada', executors: ['noop', 'agent'], limit: 3, leaseSeconds: 60 },
];
export const complete: Command = [
  'complete',
  { busy: 0, picks: [0], value: null, says: false, keeps: false },
];
export const fail = (outcome: string): Command => [
  'fail',
  { busy: 0, picks: [0], outcome, retryAfter: null, keeps: false },
];
const cancel: Command = ['cancelMission', { nth: 0, twice: false }];

export const regressions: { name: string; seed: number; path: string; program: Command[] }[] = [
  {
    name: 'a step retried behind a cancelled one was refused as skipped',
    seed: 1,
    path: '31:3:4:4:6:5:5:5:5:4:4:4:4:4:4:4:4:4:4:4:4:5:6:6',
    program: [propose(step(), step()), cancel, ['retryStep', { nth: 1, ended: false }]],
  },
  {
    name: 'a step whose params still lack a value, requeued by its dead letter',
    seed: 1,
    path: '8:2:1:11:10:10:12:11:11:12:13:13:13:14',
    program: [
      propose(
        step({ continues: true, maxRetries: 1 }),
        step({ when: 'result.v > 4' }),
        step({ echoes: true }),
      ),
      claim,
      fail('retryable'),
      ['requeueLetter', { nth: 0, twice: false }],
      ['requeueLetter', { nth: 1, twice: true }],
    ],
  },
  {
    name: 'a cancelled step whose condition is false by now, retried',
    seed: 77,
    path: '124:2:2:4:9:21:14:13:13:13:15:16:16:17',
    program: [
      propose(step(), step({ when: 'result.v > 4' }), step()),
      claim,
      ['cancelByHand', { nth: 1 }],
      complete,
      ['retryStep', { nth: 0, ended: true }],
    ],
  },
  {
    name: 'a mission cancelled twice was touched by the second call',
    seed: 1,
    path: '0:4:3:7:12:6:6:6:6:6:6:6:6:5:5:5:5:5:5:5:5:5:5:5',
    program: [propose(step()), claim, cancel, cancel],
  },
  {
    name: 'failures that an operator set back while the step waited for its next try',
    seed: 1,
    path: '0:3:3:4:9:14:14:19:20:2:5:5',
    program: [propose(step()), claim, fail('retryable'), ['reviveByHand', { nth: 0, ended: false }]],
  },
  {
    name: 'a step retried behind a running one that was asked to stop, and was given back',
    seed: 1534946635,
    path: '1:4:3:6:7:10:13:14:11:12:5:8:9:9:9:9:9:9:9:9:9:9:9:9:9:9:10:11:9:9:9:9:9:9:9',
    program: [
      propose(step(), step()),
      claim,
      cancel,
      ['retryStep', { nth: 0, ended: true }],
      ['release', { busy: 0, picks: [0] }],
    ],
  },
];
