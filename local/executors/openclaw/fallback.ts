/** What releases before 2026.8.1 print when they are about to run a turn again (openclaw/openclaw#111407, #127956). */
const fallbackLine = /^(\[[^\]]*\] *)?(EMBEDDED FALLBACK:|Gateway agent failed; falling back to embedded)/;

/** Its signal is aborted as soon as openclaw says so: the second run may be stopped before it has done much. */
export function watchForFallback(): { signal: AbortSignal; onLine(line: string): void } {
  const stop = new AbortController();
  return {
    signal: stop.signal,
    onLine: (line) => {
      if (fallbackLine.test(line)) stop.abort();
    },
  };
}
