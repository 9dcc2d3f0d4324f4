import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createLocalContext } from '../../../src/local/context.ts';
import { type ComponentState, listStates, readState, withLock, writeState } from '../../../src/local/state.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-state-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('withLock', () => {
  test('lets one in at a time and leaves nothing behind', async () => {
    const file = join(folder, 'a.lock');
    let inside = 0;
    let most = 0;
    const visit = async (): Promise<void> => {
      inside += 1;
      most = Math.max(most, inside);
      await new Promise((resolve) => setImmediate(resolve));
      inside -= 1;
    };
    await Promise.all(Array.from({ length: 5 }, () => withLock(file, visit)));
    expect(most).toBe(1);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('is freed by a failure', async () => {
    const file = join(folder, 'a.lock');
    await expect(withLock(file, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    await expect(withLock(file, () => Promise.resolve('yes'))).resolves.toBe('yes');
  });

  test('is taken over from a process that died with it', async () => {
    const file = join(folder, 'a.lock');
    const dead = spawn('true');
    await new Promise((resolve) => dead.once('close', resolve));
    writeFileSync(file, JSON.stringify({ pid: dead.pid, started: 'once' }));
    await expect(withLock(file, () => Promise.resolve('mine'))).resolves.toBe('mine');
    expect(existsSync(file)).toBe(false);
  });

  test('is taken over where the pid was given to somebody else since', async () => {
    const file = join(folder, 'a.lock');
    writeFileSync(file, JSON.stringify({ pid: process.pid, started: 'in another life' }));
    await expect(withLock(file, () => Promise.resolve('mine'))).resolves.toBe('mine');
  });
});

describe('the state of a component', () => {
  const state: ComponentState = {
    name: 'store',
    process: { pid: 1, started: 'x' },
    ports: { store: 5440 },
    version: '18.4',
    command: 'postgres',
    logFile: '/log',
    owner: 'slipway',
    stopSignal: 'SIGINT',
    stopGraceMs: 1,
    startedAt: '2026-01-01T00:00:00.000Z',
  };

  test('is read as it was written, and listed', () => {
    const context = createLocalContext({ stateFolder: folder });
    writeState(context, state);
    writeState(context, { ...state, name: 'registry' });
    expect(readState(context, 'store')).toEqual(state);
    expect(listStates(context).map(({ name }) => name)).toEqual(['registry', 'store']);
  });

  test.each(['', '{', '[]', '{"name":"other","ports":{}}'])('counts as unknown where the file says %j', (text) => {
    const context = createLocalContext({ stateFolder: folder });
    writeFileSync(join(folder, 'run', 'store.json'), text);
    expect(readState(context, 'store')).toBeUndefined();
    expect(listStates(context)).toEqual([]);
  });
});
