import { agent } from './agent/agent.js';
import type { Executor } from './contract.js';
import { http } from './http/http.js';
import { minion } from './minion/minion.js';
import { noop } from './noop.js';
import { notify } from './notify/notify.js';
import { openclaw } from './openclaw/openclaw.js';
import { radar } from './radar.js';
import { vote } from './vote/vote.js';
import { wreckit } from './wreckit/wreckit.js';

/** What every worker can run without loading anything. */
export const builtins: readonly Executor[] = [
  noop,
  agent,
  http,
  notify,
  vote,
  radar,
  wreckit,
  minion,
  openclaw,
];
