import { spawn, type ChildProcess } from 'node:child_process';
import { accessSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { until } from '../../support/until.ts';
import { markVariable } from './lonely-worker.ts';

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-orphans-'));
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** A PATH with these programs and no others, and with some that only fail. */
function pathOf(name: string, programs: readonly string[], broken: readonly string[]): string {
  const path = mkdtempSync(join(folder, name));
  for (const program of programs) symlinkSync(locate(program), join(path, program));
  for (const program of broken) writeFileSync(join(path, program), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
  return path;
}

function locate(program: string): string {
  for (const entry of (process.env['PATH'] ?? '').split(delimiter)) {
    try {
      accessSync(join(entry, program));
      return join(entry, program);
    } catch {
      // Not in this one.
    }
  }
  throw new Error(`${program} is not on this machine`);
}

function startWorker(mark: string, script: string, path: string): { child: ChildProcess; lines: readonly string[] } {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'lonely-worker.ts'), mark, script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: path },
  });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => void lines.push(line));
  return { child, lines };
}

function marked(mark: string): number {
  return readdirSync('/proc').filter((pid) => {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
      return /^\d+$/.test(pid) && environment.includes(`${markVariable}=${mark}`);
    } catch {
      return false;
    }
  }).length;
}

const programs = ['sh', 'bash', 'mkfifo', 'sleep', 'true'];
const everywhere = 'trap "" TERM; sleep 61 & (trap "" HUP; sleep 62 &); echo up; wait; wait';

describe('a worker that is killed leaves nothing behind', () => {
  test.each([
    ['namespace', 'setsid sleep 63 & ' + everywhere, [...programs, 'setpriv', 'unshare', 'setsid'], []],
    ['parent-death', everywhere, [...programs, 'setpriv'], ['unshare']],
    ['process-group', everywhere, programs, ['setpriv', 'unshare']],
  ] as const)('held by %s', async (kind, script, working, broken) => {
    const mark = `${process.pid}-${kind}`;
    const { child, lines } = startWorker(mark, script, pathOf(kind, working, broken));
    await until(() => lines.includes('up'), { timeoutMs: 60_000 });
    expect(lines[0]).toBe(kind);
    expect(marked(mark)).toBeGreaterThan(2);
    child.kill('SIGKILL');
    await until(() => marked(mark) === 0, { timeoutMs: 2_000, what: 'every process to be gone' });
  });

  test('also when it is killed while it starts one', async () => {
    const mark = `${process.pid}-starting`;
    for (let round = 0; round < 20; round += 1) {
      const { child, lines } = startWorker(mark, 'sleep 64', process.env['PATH'] ?? '');
      await until(() => lines.length > 0, { timeoutMs: 60_000, everyMs: 1 });
      await delay(Math.random() * 12);
      child.kill('SIGKILL');
    }
    await until(() => marked(mark) === 0, { timeoutMs: 2_000, what: 'every process to be gone' });
  }, 120_000);
});
