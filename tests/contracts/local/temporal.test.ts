import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { closeSync, openSync, readSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { endProcess, startDaemon } from '../../../src/effects/daemon.ts';
import { checkListens, choosePort } from '../../../src/local/ports.ts';
import { findProgram } from '../../../src/local/programs.ts';
import { ensureTemporal, searchAttributes } from '../../../src/local/temporal.ts';
import { timeSkippingEnvironment } from '../../support/components.ts';
import { type ScratchInstallation, scratchInstallation } from '../../support/installation.ts';
import { until } from '../../support/until.ts';

let installation: ScratchInstallation;

beforeAll(() => {
  installation = scratchInstallation();
});

afterAll(async () => {
  await installation.remove();
}, 180_000);

describe('Temporal', () => {
  test('has the namespace, the search attributes and the UI', async () => {
    const { address, namespace, uiUrl } = await ensureTemporal(installation.context);
    const connection = await Connection.connect({ address });
    try {
      const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
      expect(Object.keys(customAttributes)).toEqual(expect.arrayContaining([...searchAttributes]));
    } finally {
      await connection.close();
    }
    const page = await fetch(uiUrl!);
    expect(page.status).toBe(200);
  }, 180_000);

  test('is used as configured, and not ended', async () => {
    const { address, version } = await ensureTemporal(installation.context);
    const handle = await ensureTemporal(installation.context, { address });
    expect(handle).toMatchObject({ how: 'configured', version, address });
    await handle.stop();
    await expect(ensureTemporal(installation.context)).resolves.toMatchObject({ how: 'found' });
  }, 180_000);

  test('gets the search attributes that a configured one lacks', async () => {
    const program = findProgram(installation.context, 'temporal')!;
    const port = await choosePort(installation.context, 'bare', 'temporal', new Set([7233]));
    const bare = await startDaemon({
      command: program,
      args: ['server', 'start-dev', '--headless', '--ip', '127.0.0.1', '--port', String(port), '--log-level', 'error'],
      env: installation.context.env,
      logFile: join(installation.context.stateFolder, 'log', 'bare.log'),
    });
    try {
      await until(() => checkListens(port).then(() => true));
      const address = `127.0.0.1:${String(port)}`;
      await until(() => ensureTemporal(installation.context, { address }), { timeoutMs: 30_000 });
      const connection = await Connection.connect({ address });
      const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace: 'default' });
      await connection.close();
      // 2 is Keyword.
      expect(customAttributes).toMatchObject(Object.fromEntries(searchAttributes.map((name) => [name, 2])));
      await expect(ensureTemporal(installation.context, { address })).resolves.toMatchObject({ how: 'configured' });
    } finally {
      await endProcess(bare);
    }
  }, 180_000);

  test('says which address does not answer', async () => {
    const asking = ensureTemporal(installation.context, { address: '127.0.0.1:1' });
    await expect(asking).rejects.toMatchObject({ type: 'TemporalUnavailable' });
    await expect(asking).rejects.toThrow('Temporal at 127.0.0.1:1, namespace default');
  });

  test('refuses the state of another server version', async () => {
    const { stateFolder } = installation.context;
    const running = await ensureTemporal(installation.context);
    await running.stop();
    const file = readdirSync(stateFolder).find((name) => name.endsWith('.db'))!;
    const rename = (from: string, to: string): void => {
      for (const name of readdirSync(stateFolder).filter((each) => each.startsWith(from))) {
        renameSync(join(stateFolder, name), join(stateFolder, name.replace(from, to)));
      }
    };
    rename(file, 'temporal-1.2.3.db');
    try {
      const starting = ensureTemporal(installation.context);
      await expect(starting).rejects.toMatchObject({ type: 'ConfigurationInvalid' });
      await expect(starting).rejects.toThrow('temporal-1.2.3.db was written by another Temporal server than the');
    } finally {
      rename('temporal-1.2.3.db', file);
    }
    await expect(ensureTemporal(installation.context)).resolves.toMatchObject({ how: 'started' });
  }, 180_000);

  test('goes on with a state that was kept with a journal', async () => {
    const { stateFolder } = installation.context;
    const running = await ensureTemporal(installation.context);
    await running.stop();
    const state = readdirSync(stateFolder).find((name) => name.endsWith('.db'))!;
    for (const name of readdirSync(stateFolder).filter((each) => each.startsWith(state)))
      rmSync(join(stateFolder, name));
    const port = await choosePort(installation.context, 'before', 'temporal', new Set([7233]));
    const before = await startDaemon({
      command: findProgram(installation.context, 'temporal')!,
      args: [
        ...['server', 'start-dev', '--headless', '--ip', '127.0.0.1', '--port', String(port), '--log-level', 'error'],
        ...['--db-filename', join(stateFolder, state)],
      ],
      env: installation.context.env,
      logFile: join(stateFolder, 'log', 'before.log'),
    });
    const workflowId = 'begun-before';
    try {
      const connection = await until(() => Connection.connect({ address: `127.0.0.1:${String(port)}` }));
      const client = new Client({ connection });
      await until(() => client.workflow.start('nobody', { taskQueue: 'nobody', workflowId }));
      await connection.close();
    } finally {
      await endProcess(before);
    }
    expect(keptWithLog(join(stateFolder, state))).toBe(false);

    const { address } = await ensureTemporal(installation.context);

    const connection = await Connection.connect({ address });
    const { status } = await new Client({ connection }).workflow.getHandle(workflowId).describe();
    await connection.close();
    expect(status.name).toBe('RUNNING');
    expect(keptWithLog(join(stateFolder, state))).toBe(true);
  }, 180_000);

  test('a hung one is replaced', async () => {
    const hung = await ensureTemporal(installation.context);
    process.kill(hung.pid!, 'SIGSTOP');
    const fresh = await ensureTemporal(installation.context);
    expect(fresh).toMatchObject({ how: 'started', address: hung.address });
    expect(installation.said.join('\n')).toContain(`process ${String(hung.pid)} did not answer within 15 s`);
  }, 180_000);
});

/** SQLite's own word, in the two bytes of the file's head that say how it is written and read: 2 is a log. */
function keptWithLog(file: string): boolean {
  const versions = Buffer.alloc(2);
  const descriptor = openSync(file, 'r');
  try {
    readSync(descriptor, versions, 0, 2, 18);
  } finally {
    closeSync(descriptor);
  }
  return versions.equals(Buffer.from([2, 2]));
}

describe('the time-skipping test server', () => {
  test('lets half an hour pass in a moment', async () => {
    const environment = await timeSkippingEnvironment();
    try {
      const before = await environment.currentTimeMs();
      const began = performance.now();
      await environment.sleep('30 minutes');
      expect(performance.now() - began).toBeLessThan(10_000);
      expect((await environment.currentTimeMs()) - before).toBeGreaterThanOrEqual(30 * 60_000);
    } finally {
      await environment.teardown();
    }
  }, 120_000);
});
