/**
 * Crons on the clock of a place. croner reads them on a clock that never jumps; every time they name is then looked
 * up in the zone, so that what happens when clocks change is decided here, alike for every way to write a cron.
 */
import { Cron } from 'croner';
import { OpsError } from './errors.js';

const dayMs = 86_400_000;

/** Whether the zone data of this runtime has a zone of that name. */
export function isTimeZone(name: string): boolean {
  try {
    zoneOf(name);
    return true;
  } catch {
    return false;
  }
}

/** Whether croner reads it and finds a time: it looks 400 years ahead, after which calendars repeat. */
export function everComes(cron: string): boolean {
  try {
    return wallClock(cron).nextRun(new Date(0)) !== null;
  } catch {
    return false;
  }
}

/**
 * The slots after a moment, oldest first, without end unless the cron never comes. A listed time that clocks jump
 * over comes later by the jump; one that is shown twice comes the first time, or both times when the hour is `*`.
 * Slots at one moment are one. Throws `OPS_008` for a cron that croner refuses and a zone that the runtime lacks.
 */
export function slotsAfter(cron: string, timeZone: string, after: Date): Generator<Date> {
  try {
    return slots(wallClock(cron), zoneOf(timeZone), after.getTime(), cron.split(' ')[1] === '*');
  } catch (cause) {
    const what = isTimeZone(timeZone) ? `the cron "${cron}"` : `the time zone "${timeZone}"`;
    throw new OpsError('OPS_008', `${what} cannot be read here`, {
      hint: 'Write five fields such as "0 9 * * 1" and a zone such as "Europe/Berlin"; a zone younger than this Node needs a newer one.',
      cause,
    });
  }
}

const wallClock = (cron: string) => new Cron(cron, { utcOffset: 0, mode: '5-part', paused: true });

/** Around a change a later time on the wall may be an earlier moment: a slot is held until none can come before it. */
function* slots(walls: Cron, zone: Zone, after: number, bothTimes: boolean): Generator<Date> {
  const held = new Set<number>();
  const first = new Date(after + Math.min(...zone.around(after)));
  for (let next = walls.nextRun(first); next !== null; next = walls.nextRun(next)) {
    const wall = next.getTime();
    const settled = wall - Math.max(...zone.around(wall));
    for (const slot of [...held].sort((a, b) => a - b)) {
      if (slot >= settled) break;
      held.delete(slot);
      yield new Date(slot);
    }
    for (const slot of momentsOf(wall, zone, bothTimes)) if (slot > after) held.add(slot);
  }
}

/** When a clock of the zone shows this time, written as if it were UTC. */
function momentsOf(wall: number, { offsetAt, around }: Zone, bothTimes: boolean): number[] {
  const [before, after] = around(wall);
  if (before === after) return [wall - before];
  const shown = [wall - before, wall - after].filter((moment) => wall - moment === offsetAt(moment));
  if (shown.length === 0) return [wall - before];
  return bothTimes ? shown : shown.slice(0, 1);
}

type Zone = {
  /** What its clocks are ahead of UTC, in milliseconds. */
  offsetAt: (moment: number) => number;
  /** The same a day or more before and after: the two differ near a change. */
  around: (time: number) => [before: number, after: number];
};

function zoneOf(timeZone: string): Zone {
  const format = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' });
  const offsetAt = (moment: number) => offsetOf(format.formatToParts(moment));
  let known = { day: Number.NaN, offsets: [0, 0] as [number, number] };
  const around = (time: number) => {
    const day = Math.floor(time / dayMs);
    if (day !== known.day)
      known = { day, offsets: [offsetAt((day - 1) * dayMs), offsetAt((day + 2) * dayMs)] };
    return known.offsets;
  };
  return { offsetAt, around };
}

/** From "GMT+05:30"; UTC itself is "GMT". */
function offsetOf(parts: Intl.DateTimeFormatPart[]): number {
  const name = parts.find(({ type }) => type === 'timeZoneName')?.value ?? '';
  const [, sign, hours, minutes] = /([+-])(\d\d):(\d\d)/.exec(name) ?? [];
  return (sign === '-' ? -1 : 1) * (Number(hours ?? 0) * 60 + Number(minutes ?? 0)) * 60_000;
}
