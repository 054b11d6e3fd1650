/** When this process ends while programs run, they are killed with it. */
import type { Tree } from './tree.js';

const running = new Set<Tree>();

function killAll(): void {
  for (const tree of running)
    try {
      tree.kill();
    } catch {
      // One that cannot be looked at does not save the others.
    }
}

/** The answer forgets it again. SIGKILL leaves no time for this; `sweepStrays` at the next start makes up for it. */
export function killAtExit(tree: Tree): () => void {
  if (running.size === 0) process.on('exit', killAll);
  running.add(tree);
  return () => {
    running.delete(tree);
    if (running.size === 0) process.off('exit', killAll);
  };
}
