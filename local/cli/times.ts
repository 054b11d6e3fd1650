/** Times and spans as people say them. Documents (`--json`) keep ISO 8601 and milliseconds. */

const units = [
  { name: 'day', ms: 86_400_000 },
  { name: 'hour', ms: 3_600_000 },
  { name: 'minute', ms: 60_000 },
  { name: 'second', ms: 1_000 },
] as const;

const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;

/** `3 minutes ago`, `in 2 hours`, `just now`; a time that is missing is `never`. */
export function relativeTime(iso: string | null | undefined, now: Date): string {
  if (iso === null || iso === undefined) return 'never';
  const elapsedMs = now.getTime() - Date.parse(iso);
  const unit = units.find(({ ms }) => Math.abs(elapsedMs) >= ms);
  if (unit === undefined) return 'just now';
  const said = plural(Math.floor(Math.abs(elapsedMs) / unit.ms), unit.name);
  return elapsedMs > 0 ? `${said} ago` : `in ${said}`;
}

/** `0.4 ms`, `12 ms`, `1.4 s`, `2 min 3 s`, `1 h 5 min`; nothing measured is `-`. */
export function span(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '-';
  if (ms < 10) return `${trim(ms)} ms`;
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${trim(ms / 1_000)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1_000)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const trim = (value: number): string => value.toFixed(1).replace(/\.0$/, '');

/** From one ISO time to another, in milliseconds; undefined when either is missing. */
export function between(from: string | null | undefined, to: string | null | undefined): number | undefined {
  return from && to ? Date.parse(to) - Date.parse(from) : undefined;
}
