/**
 * The heartbeat alone: what the function that the scheduler calls loads, so that it is small and starts fast. The
 * routes are those of app.ts; nothing else of the control plane is in its import graph.
 */
import { createDoor } from './auth.js';
import type { AppDeps } from './deps.js';
import { beat } from './heartbeat.js';
import { type App, mount } from './mount.js';

export function createHeartbeatApp(deps: AppDeps): App {
  const { scheduler, heartbeat } = createDoor(deps).gates;
  return mount(deps, [
    ['GET', '/api/ops/heartbeat', scheduler, beat(deps)],
    ['POST', '/api/ops/heartbeat', heartbeat, beat(deps)],
  ]);
}
