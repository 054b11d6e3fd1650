import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { renderReport } from '../../local/cli/demo-summary.js';
import { createOutput } from '../../local/cli/output.js';
import type { DemoReport } from '../../local/demo/demo.js';
import { projectRoot } from '../../local/env.js';
import { type CliResult, runCli } from '../support/cli.js';
import { processesNaming } from '../support/processes.js';

const home = mkdtempSync(join(tmpdir(), 'ops-loop-demo-'));
/** Without what differs from run to run: how long things took, and by which process. */
const steady = (text: string): string =>
  text
    .replaceAll(/[\d.]+ (ms|s)\b/g, '<span>')
    .replaceAll(/demo-\d+/g, 'demo')
    .replaceAll(/^ +/gm, '');
let result: CliResult;
let report: DemoReport;

beforeAll(async () => {
  await chmod(home, 0o711);
  result = await runCli(['demo', '--json'], { env: { OPS_DATA_DIR: home } });
  if (result.stdout.startsWith('{')) report = JSON.parse(result.stdout) as DemoReport;
}, 90_000);
afterAll(() => rmSync(home, { recursive: true, force: true }));

describe('the demo', () => {
  test('ends within a minute with every expectation met and exit code 0', () => {
    expect(
      report?.checks.filter(({ ok }) => !ok),
      result.stderr,
    ).toEqual([]);
    expect(result.code, result.stderr + result.stdout).toBe(0);
    expect(report.duration_ms).toBeLessThan(60_000);
  });

  test('stores each of the 329 payloads and two wishes once, and says why the rest were duplicates', () => {
    const { delivered } = report.facts;
    expect(delivered).toMatchObject({
      stored: 326,
      sameDelivery: 20,
      sameBody: 11,
      refused: 1,
      failures: [],
    });
  });

  test('leaves no event undecided, nothing running, and one step in the dead letters', () => {
    const { status, health, deadLetters } = report.facts;
    expect(health.open_events).toBe(0);
    expect([status.missions.running ?? 0, status.steps.running ?? 0, status.steps.queued ?? 0]).toEqual([
      0, 0, 0,
    ]);
    expect(deadLetters.map(({ cause }) => cause)).toEqual(['permanent']);
  });

  test('traces one event from its delivery to the last attempt', () => {
    const { trace, retried } = report.facts;
    expect(trace).toMatchObject({ kind: 'event' });
    expect(retried).toEqual(['failed', 'succeeded']);
  });

  test('ends as README shows it', () => {
    const out = createOutput({ json: false, variables: { NO_COLOR: '1' } });
    const told = steady(renderReport(report, out)).split('\n');
    const readme = readFileSync(join(projectRoot, 'README.md'), 'utf8');
    const [, shown = ''] = /^```text\n(\d+ signed webhooks.*?)^```$/ms.exec(readme) ?? [];
    const lines = shown.split('\n').filter((line) => line !== '' && line !== '…');
    expect(lines.length).toBeGreaterThan(8);
    for (const line of lines) expect(told).toContain(steady(line));
  });

  test('leaves neither a process nor its database behind', async () => {
    expect(readdirSync(join(home, 'demo'))).toEqual([]);
    expect(await processesNaming(home)).toEqual([]);
  });
});
