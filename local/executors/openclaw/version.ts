/** Which OpenClaw this is, and what follows from it. Pure. */

/** `text` as it calls itself; year, month and number of the release. */
export type Version = { text: string; parts: readonly [number, number, number] };

/**
 * The first release with `agent exec`, and the first whose `agent` never runs a turn a second time by itself when its
 * Gateway is slow or gone (openclaw/openclaw#112074). Both are missing from the documentation of 2026.7.35.
 */
const steady = [2026, 8, 1] as const;

/** Reads what `openclaw --version` prints, such as `OpenClaw 2026.9.6 (eb377ac)`; undefined for anything else. */
export function parseVersion(printed: string): Version | undefined {
  const [text, year, month, number] = /\b(\d{4})\.(\d{1,2})\.(\d{1,3})(?:-[\w.]+)?/.exec(printed) ?? [];
  if (text === undefined) return undefined;
  return { text, parts: [Number(year), Number(month), Number(number)] };
}

const isBefore = ({ parts }: Version, [year, month, number]: readonly [number, number, number]): boolean =>
  parts[0] - year !== 0 ? parts[0] < year : parts[1] - month !== 0 ? parts[1] < month : parts[2] < number;

/** A version that cannot be read is a build of somebody's own, and taken for a late one. */
export const hasExec = (version: Version | undefined): boolean =>
  version === undefined || !isBefore(version, steady);

/** May `agent` run a turn in its own process after it gave it to a Gateway? Where that cannot be told, it may. */
export const mayFallBack = (version: Version | undefined): boolean =>
  version === undefined || isBefore(version, steady);
