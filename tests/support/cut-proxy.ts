import { rmSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';

/** Stands before a server and breaks its connections when it is told to. */
export interface CutProxy {
  /** Path of its socket, or `host:port`. */
  readonly address: string;
  /** Breaks what is open, and refuses what comes until `mend`. */
  cut(): void;
  mend(): void;
  /** Bytes that came from the server so far. */
  receivedBytes(): number;
  /** Bytes that clients sent so far. */
  sentBytes(): number;
  close(): Promise<void>;
}

/** @param listen - path of a socket to make, or nothing for a port of its own on loopback. */
export async function createCutProxy(
  server: { readonly path: string } | { readonly host: string; readonly port: number },
  listen?: string,
): Promise<CutProxy> {
  const open = new Set<Socket>();
  let broken = false;
  let received = 0;
  let sent = 0;
  const proxy = createServer((client) => {
    if (broken) {
      client.destroy();
      return;
    }
    const upstream = createConnection(server);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from);
      from.on('data', (chunk) => {
        if (from === upstream) received += chunk.length;
        else sent += chunk.length;
      });
      from.on('error', () => undefined);
      from.on('close', () => {
        open.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  await new Promise<void>((resolve) => {
    if (listen === undefined) proxy.listen(0, '127.0.0.1', resolve);
    else proxy.listen(listen, resolve);
  });
  const address = proxy.address();
  return {
    address: typeof address === 'object' && address !== null ? `127.0.0.1:${address.port}` : (listen ?? ''),
    cut() {
      broken = true;
      for (const socket of open) socket.destroy();
    },
    mend: () => void (broken = false),
    receivedBytes: () => received,
    sentBytes: () => sent,
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => proxy.close(resolve));
      if (listen !== undefined) rmSync(listen, { force: true });
    },
  };
}
