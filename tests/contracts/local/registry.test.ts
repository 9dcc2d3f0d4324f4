import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { connectDocker, type DockerHandle } from '../../../src/local/docker.ts';
import { ensureImage } from '../../../src/local/images.ts';
import { findProgram } from '../../../src/local/programs.ts';
import { type RegistryHandle, ensureRegistry, ensureRegistryContainer } from '../../../src/local/registry.ts';
import { down } from '../../../src/local/up.ts';
import { components } from '../../support/components.ts';
import { type ScratchInstallation, scratchInstallation } from '../../support/installation.ts';

let docker: DockerHandle;

beforeAll(async () => {
  docker = (await components('docker', 'registry')).docker as DockerHandle;
}, 120_000);

/** The program of this machine in the place that it has in the public image, which cannot be had everywhere. */
async function inContainer({ context }: ScratchInstallation): Promise<RegistryHandle> {
  const from = findProgram(context, 'docker-registry')!;
  const { image } = await ensureImage(context, docker, 'test-registry', {}, () =>
    Promise.resolve({ tag: '2', programs: [{ from, to: '/bin/registry' }], env: {}, cmd: [] }),
  );
  return await ensureRegistryContainer(context, docker, image);
}

const ways: readonly (readonly [string, (installation: ScratchInstallation) => Promise<RegistryHandle>])[] = [
  ['as a process', ({ context }) => ensureRegistry(context)],
  ['in a container', inContainer],
];

describe.each(ways)('the registry %s', (_name, ensure) => {
  let installation: ScratchInstallation;

  beforeAll(() => {
    installation = scratchInstallation();
  });

  afterAll(async () => {
    await installation.remove();
  }, 180_000);

  test('takes a blob, gives it back by its digest, and deletes it', async () => {
    const { url, how } = await ensure(installation);
    expect(how).toBe('started');
    const blob = randomBytes(1000);
    const digest = `sha256:${createHash('sha256').update(blob).digest('hex')}`;
    const begun = await fetch(`${url}/v2/thing/blobs/uploads/`, { method: 'POST' });
    const upload = new URL(begun.headers.get('location')!);
    upload.searchParams.set('digest', digest);
    expect((await fetch(upload, { method: 'PUT', body: blob })).status).toBe(201);
    const read = await fetch(`${url}/v2/thing/blobs/${digest}`);
    expect(Buffer.from(await read.arrayBuffer()).equals(blob)).toBe(true);
    expect((await fetch(`${url}/v2/thing/blobs/${digest}`, { method: 'DELETE' })).status).toBe(202);
  }, 180_000);

  test('keeps what it has when it is stopped, and its address', async () => {
    const before = await ensure(installation);
    const blob = randomBytes(1000);
    const digest = `sha256:${createHash('sha256').update(blob).digest('hex')}`;
    const begun = await fetch(`${before.url}/v2/thing/blobs/uploads/`, { method: 'POST' });
    const upload = new URL(begun.headers.get('location')!);
    upload.searchParams.set('digest', digest);
    await fetch(upload, { method: 'PUT', body: blob });
    const { ended } = await down({ stateFolder: installation.context.stateFolder });
    expect(ended).toEqual(['registry']);
    await expect(fetch(before.url)).rejects.toThrow('fetch failed');
    const after = await ensure(installation);
    expect(after).toMatchObject({ how: 'started', url: before.url });
    expect((await fetch(`${after.url}/v2/thing/blobs/${digest}`)).status).toBe(200);
  }, 180_000);
});

test('the engine pushes to a registry on loopback without TLS', async () => {
  const { registry, nodeImage } = await components('registry', 'nodeImage');
  const engine = connectDocker(docker.address);
  const name = `${registry.address}/local/base`;
  await engine.getImage(nodeImage.image).tag({ repo: name, tag: 'test' });
  // The engine wants the header even where the registry wants no credentials.
  const pushed = (await engine.getImage(`${name}:test`).push({ authconfig: {} })) as AsyncIterable<Buffer>;
  let text = '';
  for await (const chunk of pushed) text += chunk.toString();
  expect(text).not.toContain('"error"');
  const { repositories } = (await (await fetch(`${registry.url}/v2/_catalog`)).json()) as { repositories: string[] };
  expect(repositories).toContain('local/base');
  await engine.getImage(`${name}:test`).remove();
}, 120_000);

test('a configured registry that does not answer is named', async () => {
  const installation = scratchInstallation();
  const asking = ensureRegistry(installation.context, { url: 'http://127.0.0.1:1' });
  await expect(asking).rejects.toMatchObject({ type: 'RegistryUnavailable' });
  await expect(asking).rejects.toThrow('http://127.0.0.1:1 does not answer');
  await installation.remove();
});
