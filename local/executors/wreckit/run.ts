import { openWreckit, type Wreckit, type WreckitContext } from './call.js';
import { diagnose } from './diagnose.js';
import { grantedVariables, grantsOf, requireGrant } from './grants.js';
import { takeIdeas } from './ideas.js';
import { listItems, moveItem, runNext, showItem } from './items.js';
import { startsAgent, type WreckitParams, writes } from './params.js';
import { openRepository, type Repository, requireGuardedAgent } from './repository.js';
import { withRepository } from './repository-lock.js';
import type { WreckitResult } from './result.js';

/**
 * One wreckit command in one repository, by what the policy grants, alone there if it writes. Success is decided by
 * the state that wreckit shows afterwards. Throws a `StepError`; when the step's signal ended it, the signal's reason.
 */
export async function runWreckit(ctx: WreckitContext, params: WreckitParams): Promise<WreckitResult> {
  const grants = grantsOf(ctx.config);
  requireGrant(grants, params);
  const variables = grantedVariables(grants, (name) => ctx.secret(name));
  const repository = await openRepository(ctx.workspace, grants, params.repository);
  if (startsAgent(params)) await requireGuardedAgent(repository, grants);
  const wreckit = openWreckit(ctx, repository, variables);
  const work = () => command(wreckit, params, ctx, repository);
  const answer = writes(params) ? await withRepository(repository, work) : await work();
  return { command: params.command, ...answer };
}

function command(wreckit: Wreckit, params: WreckitParams, ctx: WreckitContext, repository: Repository) {
  switch (params.command) {
    case 'status':
    case 'list':
      return listItems(wreckit, params);
    case 'show':
      return showItem(wreckit, params);
    case 'ideas':
      return takeIdeas(wreckit, params, repository);
    case 'next':
      return runNext(wreckit, params, ctx);
    case 'doctor':
      return diagnose(wreckit, params);
    default:
      return moveItem(wreckit, params, ctx);
  }
}
