import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import Docker from 'dockerode';
import { scratchFolder } from '../../src/effects/scratch.ts';
import { createBuildKitBuilder } from '../../src/providers/builders/buildkit.ts';
import { createDockerBuilder } from '../../src/providers/builders/docker.ts';
import type { BuildProgress, BuildRequest, ImageBuilder } from '../../src/providers/builders/port.ts';
import { describeBuilder } from '../contracts/builders/suite.ts';
import { components } from '../support/components.ts';
import { removeImages } from '../support/images.ts';
import { toolPath } from '../support/supply-chain.ts';
import { until } from '../support/until.ts';

let engine: string;
let docker: Docker;
let builder: ImageBuilder;
let base: string;
let folder: string;
let said = '';

beforeAll(async () => {
  const parts = await components('docker', 'toolsImage');
  engine = parts.docker.address;
  docker = new Docker({ socketPath: parts.docker.address.replace('unix://', '') });
  base = parts.toolsImage.image;
  const buildx = await toolPath('buildx');
  builder = createBuildKitBuilder(parts.docker.address, await createDockerBuilder(parts.docker.address), () =>
    Promise.resolve(buildx),
  );
  folder = mkdtempSync(join(tmpdir(), 'slipway-buildkit-'));
}, 900_000);

afterAll(async () => {
  await removeImages(engine, { 'slipway.test': String(process.pid) });
  rmSync(folder, { recursive: true, force: true });
});

describeBuilder('BuildKit of the engine', async () => {
  const parts = await components('docker', 'toolsImage');
  const buildx = await toolPath('buildx');
  const own = { 'slipway.test': `buildkit-suite-${process.pid}` };
  const through = async (address: string): Promise<ImageBuilder> =>
    createBuildKitBuilder(address, await createDockerBuilder(address), () => Promise.resolve(buildx));
  return {
    builder: await through(parts.docker.address),
    base: parts.toolsImage.image,
    request: { labels: own, network: 'none' },
    socket: parts.docker.address.replace('unix://', ''),
    through: (path) => through(`unix://${path}`),
    stop: () => removeImages(parts.docker.address, own),
  };
});

function request(
  dockerfile: string,
  more: Partial<BuildRequest> = {},
  files: Readonly<Record<string, string>> = {},
): BuildRequest {
  const context = mkdtempSync(join(folder, 'context-'));
  for (const [path, text] of Object.entries({ Dockerfile: dockerfile, ...files })) {
    mkdirSync(dirname(join(context, path)), { recursive: true });
    writeFileSync(join(context, path), text);
  }
  return {
    name: 'app',
    folder: context,
    dockerfile: 'Dockerfile',
    ignore: '',
    args: { BASE_IMAGE: base },
    labels: { 'slipway.test': String(process.pid) },
    platforms: [],
    network: 'none',
    modifiedAt: new Date('2026-11-25T00:00:00Z'),
    ...more,
  };
}

function progress(signal = new AbortController().signal): BuildProgress {
  said = '';
  return { output: (text) => void (said += text), moved: () => undefined, signal };
}

const from = 'ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n';

async function contentOf(id: string, path: string): Promise<string> {
  const container = await docker.createContainer({
    Image: id,
    Cmd: ['cat', path],
    HostConfig: { NetworkMode: 'none' },
    Tty: true,
  });
  try {
    await container.start();
    await container.wait();
    return (await container.logs({ stdout: true, stderr: true })).toString().trim();
  } finally {
    await container.remove({ force: true });
  }
}

describe('BuildKit', () => {
  test('mounts secrets for one instruction, and they are in no layer, label, log or file', async () => {
    const secret = 's3cr3t-of-the-build';
    const dockerfile = `${from}RUN --mount=type=secret,id=TOKEN sha256sum < /run/secrets/TOKEN > /sum; cat /run/secrets/TOKEN\nRUN ls /run/secrets > /left 2>&1 || true\n`;
    const built = await builder.build(request(dockerfile, { secrets: { TOKEN: secret } }), progress());
    expect(await contentOf(built.id, '/sum')).toMatch(/^[0-9a-f]{64}/);
    expect(await contentOf(built.id, '/left')).not.toContain('TOKEN');
    const [saved] = await builder.save(built.id, folder, progress());
    expect(readFileSync(saved!.path).includes(secret)).toBe(false);
    expect(JSON.stringify(await docker.getImage(built.id).inspect())).not.toContain(secret);
    await builder.build(request(`${dockerfile}RUN echo again\n`, { secrets: { TOKEN: secret } }), progress());
    expect(said).not.toContain(secret);
  }, 120_000);

  test('stops at once when it is called off, and leaves no file', async () => {
    const stop = new AbortController();
    const building = builder
      .build(request(`${from}RUN echo begun; sleep 61\n`), progress(stop.signal))
      .catch((error: unknown) => error);
    await until(() => said.includes('begun'), { timeoutMs: 30_000 });
    const began = performance.now();
    stop.abort(new Error('called off'));
    expect(await building).toMatchObject({ message: 'called off' });
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(readdirSync(scratchFolder()).filter((name) => name.startsWith('buildkit-'))).toEqual([]);
  }, 60_000);

  test('refuses several platforms, which this engine cannot keep', async () => {
    const platforms = ['linux/amd64', 'linux/arm64'];
    await expect(builder.build(request(from, { platforms }), progress())).rejects.toMatchObject({
      type: 'EngineRefused',
    });
  });
});
