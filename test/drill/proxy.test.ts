import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../support/until.js';
import { startProxy, type TcpProxy } from './proxy.js';

describe('the proxy', () => {
  let proxy: TcpProxy;
  let echo: ReturnType<typeof createServer>;
  let client: Socket;
  let heard = '';
  let serverSide: Socket | undefined;
  let seenByServer = '';

  beforeEach(async () => {
    heard = '';
    seenByServer = '';
    echo = createServer({ allowHalfOpen: true }, (socket) => {
      serverSide = socket;
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        seenByServer += String(chunk);
        socket.write(chunk);
      });
    });
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    proxy = await startProxy({ host: '127.0.0.1', port: () => (echo.address() as AddressInfo).port });
    client = connect({ host: '127.0.0.1', port: proxy.port, allowHalfOpen: true });
    client.on('data', (chunk) => {
      heard += String(chunk);
    });
    await once(client, 'connect');
    await say('hello ');
  });
  afterEach(async () => {
    client.destroy();
    serverSide?.destroy();
    await proxy.close();
    echo.close();
  });

  async function say(text: string): Promise<void> {
    const wanted = heard + text;
    client.write(text);
    await until(() => heard === wanted, { what: `the echo of ${text}` });
  }

  it('carries both ways, also in slices and with delay', async () => {
    proxy.setWeather({ kind: 'slice', bytes: 1 });
    await say('in slices ');
    proxy.setWeather({ kind: 'delay', ms: 20 });
    await say('late');
    expect(proxy.open()).toBe(1);
  });

  it('holds everything back in silence, and delivers it afterwards', async () => {
    proxy.setWeather({ kind: 'silence' });
    client.write('later');
    const other = connect({ host: '127.0.0.1', port: proxy.port });
    await once(other, 'connect');
    other.destroy();
    expect(seenByServer).toBe('hello ');
    proxy.setWeather({ kind: 'fair' });
    await until(() => heard === 'hello later', { what: 'what was held back' });
  });

  it('lets requests through and loses the answers when mute', async () => {
    proxy.setWeather({ kind: 'mute' });
    client.write('asked');
    await until(() => seenByServer === 'hello asked', { what: 'the request arrives' });
    const ended = once(client, 'error');
    proxy.cut('reset');
    await ended;
    expect(heard).toBe('hello ');
  });

  it('resets both sides', async () => {
    const ended = once(client, 'error');
    expect(proxy.cut('reset')).toBe(1);
    expect(await ended).toMatchObject([{ code: 'ECONNRESET' }]);
    await until(() => proxy.open() === 0, { what: 'the link is forgotten' });
  });

  it('closes one side only', async () => {
    const ended = once(client, 'end');
    proxy.cut('end-to-client');
    await ended;
    client.write('still going');
    await until(() => seenByServer === 'hello still going', { what: 'the other side is open' });
  });

  it('vanishes without a word to the client', async () => {
    if (serverSide === undefined) throw new Error('nobody connected');
    proxy.cut('vanish');
    await until(() => serverSide?.destroyed, { what: 'the server is told' });
    client.write('anybody there?');
    await until(() => client.bytesWritten > 'hello '.length && client.writableLength === 0, {
      what: 'it is sent',
    });
    expect({ heard, ended: client.readableEnded, destroyed: client.destroyed }).toEqual({
      heard: 'hello ',
      ended: false,
      destroyed: false,
    });
  });
});
