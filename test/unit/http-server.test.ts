import { request } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { startLocalBeat } from '../../local/beat.js';
import { type RunningServer, signInUrl, startServer } from '../../local/server.js';
import type { OpsPort } from '../../supabase/client/port.js';
import { apiKey, bearer, bodyOf, json, testApp } from './http-app.js';

const running: RunningServer[] = [];
const serve = async (test = testApp(), port = 0) => {
  const server = await startServer({ app: test.app, host: '127.0.0.1', port, closeGraceMs: 200 });
  running.push(server);
  return server;
};
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.close()));
});

/** A promise with its handles outside. */
function gate<T = void>() {
  let open: (value: T) => void = () => {};
  const passed = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { passed, open };
}

describe('the local server', () => {
  it('answers what the app answers, and says where it is', async () => {
    const { url, port } = await serve();
    expect(url).toBe(`http://127.0.0.1:${port}`);
    const response = await fetch(`${url}/health`);
    expect(response.status).toBe(200);
    expect(await bodyOf(response)).toMatchObject({ status: 'ok' });
  });

  it('says which setting to change when the port is taken', async () => {
    const { port } = await serve();
    await expect(serve(testApp(), port)).rejects.toMatchObject({
      code: 'OPS_016',
      hint: expect.stringContaining('OPS_PORT'),
    });
  });

  it('refuses a body that is too large while it is still being sent', async () => {
    const { port } = await serve();
    const headers = { ...bearer(apiKey), 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' };
    const answered = gate<number | undefined>();
    const sending = request({ port, path: '/api/ops/events', method: 'POST', headers }, (r) =>
      answered.open(r.statusCode),
    );
    // The server may cut the connection once it has answered; what counts is the answer.
    sending.on('error', () => {});
    sending.write(Buffer.alloc(1_200_000, 32));
    expect(await answered.passed).toBe(413);
    sending.destroy();
  });

  it('prints a sign-in link whose token opens one session', async () => {
    const places = new Set<string>();
    const openSession = ({ signInHash }: { signInHash: string }) => {
      const opened = !places.has(signInHash);
      places.add(signInHash);
      return { opened, expires_at: opened ? new Date(Date.now() + 3_600_000).toISOString() : null };
    };
    const { url } = await serve(testApp({ openSession }, undefined, () => new Date()));
    const link = signInUrl(url, apiKey);
    const [page, token] = link.split('#key=');
    expect(page).toBe(`${url}/`);
    const post = () =>
      fetch(`${url}/api/ops/session`, json({ token }, { Origin: url, 'Sec-Fetch-Site': 'same-origin' }));
    expect((await post()).status).toBe(200);
    expect((await post()).status).toBe(401);
  });

  it('lets a running request finish when it closes, and takes no new one', async () => {
    const started = gate();
    const finish = gate();
    const status = async () => {
      started.open();
      await finish.passed;
      return { events: {} };
    };
    const server = await serve(testApp({ status }));
    const answer = fetch(`${server.url}/api/ops/status`, { headers: bearer(apiKey) });
    await started.passed;
    const closed = server.close();
    await expect(fetch(`${server.url}/health`)).rejects.toThrow();
    finish.open();
    expect((await answer).status).toBe(200);
    await closed;
  });

  it('does not wait for a stream, which would go on by itself', async () => {
    const test = testApp({ listChanges: () => [] });
    const server = await startServer({ app: test.app, host: '127.0.0.1', port: 0, closeGraceMs: 60_000 });
    const stream = await fetch(`${server.url}/api/ops/stream`, { headers: bearer(apiKey) });
    expect(stream.headers.get('content-type')).toContain('text/event-stream');
    const ended = stream.text().catch(() => 'cut');
    await server.close();
    await ended;
  });

  it('does not wait for ever for a request that hangs', async () => {
    const started = gate();
    const status = () => {
      started.open();
      return new Promise(() => {});
    };
    const server = await serve(testApp({ status }));
    const answer = fetch(`${server.url}/api/ops/status`, { headers: bearer(apiKey) }).catch(() => 'cut');
    await started.passed;
    await server.close();
    expect(await answer).toBe('cut');
  });
});

describe('the local heartbeat', () => {
  const round = {
    ok: true,
    more: false,
    beat_id: null,
    triggerResult: { events: 0, queued: 0 },
    reactionResult: { processed: 0, created: 0 },
    leaseResult: { requeued_steps: 0, failed_steps: 0 },
    staleResult: { recovered: 0 },
    gateResult: { gated: 0, approved: 0, rejected: 0, expired: 0 },
    scheduleResult: { fired: 0, missed: 0, unplanned: 0 },
    phases: 7,
    failures: [],
  };
  const silent = { info: () => {}, warn: () => {}, error: () => {} };
  const start = (heartbeat: () => Promise<unknown>, cron = '0 0 1 1 *') =>
    startLocalBeat({ port: { heartbeat } as unknown as OpsPort, log: silent, cron });

  it('runs one beat at a time, and gives a second caller the same answer', async () => {
    const finish = gate();
    let calls = 0;
    const local = start(async () => {
      calls++;
      await finish.passed;
      return round;
    });
    const both = [local.beat(), local.beat()];
    finish.open();
    const [first, second] = await Promise.all(both);
    expect([calls, first?.ok, first === second]).toEqual([1, true, true]);
    await local.beat();
    expect(calls).toBe(2);
    await local.stop();
  });

  it('waits for a beat that runs before it has stopped', async () => {
    const finish = gate();
    const order: string[] = [];
    const local = start(async () => {
      await finish.passed;
      order.push('beat');
      return round;
    });
    void local.beat();
    const stopped = local.stop().then(() => order.push('stopped'));
    finish.open();
    await stopped;
    expect(order).toEqual(['beat', 'stopped']);
  });

  it('refuses a schedule that is none', () => {
    expect(() => start(async () => round, 'now and then')).toThrow('OPS_HEARTBEAT_CRON');
  });
});
