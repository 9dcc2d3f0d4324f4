import { mkdtempSync, rmSync } from 'node:fs';
import { type Server, createServer } from 'node:http';
import type { Duplex } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { StepEnd } from '../../../src/providers/executors/port.ts';
import { openContainerSession, runContainerStep } from '../../support/container-steps.ts';

/** An engine whose containers say nothing, and which cannot end the first of them for a while. */
let folder: string;
let address: string;
let engine: Server;
let made: number;
let removed: string[];
let refusals: number;
const sockets = new Set<Duplex>();

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-stuck-'));
  const path = join(folder, 'docker.sock');
  address = `unix://${path}`;
  [made, removed, refusals] = [0, [], 3];
  engine = createServer((request, response) => {
    const url = request.url ?? '';
    const answer = (status: number, body?: object): void => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(body === undefined ? undefined : JSON.stringify(body));
    };
    if (url.includes('/containers/json')) answer(200, []);
    else if (url.includes('/containers/create')) {
      made += 1;
      answer(201, { Id: `c${made}` });
    } else if (request.method === 'DELETE') {
      const id = /containers\/(c\d+)/.exec(url)?.[1] ?? '';
      if (id === 'c1' && refusals > 0) {
        refusals -= 1;
        answer(500, { message: 'tried to kill container, but did not receive an exit event' });
      } else {
        removed.push(id);
        for (const socket of sockets) socket.end();
        answer(204);
      }
    } else if (url.endsWith('/start')) answer(204);
    else answer(200, {});
  });
  engine.on('upgrade', (_, socket: Duplex) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.resume();
    socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n');
  });
  await new Promise<void>((resolve) => engine.listen(path, resolve));
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  engine.closeAllConnections();
  await new Promise((resolve) => engine.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

test('a container that cannot be ended is given to no other step, and is tried again when the stage is over', async () => {
  const { signal } = new AbortController();
  const session = await openContainerSession(folder, address, signal);
  const run = (): Promise<StepEnd> => runContainerStep(session, { timeoutMs: 20, signal });
  await expect(run()).rejects.toMatchObject({ type: 'EngineRefused' });
  expect({ made, removed }).toEqual({ made: 1, removed: [] });
  expect(await run()).toMatchObject({ timedOut: true });
  expect({ made, removed }).toEqual({ made: 2, removed: ['c2'] });
  await session.close();
  expect(removed).toEqual(['c2', 'c1']);
});
