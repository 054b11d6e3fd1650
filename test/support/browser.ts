/**
 * A real browser that reads the page: Chromium, spoken to in the DevTools protocol over two pipes
 * (chromedevtools.github.io/devtools-protocol; `--remote-debugging-pipe`: descriptors 3 and 4, messages end with NUL).
 * It is no dependency of ours: tests that need one are skipped, by name, where none is installed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { z } from 'zod';
import { until } from './until.js';

/** Where Debian, Fedora, Google and macOS put it; `OPS_TEST_BROWSER` names another one. */
const places = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];
export const browserPath = [process.env.OPS_TEST_BROWSER ?? '', ...places].find((path) => existsSync(path));

const Message = z.object({
  id: z.number().optional(),
  method: z.string().optional(),
  params: z.unknown().optional(),
  sessionId: z.string().optional(),
  result: z.unknown().optional(),
  error: z.object({ message: z.string() }).optional(),
});
type Waiting = { resolve(result: unknown): void; reject(error: Error): void };
type Send = (method: string, params?: object, sessionId?: string) => Promise<unknown>;

/** One tab with cookies of its own. */
export type Tab = {
  open(url: string): Promise<void>;
  /** The value of an expression in the page; a promise is waited for. */
  ask(expression: string): Promise<unknown>;
  /** The text that a person sees: nothing of what is hidden. */
  text(): Promise<string>;
  /** Waits until the expression is truthy. */
  wait(expression: string): Promise<void>;
  press(key: 'Enter' | 'Tab'): Promise<void>;
  /** How wide the screen is, in CSS pixels, and what its owner prefers. */
  shape(width: number, scheme: 'light' | 'dark'): Promise<void>;
  /** What is seen now, as a PNG in base64. */
  picture(): Promise<string>;
  scheme(name: 'light' | 'dark'): Promise<void>;
  /** Off: pages opened from then on run no script. */
  scripting(on: boolean): Promise<void>;
};
export type Browser = { tab(): Promise<Tab>; close(): Promise<void> };

export async function startBrowser(path: string): Promise<Browser> {
  const home = mkdtempSync(join(tmpdir(), 'ops-loop-browser-'));
  const child = spawn(path, argumentsIn(home), {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const send = speak(child);
  return {
    tab: () => openTab(send),
    async close() {
      const ended = once(child, 'exit');
      // Its helpers are in its process group.
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      await ended;
      rmSync(home, { recursive: true, force: true, maxRetries: 10 });
    },
  };
}

const argumentsIn = (home: string): string[] => [
  '--headless=new',
  '--remote-debugging-pipe',
  `--user-data-dir=${home}`,
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  // The sandbox of Chromium does not start for root, which containers run as.
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
  'about:blank',
];

function speak(child: ChildProcess): Send {
  const [, , , input, output] = child.stdio as unknown as Duplex[];
  if (input === undefined || output === undefined) throw new Error('the browser has no pipes');
  const waiting = new Map<number, Waiting>();
  let rest = '';
  output.on('data', (chunk) => {
    const parts = `${rest}${chunk}`.split('\0');
    rest = parts.pop() ?? '';
    for (const part of parts) answer(Message.parse(JSON.parse(part)), waiting);
  });
  input.on('error', () => {});
  let last = 0;
  return (method, params = {}, sessionId) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject });
      input.write(`${JSON.stringify({ id: last, method, params, sessionId })}\0`);
    });
}

function answer({ id, result, error }: z.infer<typeof Message>, waiting: Map<number, Waiting>): void {
  const asked = id === undefined ? undefined : waiting.get(id);
  if (asked === undefined || id === undefined) return;
  waiting.delete(id);
  if (error === undefined) asked.resolve(result);
  else asked.reject(new Error(error.message));
}

const Evaluated = z.object({
  result: z.object({ value: z.unknown().optional() }),
  exceptionDetails: z.object({ exception: z.object({ description: z.string() }) }).optional(),
});
const virtualKeys = { Enter: 13, Tab: 9 } as const;

async function openTab(send: Send): Promise<Tab> {
  const { browserContextId } = z
    .object({ browserContextId: z.string() })
    .parse(await send('Target.createBrowserContext'));
  const { targetId } = z
    .object({ targetId: z.string() })
    .parse(await send('Target.createTarget', { url: 'about:blank', browserContextId }));
  const { sessionId } = z
    .object({ sessionId: z.string() })
    .parse(await send('Target.attachToTarget', { targetId, flatten: true }));
  const tell = (method: string, params?: object) => send(method, params, sessionId);
  await tell('Page.enable');
  // A tab behind others counts as the one that is looked at.
  await tell('Emulation.setFocusEmulationEnabled', { enabled: true });
  const ask = async (expression: string): Promise<unknown> => {
    const options = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = Evaluated.parse(await tell('Runtime.evaluate', options));
    if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception.description);
    return result.value;
  };
  return {
    open: async (url) => void (await tell('Page.navigate', { url })),
    ask,
    text: async () => String(await ask("document.body?.innerText ?? ''")),
    wait: async (expression) => {
      await until(() => ask(expression).catch(() => false), {
        what: `in the page: ${expression}`,
        deadlineMs: 8_000,
      });
    },
    async press(key) {
      const described = { key, code: key, windowsVirtualKeyCode: virtualKeys[key] };
      await tell('Input.dispatchKeyEvent', {
        type: 'keyDown',
        ...described,
        ...(key === 'Enter' ? { text: '\r' } : {}),
      });
      await tell('Input.dispatchKeyEvent', { type: 'keyUp', ...described });
    },
    async shape(width, scheme) {
      const screen = { width, height: 800, deviceScaleFactor: 1, mobile: width < 600 };
      await tell('Emulation.setDeviceMetricsOverride', screen);
      const features = [{ name: 'prefers-color-scheme', value: scheme }];
      await tell('Emulation.setEmulatedMedia', { features });
    },
    picture: async () => z.object({ data: z.string() }).parse(await tell('Page.captureScreenshot')).data,
    scheme: async (value) => {
      await tell('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value }] });
    },
    scripting: async (on) => void (await tell('Emulation.setScriptExecutionDisabled', { value: !on })),
  };
}
