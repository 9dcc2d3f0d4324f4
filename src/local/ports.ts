import { connect, createServer } from 'node:net';
import type { LocalContext } from './context.ts';
import { readState } from './state.ts';

/**
 * Where each component listens by preference. Fifty apart at least, since a taken one is replaced by the next free one
 * and two components that start at the same time must not meet.
 */
export const preferredPorts = {
  api: 8420,
  temporal: 7233,
  'temporal-ui': 8233,
  registry: 5050,
  store: 5440,
  'application-postgres': 5540,
} as const satisfies Record<string, number>;

const attempts = 40;

/** Whether a program could listen there now. */
export async function isFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(false);
    });
    server.listen({ port, host, exclusive: true }, () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}

/**
 * Resolves once something accepts a connection there: cheaper to ask again and again than a whole protocol.
 *
 * @throws Error - nothing listens there now, or it did not accept within 2 s.
 */
export async function checkListens(port: number, host = '127.0.0.1'): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ port, host, timeout: 2_000 });
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
    socket.once('timeout', () => socket.destroy(new Error(`no answer from ${host}:${String(port)}`)));
    socket.once('error', reject);
  });
}

/**
 * Chooses a port: the one the component had before, else the preferred one, else the next free one above it.
 *
 * @param purpose - a key of {@link preferredPorts} or of the context's own table.
 * @param avoid - ports that were tried in vain just now.
 * @throws Error - forty ports in a row are taken.
 */
export async function choosePort(
  context: LocalContext,
  component: string,
  purpose: string,
  avoid: ReadonlySet<number> = new Set(),
): Promise<number> {
  const remembered = readState(context, component)?.ports[purpose];
  const first = context.preferredPorts[purpose] ?? (preferredPorts as Record<string, number>)[purpose] ?? 20_000;
  const candidates = [remembered, ...Array.from({ length: attempts }, (_, offset) => first + offset)];
  for (const port of candidates) {
    if (port !== undefined && !avoid.has(port) && (await isFree(port))) return port;
  }
  throw new Error(
    `no free port for ${purpose} between ${String(first)} and ${String(first + attempts - 1)}; end what listens there`,
  );
}
