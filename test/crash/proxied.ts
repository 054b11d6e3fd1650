import { onTestFinished } from 'vitest';
import { startProxy, type TcpProxy } from '../drill/proxy.js';

/** A way to the same database that can fall silent or go away; closed at the end of the test. */
export async function databaseBehindProxy(direct: string): Promise<{ url: string; proxy: TcpProxy }> {
  const url = new URL(direct);
  const target = { host: url.hostname, port: Number(url.port) };
  const proxy = await startProxy({ host: target.host, port: () => target.port });
  // A test may have closed it already.
  onTestFinished(() => proxy.close().catch(() => {}));
  url.port = String(proxy.port);
  return { url: url.href, proxy };
}
