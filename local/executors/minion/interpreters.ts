/**
 * Programs that run what they are given: an argument or an input of theirs is code, or a command. They are refused
 * unless the policy consents to that by name.
 */
import { realpath } from 'node:fs/promises';
import { basename } from 'node:path';
import { isInside } from '../../process/confine.js';
import { findProgram } from '../../process/program.js';
import { StepError } from '../contract.js';
import { type Grant, notAllowed } from './grants.js';

const shells = 'sh bash dash ash zsh ksh mksh csh tcsh fish rbash yash nu elvish xonsh pwsh powershell cmd';
const languages =
  'node nodejs deno bun tsx ts-node python pypy ipython ruby irb perl php lua luajit tclsh wish expect guile racket ' +
  'rscript julia groovy scala jshell java dotnet awk gawk mawk nawk sed ed ex vi vim nvim emacs gdb lldb m4 make gmake osascript';
const launchers =
  'env xargs parallel find nohup nice ionice chrt taskset timeout stdbuf setsid script time watch flock sudo doas su ' +
  'runuser pkexec chroot unshare nsenter systemd-run busybox toybox ssh npx pnpx bunx uvx pipx prlimit setpriv';
const names = new Set(`${shells} ${languages} ${launchers}`.split(' '));
/** Many programs in one file: which of them it is, is said by the name it is called by. */
const manyInOne = new Set(['busybox', 'toybox', 'coreutils']);

/** `python3.11` is python, `lua5.4` is lua. */
const plainName = (path: string): string =>
  basename(path)
    .toLowerCase()
    .replace(/[-.\d]+(\.exe)?$|\.exe$/, '');

/** `asked`: as the policy names it; `real`: the file, all links followed. */
export function isInterpreter(asked: string, real: string): boolean {
  const file = plainName(real);
  return names.has(plainName(asked)) || (names.has(file) && !manyInOne.has(file));
}

/**
 * The program's absolute path, so that what was looked at is what runs. `path`: as in PATH; `root`: the workspace's
 * real path. Throws a permanent `StepError` of class `NotFound`, or `NotAllowed` for one that needs consent.
 */
export async function allowedProgram(grant: Grant, path: string, root: string): Promise<string> {
  const found = await findProgram(grant.program, path);
  if (found === undefined) throw notFound(grant.program);
  const real = await realpath(found);
  if (grant.interpreter_consent === true) return found;
  if (isInterpreter(found, real)) throw needsConsent(grant, 'runs what it is given');
  if (isInside(root, real)) throw needsConsent(grant, 'lies in the workspace, where steps can write');
  return found;
}

const needsConsent = ({ name, program }: Grant, why: string): StepError =>
  notAllowed(
    `the command ${name} is refused: ${program} ${why}`,
    `If every step that may run it may run anything, set commands.${name}.interpreter_consent of worker_policy to true.`,
  );

const notFound = (program: string): StepError =>
  new StepError(`there is no program ${program} on this machine`, {
    outcome: 'permanent',
    errorClass: 'NotFound',
    hint: 'Install it where PATH of the worker leads to, or write its absolute path into worker_policy.',
  });
