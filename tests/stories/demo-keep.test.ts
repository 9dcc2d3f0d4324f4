import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createLocalContext } from '../../src/local/context.ts';
import { isRunning } from '../../src/effects/daemon.ts';
import { readState } from '../../src/local/state.ts';
import { components } from '../support/components.ts';

/** The process of the demo on its real stage, with the first act alone. */
const root = resolve(import.meta.dirname, '../..');
const stateFolder = join(root, '.slipway/kept-demo');
const timeoutMs = 300_000;

let folder: string;
let env: Record<string, string>;

beforeAll(async () => {
  const { docker } = await components('docker');
  folder = await mkdtemp(join(tmpdir(), 'slipway-demo-keep-'));
  await writeFile(join(folder, 'script.json'), JSON.stringify({ real: true }));
  env = { ...(process.env as Record<string, string>), DOCKER_HOST: docker.address };
}, timeoutMs);

afterAll(async () => {
  await run(join(root, 'src/cli/main.ts'), 'down', '--state', stateFolder, '--everything');
  await rm(folder, { recursive: true, force: true });
  await rm(stateFolder, { recursive: true, force: true });
}, timeoutMs);

const run = (...args: readonly string[]) => start(process.execPath, args, root);

async function start(program: string, args: readonly string[], cwd: string) {
  const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (said.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (said.stderr += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...said };
}

const demo = (...args: readonly string[]) =>
  run(join(root, 'tests/support/demo-process.ts'), join(folder, 'script.json'), '--state', stateFolder, ...args);

test(
  'with --keep everything is left running, and the next start, which takes seconds, begins anew and leaves nothing',
  async () => {
    const kept = await demo('--keep');
    if (kept.code !== 0) throw new Error(`${kept.stdout}\n${kept.stderr}`);
    const address = /(http:\S+) {5}staging/.exec(kept.stdout)?.[1];
    const answer = await fetch(address!);
    expect(answer.ok).toBe(true);
    expect(answer.headers.get('x-version')).not.toBeNull();
    // The line that it prints, as it is printed, in the shell of a person who stands somewhere else.
    const line = /^ *(export PATH=.* SLIPWAY_TOKEN_FILE=\S+)$/m.exec(kept.stdout)![1]!;
    const told = await start('sh', ['-c', `${line}; slipway deployments --json`], folder);
    expect(told).toMatchObject({ code: 0 });
    expect(JSON.parse(told.stdout)).toMatchObject({ deployments: [{ environment: 'staging', outcome: 'succeeded' }] });
    const context = createLocalContext({ stateFolder });
    const worker = readState(context, 'worker')!.process!;
    expect(isRunning(worker)).toBe(true);

    // It ends what was kept, starts everything again, and plays on an empty stage.
    const again = await demo();
    if (again.code !== 0) throw new Error(`${again.stdout}\n${again.stderr}`);
    expect(isRunning(worker)).toBe(false);
    const seconds = Number(/everything runs after ([\d.]+) s/.exec(again.stdout)?.[1]);
    // Twenty on a busy machine of two cores; the first one has taken images and programs out of the way. Judgement.
    expect(seconds).toBeLessThan(60);
    await expect(fetch(address!)).rejects.toThrow('fetch failed');
    expect(existsSync(join(stateFolder, 'secrets/admin-token'))).toBe(false);
  },
  timeoutMs,
);
