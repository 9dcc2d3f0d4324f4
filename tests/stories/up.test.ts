import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client, Connection } from '@temporalio/client';
import { type StoryRepository, makeStoryRepository } from '../../examples/demo/repository.ts';
import { createLocalContext } from '../../src/local/context.ts';
import { readState } from '../../src/local/state.ts';
import type { RunRecord } from '../../src/store/runs.ts';
import { schedules } from '../../src/workers/schedules.ts';
import { runId } from '../../src/workflows/messages.ts';
import { components } from '../support/components.ts';
import { until } from '../support/until.ts';

const program = resolve(import.meta.dirname, '../../src/cli/main.ts');
const timeoutMs = 180_000;

let folder: string;
let env: Record<string, string>;
let repository: StoryRepository;
const keepers: ChildProcess[] = [];

beforeAll(async () => {
  const { docker } = await components('docker');
  folder = await mkdtemp(join(tmpdir(), 'slipway-up-'));
  env = {
    PATH: process.env['PATH'] ?? '',
    HOME: process.env['HOME'] ?? folder,
    DOCKER_HOST: docker.address,
    HOOK: 's3cret',
  };
  // It goes on as soon as there is a file, so that the test decides in whose time it ends.
  const slipway = `version: 1\nstages:\n  - name: test\n    steps:\n      - name: wait\n        shell: while [ ! -f ${folder}/go ]; do echo waiting; sleep 0.2; done\n`;
  repository = await makeStoryRepository(join(folder, 'forge'), { 'slipway.yaml': slipway });
  await repository.commit({ branch: 'feature/slow', subject: 'feat: take your time' });
  const project = `version: 1\nproject: slow\nrepository:\n  url: ${repository.url}\n  forge: { kind: github, secrets: [{ env: HOOK }] }\nregistry: { address: '127.0.0.1:5000', insecure: true }\nroutes:\n  - { on: push, ref: 'feature/**', buildImages: none }\nsteps: { executor: host }\n`;
  await writeFile(join(folder, 'project.yaml'), project);
}, timeoutMs);

afterAll(async () => {
  for (const keeper of keepers) keeper.kill('SIGKILL');
  await slipway('down', '--everything');
  await rm(folder, { recursive: true, force: true });
}, timeoutMs);

function start(...args: readonly string[]) {
  const child = spawn(process.execPath, [program, ...args], { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (said.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (said.stderr += chunk.toString()));
  return { child, said, ended: once(child, 'close').then(([code]) => code as number | null) };
}

async function slipway(...args: readonly string[]) {
  const { said, ended } = start(...args);
  return { code: await ended, ...said };
}

async function up() {
  const keeper = start('up', '--json');
  keepers.push(keeper.child);
  await until(
    async () => {
      if (keeper.child.exitCode !== null) throw new Error(`up ended: ${keeper.said.stderr}`);
      return await Promise.resolve(keeper.said.stdout.includes('"schema":"slipway/up/1"'));
    },
    { timeoutMs: 120_000, what: 'slipway up' },
  );
  return keeper;
}

async function readRun(): Promise<RunRecord> {
  return (JSON.parse((await slipway('status', '1', '--json')).stdout) as { run: RunRecord }).run;
}

test(
  'what runs when an installation is stopped goes on when it is started again, under the same addresses and tokens',
  async () => {
    const first = await up();
    expect((await slipway('project', 'apply', 'project.yaml')).code).toBe(0);
    const token = (await slipway('token', 'create', 'ada', '--role', 'developer')).stdout.trim();
    expect(await slipway('run', 'feature/slow', '--timeout', '0')).toMatchObject({ code: 0, stdout: 'slow#1\n' });
    await until(async () => (await readRun()).stages.some(({ name, verdict }) => name === 'test' && verdict === null), {
      timeoutMs: 60_000,
      what: 'the step to begin',
    });
    expect((await slipway('up')).code).toBe(6);

    expect((await slipway('down')).code).toBe(0);
    expect(await first.ended).toBe(0);
    expect((await slipway('status')).code).toBe(3);

    const second = await up();
    expect(JSON.parse(second.said.stdout)).toMatchObject({
      api: (JSON.parse(first.said.stdout) as { api: string }).api,
    });
    expect((await readRun()).outcome).toBeNull();
    await writeFile(join(folder, 'go'), '');
    const followed = await slipway('status', '1', '--watch', '--timeout', '90s', '--json');
    expect(followed.code).toBe(0);
    const { run } = JSON.parse(followed.stdout) as { run: RunRecord };
    expect(run).toMatchObject({ number: 1, outcome: 'succeeded' });
    expect((await slipway('list', '--token-file', await tokenFile(token))).code).toBe(0);
    const log = await slipway('logs', '1', '-f', '--step', 'wait');
    expect(log.stdout).toContain('waiting');
  },
  timeoutMs,
);

test(
  'killed with SIGKILL it takes API and worker along, and the next start goes on',
  async () => {
    const [last] = keepers.slice(-1);
    last?.kill('SIGKILL');
    await until(async () => (await slipway('status')).code === 3, { timeoutMs: 30_000, what: 'the API to end' });
    await up();
    expect((await readRun()).outcome).toBe('succeeded');
  },
  timeoutMs,
);

test(
  'upkeep has its schedules once, ends a run that was terminated, and removes nothing that is kept',
  async () => {
    const temporal = readState(createLocalContext({ stateFolder: join(folder, '.slipway') }), 'temporal');
    const connection = await Connection.connect({ address: `127.0.0.1:${String(temporal?.ports['temporal'])}` });
    try {
      const client = new Client({ connection });
      // Three starts have made them.
      const ids: string[] = [];
      for await (const { scheduleId } of client.schedule.list()) ids.push(scheduleId);
      expect(ids.sort()).toEqual([...schedules.map(({ id }) => id), 'project-upkeep/slow/audit'].sort());

      await rm(join(folder, 'go'));
      await repository.commit({ branch: 'feature/slow', subject: 'feat: take your time again' });
      expect(await slipway('run', 'feature/slow', '--timeout', '0')).toMatchObject({ code: 0, stdout: 'slow#2\n' });
      const second = async (): Promise<RunRecord> =>
        (JSON.parse((await slipway('status', '2', '--json')).stdout) as { run: RunRecord }).run;
      await until(async () => (await second()).phase === 'checking', { timeoutMs: 60_000, what: 'the step to begin' });
      const { key } = await second();
      const execute = async <R>(workflow: string, ...args: readonly unknown[]): Promise<R> => {
        const options = { workflowId: `upkeep/${workflow}`, taskQueue: 'orchestration', args: [...args] };
        return (await client.workflow.execute(workflow, options)) as R;
      };
      expect(await execute('reconcileRecords', { graceMs: 0 })).toMatchObject({ looked: 1, ended: 0 });
      await client.workflow.getHandle(runId('slow', key)).terminate('by hand');
      expect(await execute('reconcileRecords', { graceMs: 0 })).toEqual({ looked: 1, ended: 1, left: 0 });
      const { outcome, reason } = await second();
      expect(outcome).toBe('errored');
      expect(reason).toContain(`(${runId('slow', key)}) was terminated`);
      expect(reason).toContain('`slipway rerun slow#2`');

      const retention = await execute<{ removed: readonly unknown[]; problems: readonly string[] }>('applyRetention');
      expect(retention).toEqual({ removed: [], problems: [] });
      expect((await slipway('logs', '1', '--step', 'wait')).stdout).toContain('waiting');
    } finally {
      await connection.close();
    }
  },
  timeoutMs,
);

test(
  'a build that cannot go on with what is open is refused once, and taken when that is over',
  async () => {
    const bundles = join(folder, '.slipway/bundles');
    const [name] = (await readdir(bundles)).filter((file) => file.startsWith('workflows-'));
    const bundle = join(bundles, name!);
    const code = await readFile(bundle, 'utf8');
    // Another build: it begins a run with another activity, and says nothing of it with `patched`. What took the queue last is forgotten.
    const other = code.replaceAll('.prepareRun', '.buildImages');
    expect(other).not.toBe(code);
    const putInPlace = async (text: string): Promise<void> => {
      await writeFile(bundle, text);
      await rm(join(bundles, 'verified'), { force: true });
    };

    await repository.commit({ branch: 'feature/slow', subject: 'feat: take your time once more' });
    await rm(join(folder, 'go'), { force: true });
    expect(await slipway('run', 'feature/slow', '--timeout', '0')).toMatchObject({ code: 0, stdout: 'slow#3\n' });
    const third = async (): Promise<RunRecord> =>
      (JSON.parse((await slipway('status', '3', '--json')).stdout) as { run: RunRecord }).run;
    await until(async () => (await third()).phase === 'checking', { timeoutMs: 60_000, what: 'the step to begin' });
    const workflow = runId('slow', (await third()).key);

    // Started with it: it ends, at once, with the words of the worker.
    expect((await slipway('down')).code).toBe(0);
    await putInPlace(other);
    const refused = await slipway('up');
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('open workflows cannot go on with this build');
    expect(refused.stderr).toContain(workflow);
    expect(refused.stderr.split('worker').filter((part) => /^ \d+ started/.test(part))).toHaveLength(1);

    // Put in place while it runs, and the worker ends: said once, and no start after it.
    await putInPlace(code);
    const keeper = await up();
    await putInPlace(other);
    const worker = readState(createLocalContext({ stateFolder: join(folder, '.slipway') }), 'worker')!.process!;
    process.kill(worker.pid, 'SIGKILL');
    await until(() => keeper.said.stderr.includes('worker is not started again'), {
      timeoutMs: 60_000,
      what: 'the refusal to be said',
    });
    const starts = (): number => [...keeper.said.stderr.matchAll(/worker \d+ started/g)].length;
    const before = starts();
    expect(keeper.said.stderr).toContain(workflow);
    expect(keeper.said.stderr).toContain('The API answers and takes in what is delivered');
    expect((await slipway('status')).code).toBe(0);

    const temporal = readState(createLocalContext({ stateFolder: join(folder, '.slipway') }), 'temporal');
    const connection = await Connection.connect({ address: `127.0.0.1:${String(temporal?.ports['temporal'])}` });
    try {
      // Longer than the longest pause of before: it was 5 s, for ever.
      await expect(
        until(() => starts() > before, { timeoutMs: 12_000, what: 'a start that must not come' }),
      ).rejects.toThrow('a start that must not come');
      expect(keeper.said.stderr.split('is not started again')).toHaveLength(2);
      await new Client({ connection }).workflow.getHandle(workflow).terminate('so that the new build can go on');
    } finally {
      await connection.close();
    }
    await until(() => starts() > before, { timeoutMs: 60_000, what: 'the worker to be started again' });
    expect((await slipway('down')).code).toBe(0);
    expect(await keeper.ended).toBe(0);
    await putInPlace(code);
  },
  timeoutMs,
);

test(
  'a port that is taken and a setting that is wrong end it, with what to do, instead of being tried for ever',
  async () => {
    // Ends what it is asked by: a connection that nobody reads would keep it from closing.
    const holder = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
    const { port } = holder.address() as AddressInfo;
    try {
      const taken = await slipway('up', '--port', String(port));
      expect(taken).toMatchObject({ code: 3, stdout: '' });
      expect(taken.stderr).toContain(`Port ${String(port)} on 127.0.0.1, for the API, is taken by another program.`);
      expect(taken.stderr).toMatch(/^ended: .*temporal/m);
    } finally {
      await new Promise((resolve) => holder.close(resolve));
    }
    const right = env;
    env = { ...right, DOCKER_HOST: `unix://${folder}/nowhere.sock` };
    try {
      const away = await slipway('up');
      expect(away).toMatchObject({ code: 3, stdout: '' });
      expect(away.stderr).toMatch(/^docker: cannot be had: .*nowhere\.sock/m);
      // What was started beside it is not left to nobody.
      expect(away.stderr).toMatch(/^ended: .*temporal/m);
    } finally {
      env = right;
    }
    env = { ...right, SLIPWAY_DISK_HIGH: 'full' };
    try {
      const wrong = await slipway('up');
      expect(wrong).toMatchObject({ code: 3, stdout: '' });
      expect(wrong.stderr).toContain('SLIPWAY_DISK_HIGH');
      expect(wrong.stderr).toContain('Correct the setting named in the message');
      expect([...wrong.stderr.matchAll(/worker \d+ started/g)]).toHaveLength(1);
    } finally {
      env = right;
    }
  },
  timeoutMs,
);

async function tokenFile(token: string): Promise<string> {
  const file = join(folder, 'token');
  await writeFile(file, token);
  return file;
}
