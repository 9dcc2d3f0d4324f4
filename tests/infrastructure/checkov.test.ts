import { execFile } from 'node:child_process';
import { existsSync, createReadStream, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { createLocalContext } from '../../src/local/context.ts';
import { withLock } from '../../src/local/state.ts';
import { checkov } from '../../src/providers/reports/checkov.ts';
import { testStateFolder } from '../support/components.ts';

/** As `examples/infrastructure` names it. */
const version = '3.3.30';
const example = join(import.meta.dirname, '../../examples/infrastructure');
const run = promisify(execFile);
let bin: string;
let folder: string;

beforeAll(async () => {
  bin = await installCheckov();
  folder = mkdtempSync(join(tmpdir(), 'slipway-checkov-'));
}, 900_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** From PyPI, once a machine. */
async function installCheckov(): Promise<string> {
  const { cacheFolder } = createLocalContext({ stateFolder: testStateFolder });
  const place = join(cacheFolder, `checkov-${version}`);
  await withLock(`${place}.lock`, async () => {
    if (existsSync(join(place, 'installed'))) return;
    rmSync(place, { recursive: true, force: true });
    await run('python3', ['-m', 'venv', place]);
    await run(join(place, 'bin/pip'), ['install', '--quiet', `checkov==${version}`], { maxBuffer: 16 * 1024 * 1024 });
    writeFileSync(join(place, 'installed.new'), version);
    renameSync(join(place, 'installed.new'), join(place, 'installed'));
  });
  return join(place, 'bin');
}

/** What the step of the example does, and what its report says to the gate. */
async function checks(definition: string): ReturnType<typeof checkov.read> {
  const at = mkdtempSync(join(folder, 'repository-'));
  await run('mkdir', [join(at, 'infrastructure')]);
  writeFileSync(join(at, 'infrastructure/main.tf'), definition);
  const { stages } = parse(readFileSync(join(example, 'slipway.yaml'), 'utf8')) as {
    readonly stages: readonly { readonly steps: readonly { readonly shell: string }[] }[];
  };
  const env = { PATH: `${bin}:/usr/bin:/bin`, HOME: at };
  await run('/bin/sh', ['-c', stages[0]!.steps[0]!.shell], { cwd: at, env, maxBuffer: 16 * 1024 * 1024 });
  return await checkov.read({
    bytes: createReadStream(join(at, 'checkov.json')),
    path: 'checkov.json',
    roots: [at],
    base: '.',
  });
}

describe('checkov, as the example calls it', () => {
  test('finds what is wrong with a bucket, with its place', async () => {
    const { tool, findings, lookedAt } = await checks('resource "aws_s3_bucket" "orders" {\n  bucket = "orders"\n}\n');
    expect(tool).toEqual({ name: 'checkov', version });
    expect(lookedAt).toMatch(/^\d+ checks$/);
    expect(findings).toContainEqual(
      expect.objectContaining({ rule: 'CKV_AWS_21', file: 'infrastructure/main.tf', line: 1 }),
    );
  }, 180_000);

  test('has nothing against a queue that is encrypted', async () => {
    const queue =
      'resource "aws_sqs_queue" "orders" {\n  name                    = "orders"\n  sqs_managed_sse_enabled = true\n}\n';
    expect(await checks(queue)).toMatchObject({ findings: [], lookedAt: expect.stringMatching(/^\d+ checks?$/) });
  }, 180_000);

  test('is no pass where it knows nothing of what is there', async () => {
    await expect(checks('resource "terraform_data" "queue" {\n  input = "orders"\n}\n')).rejects.toThrow(
      'says that checkov found nothing to check',
    );
  }, 180_000);
});
