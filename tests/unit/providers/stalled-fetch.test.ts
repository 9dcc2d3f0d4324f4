import { mkdtempSync, rmSync } from 'node:fs';
import { type Server, createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { connectEngine } from '../../../src/providers/builders/engine.ts';
import { ensureImage } from '../../../src/providers/executors/engine.ts';
import { openContainerSession, runContainerStep } from '../../support/container-steps.ts';
import { until } from '../../support/until.ts';

/** An engine whose registry says nothing more after its first word. */
let folder: string;
let address: string;
let engine: Server;
let fetches: { open: number; ended: number };
/** Whether the engine answers nothing at all. */
let hangs: boolean;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-stalled-'));
  const socket = join(folder, 'docker.sock');
  address = `unix://${socket}`;
  fetches = { open: 0, ended: 0 };
  hangs = false;
  engine = createServer((request, response) => {
    if (hangs) return;
    if (request.url?.includes('/images/create') === true) {
      fetches.open += 1;
      response.on('close', () => (fetches.ended += 1));
      response.writeHead(200, { 'content-type': 'application/json' });
      response.write('{"status":"Pulling from tools"}\n');
      return;
    }
    const [status, body] = request.url?.includes('/containers/json') === true ? [200, '[]'] : [404, '{"message":"no"}'];
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  });
  await new Promise<void>((resolve) => engine.listen(socket, resolve));
});
afterEach(async () => {
  engine.closeAllConnections();
  await new Promise((resolve) => engine.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

describe('an image that does not come', () => {
  test('is given up once nothing of it has come for a while', async () => {
    const docker = await connectEngine(address);
    const said: string[] = [];
    const { signal } = new AbortController();
    const fetching = ensureImage(docker, {}, { image: 'tools:1', name: 'unit' }, (line) => said.push(line), signal, 50);
    await expect(fetching).rejects.toMatchObject({
      type: 'RegistryUnavailable',
      message: expect.stringMatching(/tools:1 of unit .*nothing came of it for/),
    });
    await until(() => fetches.ended === 1);
  });

  test('does not keep a step beside one that failed, nor the end of its stage', async () => {
    const session = await openContainerSession(folder, address, new AbortController().signal);
    const beside = new AbortController();
    const running = runContainerStep(session, { signal: beside.signal });
    await until(() => fetches.open === 1);
    beside.abort(new Error('lint failed'));
    await expect(running).rejects.toThrow('lint failed');
    await session.close();
    await until(() => fetches.ended === 1);
  });

  test('ends its step with the time of the stage, also where the engine does not answer at all', async () => {
    const session = await openContainerSession(folder, address, new AbortController().signal);
    hangs = true;
    const ended = await runContainerStep(session, { signal: new AbortController().signal, untilMs: Date.now() + 50 });
    expect(ended).toMatchObject({ timedOut: true, exitCode: 137 });
  });

  test('ends its step with the time of the stage', async () => {
    const session = await openContainerSession(folder, address, new AbortController().signal);
    const ended = await runContainerStep(session, { signal: new AbortController().signal, untilMs: Date.now() + 50 });
    expect(ended).toMatchObject({ timedOut: true, exitCode: 137, tail: '' });
    await session.close();
  });
});
