import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { openOutputs, parseOutputs } from '../../../src/activities/outputs.ts';
import type { HostStep } from '../../../src/definition/specs/stage.ts';
import { createRedactor } from '../../../src/effects/redact.ts';

const step = { name: 'version', outputs: ['VERSION', 'NOTES'] };

describe('outputs', () => {
  test('are lines and blocks of lines; the last word holds', () => {
    const text = 'VERSION=1\n\nNOTES<<END\na=b\n\nc\nEND\nVERSION=2=3\n';
    expect([...parseOutputs(text, step)]).toEqual([
      ['VERSION', '2=3'],
      ['NOTES', 'a=b\n\nc'],
    ]);
  });

  test.each([
    ['VERSION 1', /no `NAME=value`, in line 1/],
    ['OTHER=1', /wrote OTHER, which is none of its `outputs`/],
    ['NOTES<<END\na', /does not end NOTES with a line `END`/],
    ['VERSION=\0', /zero byte/],
  ])('%j is refused', (text, why) => {
    expect(() => parseOutputs(text, step)).toThrow(why);
  });
});

describe('the file of outputs', () => {
  let home: string;
  const whole = { ...step, outputs: ['VERSION'] } as unknown as HostStep;
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'slipway-outputs-'));
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  test('gives no secret away', async () => {
    const outputs = await openOutputs(home, whole, createRedactor(['hunter22']));
    writeFileSync(outputs.path, 'VERSION=hunter22-1\n');
    expect(await outputs.read()).toEqual({ VERSION: '***-1' });
  });

  test('must have what was promised, and not too much of it', async () => {
    const none = await openOutputs(home, whole, createRedactor([]));
    await expect(none.read()).rejects.toMatchObject({ type: 'StepFailed', message: 'version did not hand on VERSION' });
    const much = await openOutputs(home, whole, createRedactor([]));
    writeFileSync(much.path, `VERSION=${'x'.repeat(70_000)}\n`);
    await expect(much.read()).rejects.toThrow(/more than the 65536 bytes/);
  });

  test('is not read through a link', async () => {
    const secret = join(home, 'worker');
    writeFileSync(secret, 'VERSION=of-the-worker\n');
    const outputs = await openOutputs(home, whole, createRedactor([]));
    symlinkSync(secret, outputs.path);
    await expect(outputs.read()).rejects.toThrow('did not hand on VERSION');
  });
});
