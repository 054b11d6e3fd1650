import { readdir, readFile } from 'node:fs/promises';

/** Command lines of living processes that name a path. Empty where there is no /proc. */
export async function processesNaming(path: string): Promise<string[]> {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return lines.filter((line) => line.includes(path));
}
