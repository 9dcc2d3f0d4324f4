import { execFileSync } from 'node:child_process';
import { describe, expect, test } from '@jest/globals';
import { type Runner, createMark, createMarkScan, runStep, stepLine } from '../../../src/providers/executors/runner.ts';
import { createRedactor } from '../../../src/effects/redact.ts';
import type { HostStep } from '../../../src/definition/specs/stage.ts';
import { plainStep } from '../../support/plain-step.ts';

const step: HostStep = {
  ...plainStep,
  executor: 'host',
  command: { kind: 'argv', argv: ['printf', '%s', ''] },
  timeoutMs: 1_000,
  stallAfterMs: 1_000,
};

describe('the line of a step', () => {
  test.each([
    ["it's"],
    ['two\nlines\n\nand more\n'],
    ['$HOME `id` $(id) ; & | < > * ? ~ # ! " \\ \\n'],
    ['-n'],
    ['ünïcödé 🚢\t\r'],
    [''],
  ])('gives a shell exactly %j, as an argument and as a setting', (word) => {
    const argv = ['printf', '[%s]', word];
    for (const shell of ['sh', 'bash']) {
      const line = stepLine({ ...step, command: { kind: 'argv', argv } }, '/', { WORD: word });
      expect(line).not.toContain('\n');
      const script = `NL='\n'\nIFS= read -r line\n(eval "$line")`;
      const out = execFileSync(shell, ['-c', script], { input: `${line}\n` });
      expect(out.toString()).toBe(`[${word}]`);
      const own = stepLine({ ...step, command: { kind: 'argv', argv: ['printenv', 'WORD'] } }, '/', { WORD: word });
      expect(execFileSync(shell, ['-c', script], { input: `${own}\n` }).toString()).toBe(`${word}\n`);
    }
  });
});

describe('the end of a step', () => {
  test.each([1, 2, 7, 1_000])('is found in pieces of %i bytes, and nothing of the output is lost', (size) => {
    const mark = createMark();
    const output = `some output\0 with ${mark} in it\0${mark.slice(0, 8)}\0\0`;
    const bytes = Buffer.from(`${output}\0${mark} 42\n`);
    const scan = createMarkScan(mark);
    const parts: Buffer[] = [];
    let exitCode: number | undefined;
    for (let at = 0; at < bytes.length; at += size) {
      const found = scan(bytes.subarray(at, at + size));
      parts.push(Buffer.from(found.output));
      exitCode ??= found.exitCode;
    }
    expect(Buffer.concat(parts).toString()).toBe(output);
    expect(exitCode).toBe(42);
  });
});

describe('a step that cannot be ended', () => {
  test.each(['timeout', 'abort'])('after its %s says so, and the worker goes on', async (why) => {
    let kills = 0;
    const runner: Runner = {
      mark: createMark(),
      send: () => undefined,
      listen: () => undefined,
      kill: () => {
        kills += 1;
        return Promise.reject(new Error('could not kill: did not receive an exit event'));
      },
      ended: new Promise(() => undefined),
    };
    const abort = new AbortController();
    const ending = runStep(
      runner,
      {
        step,
        env: {},
        timeoutMs: why === 'timeout' ? 1 : 60_000,
        redactor: createRedactor([]),
        sink: () => undefined,
        say: () => undefined,
        signal: abort.signal,
      },
      '/',
    );
    if (why === 'abort') abort.abort(new Error('a person said so'));
    await expect(ending).rejects.toThrow('did not receive an exit event');
    expect(kills).toBe(2);
  });
});
