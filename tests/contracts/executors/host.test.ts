import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { HostStep } from '../../../src/definition/specs/stage.ts';
import { createRedactor } from '../../../src/effects/redact.ts';
import { type HostExecutor, createHostExecutor } from '../../../src/providers/executors/host.ts';
import { plainStep } from '../../support/plain-step.ts';
import { until } from '../../support/until.ts';
import { type ExecutorLab, describeExecutor, shell } from './suite.ts';

const step: ExecutorLab['step'] = (command, more) => ({ ...plainStep, executor: 'host', command, ...more }) as HostStep;

describeExecutor('host', () => Promise.resolve({ executor: createHostExecutor(), step }));

describeExecutor('host with a spare runner', () => {
  const executor = createHostExecutor({ spare: true });
  return Promise.resolve({ executor, step, close: () => executor.close() });
});

describe('a spare runner', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'slipway-spare-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  /** Runs a stage of one step, and gives what it printed. */
  async function stage(executor: HostExecutor, name: string, script: string): Promise<string> {
    const scope = {
      ...{ project: 'hello', run: 'test', number: 1, stage: name, attempt: 1, objects: folder },
      ...{ source: join(folder, name, 'source'), home: join(folder, name, 'home') },
    };
    for (const path of [scope.source, scope.home]) mkdirSync(path, { recursive: true });
    const { signal } = new AbortController();
    const session = await executor.open(scope, signal);
    let output = '';
    try {
      await session.run({
        step: step(shell(script)) as HostStep,
        env: {},
        timeoutMs: 30_000,
        redactor: createRedactor([]),
        sink: (chunk) => void (output += chunk.toString()),
        say: () => undefined,
        signal,
      });
    } finally {
      await session.close();
    }
    return output;
  }

  const spares = (): readonly string[] =>
    childrenOf(process.pid).filter((pid) => commandOf(pid).includes('IFS= read -r mark'));

  test('is there after the first stage, serves one stage, and is another one then', async () => {
    const executor = createHostExecutor({ spare: true });
    try {
      expect(await stage(executor, 'one', 'pwd; echo "$HOME"')).toBe(`${folder}/one/source\n${folder}/one/home\n`);
      const [first] = await until(() => (spares().length === 1 ? spares() : undefined), { what: 'a spare runner' });
      // It was started before there was this stage, and knows its place all the same.
      expect(await stage(executor, 'two', 'pwd; echo "$HOME"')).toBe(`${folder}/two/source\n${folder}/two/home\n`);
      expect(spares()).not.toContain(first);
      const [second] = await until(() => (spares().length === 1 ? spares() : undefined), { what: 'the next one' });
      expect(second).not.toBe(first);
    } finally {
      await executor.close();
    }
    expect(spares()).toEqual([]);
  });

  test('that was killed is not used again', async () => {
    const executor = createHostExecutor({ spare: true });
    try {
      await stage(executor, 'one', 'true');
      const [spare] = await until(() => (spares().length === 1 ? spares() : undefined), { what: 'a spare runner' });
      process.kill(Number(spare), 'SIGKILL');
      await until(() => spares().length === 0, { what: 'its end' });
      // The executor hears of it a moment after the system knows it.
      await until(async () => (await stage(executor, 'two', 'echo here')) === 'here\n', { what: 'a step that runs' });
    } finally {
      await executor.close();
    }
  });

  test('is none where nobody asked for one', async () => {
    const executor = createHostExecutor();
    await stage(executor, 'one', 'true');
    await executor.close();
    expect(spares()).toEqual([]);
  });
});

/** Processes that this one has started. */
function childrenOf(pid: number): readonly string[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
