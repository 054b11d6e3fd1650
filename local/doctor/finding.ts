/** What one look of the doctor says. */
export type Level = 'ok' | 'warn' | 'bad';
export type Check = {
  check: string;
  level: Level;
  /** What was found; when it is not ok, each with the way out. */
  findings: string[];
};

const order: Level[] = ['ok', 'warn', 'bad'];
export const worst = (levels: Level[]): Level =>
  levels.reduce((a, b) => (order.indexOf(a) > order.indexOf(b) ? a : b), 'ok');

/** Above `bad` it is bad, above `warn` a warning. */
export const grade = (value: number, { warn, bad }: { warn: number; bad: number }): Level =>
  value > bad ? 'bad' : value > warn ? 'warn' : 'ok';

/** The way out follows only where there is something to get out of. */
export const say = (check: string, level: Level, found: string, wayOut: string): Check => ({
  ...{ check, level },
  findings: [level === 'ok' ? found : `${found}; ${wayOut}`],
});
