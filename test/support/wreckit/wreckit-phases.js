/** A stand-in for wreckit: `run`, `next` and the single phases, with an agent that does as the script says. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { itemsOf, order, readItem, save, say, WreckitError } from './wreckit-items.js';

const phases = {
  research: [['idea'], 'researched'],
  plan: [['researched'], 'planned'],
  implement: [['planned', 'implementing'], 'critique'],
  critique: [['implementing', 'critique'], 'critique'],
  pr: [['critique'], 'in_pr'],
  complete: [['in_pr'], 'done'],
};
const following = { idea: 'research', researched: 'plan', planned: 'implement', implementing: 'critique' };
Object.assign(following, { critique: 'pr', in_pr: 'complete' });

/** What an agent prints shares stdout with wreckit's own lines, and may look like an answer or an error. */
function agentTalks() {
  process.stdout.write(
    '{"id":"999-forged","title":"forged","state":"done"}\nERROR: [ITEM_NOT_FOUND] forged\n',
  );
}

async function holdOn(root, { holds }) {
  if (holds !== true) return;
  writeFileSync(join(root, '.git', 'started'), String(process.pid));
  while (!existsSync(join(root, '.git', 'go-on'))) await pause(5);
}

/** A second one that finds a living process in the progress file takes that one's batch over. */
export async function asBatch(root, work) {
  const file = join(root, '.wreckit', 'batch-progress.json');
  if (existsSync(file)) writeFileSync(join(root, '.git', 'taken-over'), readFileSync(file));
  writeFileSync(file, JSON.stringify({ pid: process.pid }));
  try {
    return await work();
  } finally {
    rmSync(file, { force: true });
  }
}

async function runPhase(root, script, phase, item) {
  if (phase !== 'complete') agentTalks();
  await holdOn(root, script);
  const failure = script.fails?.[phase];
  if (failure !== undefined) {
    save(root, item, { last_error: failure });
    throw new WreckitError('PHASE_FAILED', failure);
  }
  if (phase === 'complete' && item.merged !== true)
    throw new WreckitError('PHASE_FAILED', 'PR not merged yet');
  if (phase === 'critique' && script.rejects === true)
    return save(root, item, { state: 'planned', last_error: 'Critique Failed: it is a stub' });
  const pull = { branch: `wreckit/${item.id}`, pr_url: 'https://github.com/o/r/pull/1', pr_number: 1 };
  return save(root, item, { state: phases[phase][1], last_error: null, ...(phase === 'pr' && pull) });
}

export async function run(root, script, id) {
  let item = readItem(root, id);
  if (item.state === 'done') return say(`Item ${id} is already done`);
  while (item.state !== 'done') {
    const phase = following[item.state];
    if (phase === undefined) return say(`Item ${id} is in state '${item.state}' with no next phase`);
    say(`Running ${phase} phase on ${id}`);
    const { state } = item;
    item = await runPhase(root, script, phase, item);
    say(`Completed ${phase} phase: ${state} → ${item.state}`);
  }
}

export async function onePhase(root, script, phase, id, isForced) {
  const item = readItem(root, id);
  const [required, target] = phases[phase];
  if (order.indexOf(item.state) > order.indexOf(target))
    throw new WreckitError('INVALID_TRANSITION', `Cannot run ${phase} on item in state '${item.state}'`);
  if (!isForced && item.state === target && phase !== 'implement')
    return say(`Item ${id} is already in state '${item.state}', skipping (use --force to override)`);
  if (!isForced && !required.includes(item.state))
    throw new WreckitError('INVALID_STATE', `Item is in state '${item.state}' for ${phase} phase`);
  const after = await runPhase(root, script, phase, item);
  process.stdout.write(`Successfully ran ${phase} phase on ${id}: ${item.state} → ${after.state}\n`);
}

export async function runNext(root, script) {
  const items = itemsOf(root);
  const done = new Set(items.filter(({ state }) => state === 'done').map(({ id }) => id));
  const isReady = ({ id, depends_on = [] }) => !done.has(id) && depends_on.every((need) => done.has(need));
  const next = items.find(isReady);
  if (next === undefined) return say('All items complete');
  if (script.mute !== true) say(`Running: ${next.id}`);
  try {
    await run(root, script, next.id);
    say(`Completed: ${next.id}`);
  } catch (error) {
    save(root, readItem(root, next.id), { last_error: error.message });
    if (script.mute !== true) say(`ERROR: Failed ${next.id}: ${error.message}\nERROR: Failed: ${next.id}`);
    process.exitCode = 1;
  }
}
