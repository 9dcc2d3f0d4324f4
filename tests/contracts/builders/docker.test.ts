import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import Docker from 'dockerode';
import { imageFactsOf } from '../../../src/domain/image-layers.ts';
import { createDockerBuilder } from '../../../src/providers/builders/docker.ts';
import type { BuildRequest, ImageBuilder } from '../../../src/providers/builders/port.ts';
import { components } from '../../support/components.ts';
import { createCutProxy } from '../../support/cut-proxy.ts';
import { until } from '../../support/until.ts';

let folder: string;
let builder: ImageBuilder;
let docker: Docker;
let base: string;
let socket: string;
const made = new Set<string>();
const label = { 'slipway.test': `builder-${process.pid}` };

beforeAll(async () => {
  const { docker: engine, toolsImage } = await components('docker', 'toolsImage');
  socket = engine.address.replace('unix://', '');
  docker = new Docker({ socketPath: socket });
  builder = await createDockerBuilder(engine.address);
  base = toolsImage.image;
  folder = mkdtempSync(join(tmpdir(), 'slipway-build-'));
}, 120_000);

afterAll(async () => {
  for (const id of made)
    await docker
      .getImage(id)
      .remove({ force: true })
      .catch(() => undefined);
  rmSync(folder, { recursive: true, force: true });
});

/** A context with these files, and the request to build it. */
function contextOf(
  name: string,
  files: Readonly<Record<string, string>>,
  more: Partial<BuildRequest> = {},
): BuildRequest {
  const context = join(folder, name);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(context, path)), { recursive: true });
    writeFileSync(join(context, path), text);
  }
  return {
    name,
    folder: context,
    dockerfile: 'Dockerfile',
    ignore: files['.dockerignore'] ?? '',
    args: { BASE_IMAGE: base },
    labels: { ...label, 'slipway.build-key': name },
    platforms: [],
    network: 'none',
    modifiedAt: new Date('2026-01-02T03:04:05Z'),
    ...more,
  };
}

async function build(
  request: BuildRequest,
  {
    by = builder,
    signal = new AbortController().signal,
  }: { readonly by?: ImageBuilder; readonly signal?: AbortSignal } = {},
): Promise<{ readonly id: string; readonly output: string; readonly moved: number }> {
  let output = '';
  let moved = 0;
  const { id } = await by.build(request, { output: (text) => (output += text), moved: () => (moved += 1), signal });
  made.add(id);
  return { id, output, moved };
}

const from = 'ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n';

/** What a command says in a container of an image. */
async function run(image: string, command: readonly string[]): Promise<string> {
  const container = await docker.createContainer({
    Image: image,
    Cmd: [...command],
    HostConfig: { NetworkMode: 'none' },
    Tty: true,
  });
  try {
    await container.start();
    await container.wait();
    return (await container.logs({ stdout: true, stderr: true })).toString().replaceAll('\r', '');
  } finally {
    await container.remove({ force: true });
  }
}

describe('a build', () => {
  test('makes an image of the context, and says what it does', async () => {
    const request = contextOf('plain', {
      Dockerfile: `${from}COPY a.txt /a.txt\nRUN echo building here`,
      'a.txt': 'content\n',
    });
    const { id, output, moved } = await build(request);
    expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(output).toMatch(/Step 1\/\d+ : ARG BASE_IMAGE/);
    expect(output).toContain('building here');
    expect(moved).toBeGreaterThan(3);
    expect(await run(id, ['cat', '/a.txt'])).toBe('content\n');
    const found = await builder.find({ ...label, 'slipway.build-key': 'plain' });
    expect(found).toMatchObject({ id, labels: expect.objectContaining({ 'slipway.build-key': 'plain' }) });
  });

  test('leaves layers that tell how it was made', async () => {
    const request = contextOf(
      'layers',
      {
        Dockerfile: `${from}ARG API_KEY\nENV MODE=fast\nRUN echo making\nCOPY a.txt /a.txt\nUSER 1000\n`,
        'a.txt': 'x',
      },
      { args: { BASE_IMAGE: base, API_KEY: 'written-out' } },
    );
    const { id } = await build(request);
    const [own, of] = await Promise.all([builder.readLayers(id), builder.readLayers(base)]);
    expect(own).toMatchObject({ user: '1000', settings: expect.objectContaining({ MODE: 'fast' }) });
    expect(own!.count).toBeGreaterThan(of!.count);
    expect(own!.history.length).toBeGreaterThan(of!.history.length);
    // The newest first, and the value of the argument among them.
    expect(Date.parse(own!.history[0]!.createdAt!)).toBeGreaterThanOrEqual(Date.parse(own!.history.at(-1)!.createdAt!));
    expect(imageFactsOf('app', own!, true)).toMatchObject({ user: '1000', exposed: ['API_KEY'] });
    expect(await builder.readLayers(`sha256:${'0'.repeat(64)}`)).toBeUndefined();
  });

  test('sends what .dockerignore lets through, links as links, and never follows one out of the context', async () => {
    const request = contextOf('ignored', {
      Dockerfile: `${from}COPY . /all\n`,
      '.dockerignore': 'secret\n*.log\n!keep.log\nDockerfile\n',
      'secret/key': 'x',
      'a.log': 'x',
      'keep.log': 'x',
      'sub/file': 'x',
    });
    symlinkSync('/etc/passwd', join(request.folder, 'link'));
    const { id } = await build(request);
    expect((await run(id, ['find', '/all'])).split('\n').sort().filter(Boolean)).toEqual([
      '/all',
      '/all/.dockerignore',
      '/all/keep.log',
      '/all/link',
      '/all/sub',
      '/all/sub/file',
    ]);
    expect(await run(id, ['readlink', '/all/link'])).toBe('/etc/passwd\n');
  });

  test('of the same context gives the same image, from the cache', async () => {
    const files = { Dockerfile: `${from}COPY f /f\nRUN date +%N > /random`, f: 'x' };
    const first = await build(contextOf('cached', files));
    writeFileSync(join(folder, 'cached', 'f'), 'x');
    const second = await build(contextOf('cached', files));
    expect(second.id).toBe(first.id);
    expect(second.output).toContain('Using cache');
  });

  test('puts all its labels on by one instruction, whatever is in them', async () => {
    const labels = {
      ...label,
      'slipway.build-key': 'labelled',
      'org.example.quoted': 'a "b" \\ \'c\' $HOME ${x} `d` # e',
      'org.example.empty': '',
      'org.example.letters': 'grüße → 世界',
      'org.example.spaced': '  two  ',
    };
    const files = { Dockerfile: `${from}LABEL org.example.empty=full org.example.own=stays\nRUN echo labelled > /x` };
    const { id, output } = await build(contextOf('labelled', files, { labels }));
    const { Config } = await docker.getImage(id).inspect();
    expect(Config.Labels).toMatchObject({ ...labels, 'org.example.own': 'stays' });
    const history = await builder.readLayers(id);
    expect(history!.history.filter(({ instruction }) => instruction.includes('slipway.build-key'))).toHaveLength(1);
    // What people read is their own build.
    expect(output).not.toContain('slipway.build-key');
  });

  test.each([
    ['that it cannot write as an instruction', `${from}RUN echo several > /x`, { 'org.example.lines': 'one\ntwo' }],
    ['where an image made of it would run something', `${from}ONBUILD RUN echo triggered > /triggered`, {}],
  ])('puts labels on as the engine does it %s', async (_, dockerfile, more) => {
    const labels = { ...label, 'slipway.build-key': 'one-by-one', ...more };
    const { id } = await build(contextOf('one-by-one', { Dockerfile: dockerfile }, { labels }));
    const { Config } = await docker.getImage(id).inspect();
    expect(Config.Labels).toMatchObject(labels);
    expect((Config.OnBuild as readonly string[] | null) ?? []).toEqual(
      dockerfile.includes('ONBUILD') ? ['RUN echo triggered > /triggered'] : [],
    );
    expect(await run(id, ['ls', '/'])).not.toContain('triggered');
  });

  test('labels the target it was asked for, not the last one', async () => {
    const dockerfile = `${from.replace('FROM ${BASE_IMAGE}', 'FROM ${BASE_IMAGE} AS first')}RUN echo first > /stage\nFROM first\nRUN echo last > /stage`;
    const { id } = await build(contextOf('staged', { Dockerfile: dockerfile }, { target: 'first' }));
    expect(await run(id, ['cat', '/stage'])).toBe('first\n');
    expect(await builder.inspect(id)).toMatchObject({ labels: expect.objectContaining(label) });
  });

  test.each([
    ['a command', `${from}RUN echo the reason is here && exit 7`, /non-zero code: 7/, 'the reason is here'],
    ['a file that is not there', `${from}COPY nowhere /x`, /COPY failed|not found/, undefined],
    ['a mistake', `${from}NONSENSE x`, /unknown instruction/i, undefined],
    ['a target that is not there', `${from}RUN true`, /nothing/, undefined],
  ])('that fails for %s is BuildFailed with its own last lines', async (what, dockerfile, message, line) => {
    const request = contextOf(
      'failing',
      { Dockerfile: dockerfile },
      what.includes('target') ? { target: 'nothing' } : {},
    );
    const error: unknown = await build(request).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ type: 'BuildFailed', retryable: false, message: expect.stringMatching(message) });
    const { details } = error as { details: { lastLines: string[] } };
    if (line !== undefined) expect(details.lastLines).toContain(line);
  });

  test('of a base image that cannot be had is BuildFailed before it begins', async () => {
    const asked = builder.resolve(['slipway.invalid/nobody/nothing:1'], {
      output: () => undefined,
      moved: () => undefined,
      signal: new AbortController().signal,
    });
    await expect(asked).rejects.toMatchObject({ type: expect.stringMatching(/BuildFailed|RegistryUnavailable/) });
  });

  test('leaves no container behind when it is aborted, and ends at once', async () => {
    const abort = new AbortController();
    const request = contextOf('aborted', { Dockerfile: `${from}RUN echo begun; sleep 60` });
    let output = '';
    const building = builder
      .build(request, { output: (text) => (output += text), moved: () => undefined, signal: abort.signal })
      .catch((reason: unknown) => reason);
    await until(() => output.includes('begun'));
    const began = performance.now();
    abort.abort(new Error('told to'));
    expect(await building).toMatchObject({ message: 'told to' });
    expect(performance.now() - began).toBeLessThan(1_000);
    await until(async () => {
      const running = await docker.listContainers();
      return !running.some(({ Command }) => Command.includes('echo begun'));
    });
  });

  test('whose engine goes away in the middle is interrupted, and works when it is tried again', async () => {
    const proxy = await createCutProxy({ path: socket }, join(folder, 'engine.sock'));
    try {
      const through = await createDockerBuilder(`unix://${proxy.address}`);
      const request = contextOf('interrupted', { Dockerfile: `${from}RUN echo begun; sleep 2` });
      let output = '';
      const building = through
        .build(request, {
          output: (text) => (output += text),
          moved: () => undefined,
          signal: new AbortController().signal,
        })
        .catch((reason: unknown) => reason);
      await until(() => output.includes('begun'));
      proxy.cut();
      expect(await building).toMatchObject({ type: 'BuildInterrupted', retryable: true });
      await expect(through.inspect('x')).rejects.toMatchObject({ type: 'EngineUnavailable', retryable: true });
      proxy.mend();
      expect((await build(request, { by: through })).id).toMatch(/^sha256:/);
    } finally {
      await proxy.close();
    }
  });
});

describe('an image', () => {
  test('that is thrown away is gone, and again is no error', async () => {
    const { id } = await build(contextOf('thrown', { Dockerfile: `${from}RUN echo thrown > /x` }));
    await builder.remove(id);
    await builder.remove(id);
    expect(await builder.inspect(id)).toBeUndefined();
  });

  test('is discarded under all its names, unless a container is of it', async () => {
    const { id } = await build(
      contextOf(
        'discarded',
        { Dockerfile: `${from}RUN echo discarded > /x` },
        { labels: { ...label, 'slipway.image': 'old' } },
      ),
    );
    await builder.tag(id, 'localhost:5000/one', 'a');
    await builder.tag(id, 'localhost:5000/one', 'b');
    await builder.tag(id, 'localhost:5000/two', 'a');
    const [listed] = await builder.list({ ...label, 'slipway.image': 'old' });
    expect(listed).toMatchObject({ id, labels: label, createdAt: expect.stringMatching(/^\d{4}-/) });
    expect([...(listed?.tags ?? [])].sort()).toEqual([
      'localhost:5000/one:a',
      'localhost:5000/one:b',
      'localhost:5000/two:a',
    ]);
    const container = await docker.createContainer({ Image: id, Cmd: ['true'] });
    expect(await builder.isUsed(listed!)).toBe(true);
    expect(await builder.discard(listed!)).toBe(false);
    expect((await builder.list({ ...label, 'slipway.image': 'old' }))[0]?.tags).toHaveLength(3);
    await container.remove();
    expect(await builder.discard(listed!)).toBe(true);
    expect(await builder.discard(listed!)).toBe(true);
    expect(await builder.inspect(id)).toBeUndefined();
    expect(await builder.list({ ...label, 'slipway.image': 'old' })).toEqual([]);
  });
});
