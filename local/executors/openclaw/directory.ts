/** Where the agent of one run works. */
import { mkdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { confine } from '../../process/confine.js';
import type { StepContext } from '../contract.js';
import type { ExecParams } from './params.js';
import type { Room } from './room.js';

/**
 * The one that the step names, inside of the workspace; else one that all runs of the mission share, so that a later
 * step finds what an earlier one made. Without tools nothing can be made: then it is a part of the run's own room.
 * Throws a permanent `StepError` of class `Confinement`.
 */
export async function directoryOf(
  { workspace, missionId }: Pick<StepContext, 'workspace' | 'missionId'>,
  { directory, tools = [] }: Pick<ExecParams, 'directory' | 'tools'>,
  room: Room,
): Promise<string> {
  if (directory === undefined && tools.length === 0) return made(join(room.directory, 'work'));
  await mkdir(workspace, { recursive: true });
  if (directory !== undefined) return confine(workspace, directory);
  return confine(workspace, await made(join(await realpath(workspace), 'missions', missionId)));
}

async function made(path: string): Promise<string> {
  await mkdir(path, { recursive: true });
  return path;
}
