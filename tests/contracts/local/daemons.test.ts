import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { chmodSync } from 'node:fs';
import { createServer } from 'node:net';
import { identityOf } from '../../../src/effects/daemon.ts';
import { ensureApplicationPostgres } from '../../../src/local/application-postgres.ts';
import type { ComponentHandle } from '../../../src/local/daemons.ts';
import type { LocalContext } from '../../../src/local/context.ts';
import type { DockerHandle } from '../../../src/local/docker.ts';
import { withClient } from '../../../src/local/postgres-server.ts';
import { ensureRegistry } from '../../../src/local/registry.ts';
import { ensureStore } from '../../../src/local/store-postgres.ts';
import { ensureTemporal } from '../../../src/local/temporal.ts';
import { down, status } from '../../../src/local/up.ts';
import { components } from '../../support/components.ts';
import { type ScratchInstallation, scratchInstallation } from '../../support/installation.ts';
import { until } from '../../support/until.ts';

type Ensure = (context: LocalContext) => Promise<ComponentHandle>;

let docker: DockerHandle;

beforeAll(async () => {
  docker = (await components('docker')).docker as DockerHandle;
}, 120_000);

/** Every component that is a process of ours; one list of promises holds for all. */
const daemons: readonly (readonly [string, string, Ensure])[] = [
  ['temporal', 'temporal', (context) => ensureTemporal(context)],
  ['registry', 'registry', (context) => ensureRegistry(context)],
  ['store', 'store', (context) => ensureStore(context)],
  ['application-postgres', 'application-postgres', (context) => ensureApplicationPostgres(context, docker)],
];

describe.each(daemons)('%s', (name, port, ensure) => {
  let installation: ScratchInstallation;

  beforeAll(() => {
    installation = scratchInstallation();
    // The server runs as another user and must be able to pass; a folder in /tmp is otherwise its maker's alone.
    chmodSync(installation.context.stateFolder, 0o755);
  });

  afterAll(async () => {
    await installation.remove();
  }, 180_000);

  test('is started from nothing and says so', async () => {
    const handle = await ensure(installation.context);
    expect(handle.how).toBe('started');
    expect(handle.version).toMatch(/^\d/);
    expect(installation.said.some((line) => line.startsWith('starting'))).toBe(true);
    expect(identityOf(handle.pid!)).toBeDefined();
  }, 120_000);

  test('is found by a second start, also by several at once', async () => {
    const handles = await Promise.all([1, 2, 3].map(() => ensure(installation.context)));
    expect(handles.map(({ how }) => how)).toEqual(['found', 'found', 'found']);
    expect(new Set(handles.map(({ pid }) => pid)).size).toBe(1);
  });

  test('comes back on the same address after it was killed', async () => {
    const before = await ensure(installation.context);
    process.kill(before.pid!, 'SIGKILL');
    const after = await ensure(installation.context);
    expect(after).toMatchObject({ how: 'started', address: before.address });
    expect(after.pid).not.toBe(before.pid);
  }, 180_000);

  test('is ended by what is remembered of it, and keeps its address for the next start', async () => {
    const before = await ensure(installation.context);
    const { ended } = await down({ stateFolder: installation.context.stateFolder, target: 'end' });
    expect(ended).toEqual([name]);
    expect(identityOf(before.pid!)).toBeUndefined();
    await expect(status({ stateFolder: installation.context.stateFolder })).resolves.toMatchObject([
      { name, running: false },
    ]);
    const after = await ensure(installation.context);
    expect(after).toMatchObject({ how: 'started', address: before.address });
  }, 180_000);

  test('goes elsewhere where its port is taken', async () => {
    const before = await ensure(installation.context);
    await before.stop();
    const [remembered] = await status({ stateFolder: installation.context.stateFolder });
    const taken = remembered!.ports[port];
    const squatter = createServer().listen(taken, '127.0.0.1');
    try {
      await until(() => squatter.listening);
      const after = await ensure(installation.context);
      expect(after.how).toBe('started');
      expect(after.address).not.toBe(before.address);
    } finally {
      squatter.close();
    }
  }, 180_000);
});

describe('the databases', () => {
  let installation: ScratchInstallation;

  beforeAll(() => {
    installation = scratchInstallation();
    chmodSync(installation.context.stateFolder, 0o755);
  });

  afterAll(async () => {
    await installation.remove();
  }, 180_000);

  test('keep what was committed when they are killed', async () => {
    const { url, pid } = await ensureStore(installation.context);
    await withClient(url, (client) => client.query('create table kept (id int)'));
    await withClient(url, (client) => client.query('insert into kept select generate_series(1, 1000)'));
    process.kill(pid!, 'SIGKILL');
    const again = await ensureStore(installation.context);
    const { rows } = await withClient(again.url, (client) => client.query('select count(*)::int as count from kept'));
    expect(rows).toEqual([{ count: 1000 }]);
  }, 180_000);

  test('let nobody in without the password', async () => {
    const { url } = await ensureStore(installation.context);
    const wrong = new URL(url);
    wrong.password = 'guessed';
    await expect(withClient(wrong.href, (client) => client.query('select 1'))).rejects.toThrow(
      'password authentication failed',
    );
  }, 180_000);

  test('are named with the reason when a configured one cannot be used, without its password', async () => {
    const asking = ensureStore(installation.context, { url: 'postgres://me:secret-word@127.0.0.1:1/nothing' });
    await expect(asking).rejects.toMatchObject({ type: 'StoreUnavailable' });
    await expect(asking).rejects.toThrow('127.0.0.1:1/nothing');
    await expect(asking).rejects.not.toThrow('secret-word');
  });
});
