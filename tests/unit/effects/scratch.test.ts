import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { expect, test } from '@jest/globals';
import { isAlive, ownIdentity } from '../../../src/effects/liveness.ts';

const module = join(import.meta.dirname, '../../../src/effects/scratch.ts');

function runIn(folder: string, then: string): string {
  const script = `import { scratchFolder } from ${JSON.stringify(module)}; console.log(scratchFolder()); ${then}`;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    env: { TMPDIR: folder },
    encoding: 'utf8',
  });
  return stdout.trim();
}

test('goes with its process; what a killed one left goes with the next, what is not ours stays', () => {
  const folder = mkdtempSync(join(tmpdir(), 'slipway-test-scratch-'));
  const left = runIn(folder, `process.kill(process.pid, 'SIGKILL')`);
  expect(existsSync(left)).toBe(true);
  const elsewhere = join(folder, basename(left).replace(/^slipway-[0-9a-f]{8}/, 'slipway-00000000'));
  mkdirSync(elsewhere);
  const own = runIn(folder, '');
  expect(own).not.toBe(left);
  expect([existsSync(left), existsSync(own), existsSync(elsewhere)]).toEqual([false, false, true]);
  rmSync(folder, { recursive: true });
});

test('a process is told from another with the same number, and from one elsewhere', () => {
  expect(isAlive(ownIdentity())).toBe(true);
  expect(isAlive({ ...ownIdentity(), startedAt: '1' })).toBe(false);
  expect(isAlive({ ...ownIdentity(), pid: 4_194_305 })).toBe(false);
  expect(isAlive({ ...ownIdentity(), host: 'elsewhere' })).toBeUndefined();
});
