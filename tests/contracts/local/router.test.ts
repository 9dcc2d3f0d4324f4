import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { type Server, createServer, request } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { type DockerHandle, connectDocker } from '../../../src/local/docker.ts';
import { reasonOf } from '../../../src/local/reason.ts';
import { type RouterHandle, ensureRouter } from '../../../src/local/router.ts';
import { components } from '../../support/components.ts';
import { type ScratchInstallation, scratchInstallation } from '../../support/installation.ts';
import { until } from '../../support/until.ts';

const port = 35_900;

let installation: ScratchInstallation;
let docker: DockerHandle;
let router: RouterHandle;
const upstreams: Server[] = [];

beforeAll(async () => {
  docker = (await components('docker')).docker as DockerHandle;
  installation = scratchInstallation();
  router = await ensureRouter(installation.context, docker);
}, 120_000);

afterAll(async () => {
  await router.stop();
  for (const server of upstreams) server.close();
  await installation.remove();
}, 180_000);

async function upstream(answer: string): Promise<number> {
  const server = createServer((_request, response) => response.end(answer));
  upstreams.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function routeFile(): string {
  return join(router.configFolder, '50-one.cfg');
}

/** A file with a listener, loaded after the first one; renamed into place, as whoever renders it does. */
function route(to: number): void {
  const text = `listen front\n  bind 127.0.0.1:${String(port)}\n  server one 127.0.0.1:${String(to)}\n`;
  writeFileSync(`${routeFile()}.new`, text);
  renameSync(`${routeFile()}.new`, routeFile());
}

/** Tried again where it is refused: the master executes itself anew at each reload. */
async function reload(): Promise<void> {
  await until(() => sendReload().then(() => true), { what: 'the master socket' });
}

async function sendReload(): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    // Not closed by us: a command whose sender hangs up may be dropped.
    const socket = connect(router.masterSocket, () => socket.write('reload\n'));
    socket.resume();
    socket.once('close', () => resolve());
    socket.once('error', reject);
  });
}

/** One request on a connection of its own. */
async function ask(): Promise<string> {
  return await new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, agent: false, timeout: 2_000 }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.once('end', () => resolve(`${String(response.statusCode)} ${text}`));
      response.once('error', reject);
    });
    asked.once('timeout', () => asked.destroy(new Error('no answer in 2 s')));
    asked.once('error', reject);
    asked.end();
  });
}

async function processOfRouter(): Promise<number> {
  const { State } = await connectDocker(docker.address).getContainer(router.container).inspect();
  return State.Pid;
}

describe('the router', () => {
  test('starts with a file that serves nothing, and is found again', async () => {
    expect(router).toMatchObject({ how: 'started', version: expect.stringMatching(/^\d+\.\d+/) });
    await expect(ask()).rejects.toThrow('ECONNREFUSED');
    await expect(ensureRouter(installation.context, docker)).resolves.toMatchObject({
      how: 'found',
      container: router.container,
    });
  });

  test('takes a new file without losing a request', async () => {
    route(await upstream('old'));
    await reload();
    await until(ask, { what: 'the first route' });
    const next = await upstream('new');
    const answers: string[] = [];
    let loading = true;
    const clients = Array.from({ length: 8 }, async () => {
      while (loading) answers.push(await ask().catch(reasonOf));
    });
    await until(() => answers.length > 500);
    for (let round = 0; round < 3; round += 1) {
      route(next);
      await reload();
      const seen = answers.length;
      await until(() => answers.slice(seen).includes('200 new'), { what: 'the new route' });
    }
    loading = false;
    await Promise.all(clients);
    expect(answers.filter((answer) => answer !== '200 old' && answer !== '200 new')).toEqual([]);
    expect(answers.at(-1)).toBe('200 new');
  }, 180_000);

  test.each(['master', 'worker'])(
    'comes back by itself with the same file when its %s is killed',
    async (which) => {
      const before = await processOfRouter();
      const children = readFileSync(`/proc/${String(before)}/task/${String(before)}/children`, 'utf8')
        .trim()
        .split(' ');
      process.kill(which === 'master' ? before : Number(children.at(-1)), 'SIGKILL');
      await until(async () => (await processOfRouter()) !== before, { timeoutMs: 30_000, what: 'a new router' });
      await until(async () => (await ask()) === '200 new', { timeoutMs: 30_000, what: 'the same route' });
    },
    90_000,
  );

  test('is started again where somebody stopped it by hand', async () => {
    await connectDocker(docker.address).getContainer(router.container).kill({ signal: 'SIGKILL' });
    const again = await ensureRouter(installation.context, docker);
    expect(again.how).toBe('started');
    await until(async () => (await ask()) === '200 new', { what: 'the same route' });
  }, 180_000);

  test('gets its first file as this Slipway writes it, whatever an older one has left, and goes on meanwhile', async () => {
    const written = readFileSync(router.configFile, 'utf8');
    writeFileSync(router.configFile, written.replace(',"by":"%[var(txn.by)]"', ''));
    expect(readFileSync(router.configFile, 'utf8')).not.toBe(written);
    expect((await ensureRouter(installation.context, docker)).how).toBe('found');
    expect(readFileSync(router.configFile, 'utf8')).toBe(written);
    await expect(ask()).resolves.toBe('200 new');
  }, 120_000);

  test('says what is wrong with a file it cannot start with', async () => {
    const good = readFileSync(routeFile(), 'utf8');
    writeFileSync(routeFile(), `${good}\n  no-such-word\n`);
    await connectDocker(docker.address).getContainer(router.container).kill({ signal: 'SIGKILL' });
    try {
      const starting = ensureRouter(installation.context, docker);
      await expect(starting).rejects.toMatchObject({ type: 'RouterUnavailable' });
      await expect(starting).rejects.toThrow("unknown keyword 'no-such-word'");
    } finally {
      writeFileSync(routeFile(), good);
    }
    await ensureRouter(installation.context, docker);
    await expect(ask()).resolves.toBe('200 new');
  }, 120_000);
});
