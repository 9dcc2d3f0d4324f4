import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import Docker from 'dockerode';
import { imageFactsOf } from '../../../src/domain/image-layers.ts';
import { createDockerBuilder } from '../../../src/providers/builders/docker.ts';
import type { BuildRequest, ImageBuilder } from '../../../src/providers/builders/port.ts';
import { components } from '../../support/components.ts';
import { removeImages } from '../../support/images.ts';
import { until } from '../../support/until.ts';
import { describeBuilder } from './suite.ts';

let folder: string;
let builder: ImageBuilder;
let docker: Docker;
let base: string;
let address: string;
const label = { 'slipway.test': `builder-${process.pid}` };

beforeAll(async () => {
  const { docker: engine, toolsImage } = await components('docker', 'toolsImage');
  address = engine.address;
  docker = new Docker({ socketPath: address.replace('unix://', '') });
  builder = await createDockerBuilder(address);
  base = toolsImage.image;
  folder = mkdtempSync(join(tmpdir(), 'slipway-build-'));
}, 120_000);

afterAll(async () => {
  await removeImages(address, label);
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

async function build(request: BuildRequest): Promise<{ readonly id: string; readonly output: string }> {
  let output = '';
  const signal = new AbortController().signal;
  const { id } = await builder.build(request, { output: (text) => (output += text), moved: () => undefined, signal });
  return { id, output };
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

describeBuilder('of the engine', async () => {
  const { docker: engine, toolsImage } = await components('docker', 'toolsImage');
  const own = { 'slipway.test': `builder-suite-${process.pid}` };
  return {
    builder: await createDockerBuilder(engine.address),
    base: toolsImage.image,
    request: { labels: own, network: 'none' },
    socket: engine.address.replace('unix://', ''),
    through: (path) => createDockerBuilder(`unix://${path}`),
    stop: () => removeImages(engine.address, own),
  };
});

describe('a build of the engine', () => {
  test('says its steps as it comes to them, and makes what runs', async () => {
    const request = contextOf('plain', {
      Dockerfile: `${from}COPY a.txt /a.txt\nRUN echo building here`,
      'a.txt': 'content\n',
    });
    const { id, output } = await build(request);
    expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(output).toMatch(/Step 1\/\d+ : ARG BASE_IMAGE/);
    expect(await run(id, ['cat', '/a.txt'])).toBe('content\n');
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
  });

  test('takes from its cache what it made before', async () => {
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
});

describe('an image of the engine', () => {
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
