import type { Executor } from './contract.js';
import { noop } from './noop.js';
import { radar } from './radar.js';

/** What every worker can run without loading anything. */
export const builtins: readonly Executor[] = [noop, radar];
