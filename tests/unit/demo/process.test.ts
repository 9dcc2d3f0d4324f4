import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Script } from '../../support/demo-process.ts';
import { plainEnvironment } from '../../support/plain-environment.ts';
import { until } from '../../support/until.ts';

const root = resolve(import.meta.dirname, '../../..');
const timeoutMs = 60_000;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-demo-process-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

function start(program: string, args: readonly string[]) {
  const child = spawn(process.execPath, [join(root, program), ...args], {
    cwd: folder,
    // A CI says of itself that it is one, and picocolors takes that for a wish.
    env: { ...plainEnvironment(), CI: 'true' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (said.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (said.stderr += chunk.toString()));
  const ended = once(child, 'close').then(([code]) => code as number | null);
  return { child, said, ended };
}

async function begin(script: Script, ...args: readonly string[]) {
  const file = join(folder, 'script.json');
  await writeFile(file, JSON.stringify(script));
  const seen = (): string[] =>
    existsSync(`${file}.seen`) ? (JSON.parse(readFileSync(`${file}.seen`, 'utf8')) as string[]) : [];
  return { ...start('tests/support/demo-process.ts', [file, ...args]), seen };
}

async function play(script: Script, ...args: readonly string[]) {
  const { ended, said, seen } = await begin(script, ...args);
  return { code: await ended, ...said, seen: seen() };
}

describe('the process of the demo', () => {
  test(
    'ends with 0 where everything held, and leaves nothing behind',
    async () => {
      const { code, stdout, stderr, seen } = await play({ acts: ['holds', 'holds'] });
      expect({ code, stderr, seen }).toEqual({ code: 0, stderr: '', seen: ['holds', 'holds', 'struck'] });
      expect(stdout).toContain('all 2 checks held');
      expect(stdout).not.toMatch(/\u001b/);
    },
    timeoutMs,
  );

  test(
    'ends with 1 and what was wrong where one thing did not hold; the rest is played',
    async () => {
      const { code, stdout, seen } = await play({ acts: ['holds', 'does not hold', 'holds'] });
      expect(code).toBe(1);
      expect(stdout).toContain('NOT SO: the moon is made of cheese');
      expect(stdout).toMatch(/1 of 3 checks did not hold:\n.*the moon is made of cheese \(rock\)/);
      expect(seen).toEqual(['holds', 'does not hold', 'holds', 'struck']);
    },
    timeoutMs,
  );

  test(
    'ends with 1, why, and where the logs are, where the story cannot go on',
    async () => {
      const { code, stdout, seen } = await play({ acts: ['holds', 'breaks', 'holds'] });
      expect(code).toBe(1);
      expect(stdout).toContain('the story could go on (the curtain fell down)');
      expect(stdout).toContain('/somewhere/log');
      expect(seen).toEqual(['holds', 'breaks', 'struck']);
    },
    timeoutMs,
  );

  test(
    'does not take a story in which nothing was looked at for one that went well',
    async () => {
      const { code, stdout } = await play({ acts: ['looks at nothing'] });
      expect(code).toBe(1);
      expect(stdout).toContain('nothing was looked at');
    },
    timeoutMs,
  );

  test.each([
    ['all held', { acts: ['holds'] }, 0],
    ['something did not', { acts: ['does not hold'] }, 1],
  ] as const)(
    'with --keep everything goes on, where %s',
    async (_, script, status) => {
      const { code, stdout, seen } = await play(script, '--keep');
      expect(code).toBe(status);
      expect(stdout).toContain('Everything goes on running');
      expect(seen).toEqual([...script.acts, 'handed over']);
    },
    timeoutMs,
  );

  test.each([
    ['it does not go on', 'cannot be handed over', ['--keep'], 'It does not go on: slipway up ended'],
    ['something is left', 'cannot be struck', [], 'Not everything could be ended: a container is still there'],
  ] as const)(
    'ends with 1 where %s, though everything held',
    async (_, stage, args, said) => {
      const { code, stdout, stderr } = await play({ acts: ['holds'], stage }, ...args);
      expect(code).toBe(1);
      expect(stdout).toContain('all 1 checks held');
      expect(stderr).toContain(said);
    },
    timeoutMs,
  );

  test(
    'ends with 1 and one sentence where the stage cannot be set',
    async () => {
      const { code, stderr, seen } = await play({ acts: ['holds'], stage: 'cannot be set' });
      expect({ code, seen }).toEqual({ code: 1, seen: [] });
      expect(stderr.trim()).toBe('The stage could not be set: there is no Docker');
    },
    timeoutMs,
  );

  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'ends with 130 and leaves nothing behind after %s',
    async (signal) => {
      const { child, ended, said, seen } = await begin({ acts: ['never ends'] });
      await until(() => said.stdout.includes('waiting for Godot'), { timeoutMs });
      child.kill(signal);
      expect(await ended).toBe(130);
      expect(seen()).toEqual(['never ends', 'struck']);
    },
    timeoutMs,
  );

  test(
    'is what `npm run demo` starts: it says what it does, and refuses what it does not know',
    async () => {
      const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
        scripts: Record<string, string>;
      };
      expect(scripts['demo']).toBe('node examples/demo/main.ts');
      const helped = start('examples/demo/main.ts', ['--help']);
      expect(await helped.ended).toBe(0);
      expect(helped.said.stdout).toContain('--keep');
      const wrong = start('examples/demo/main.ts', ['--kep']);
      expect(await wrong.ended).toBe(2);
      expect(wrong.said.stderr).toContain('--kep');
    },
    timeoutMs,
  );
});
