import { createHash } from 'node:crypto';
import { randomBytes } from 'node:crypto';
import { createServer, type RequestListener, type Server } from 'node:http';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import Docker from 'dockerode';
import { pack } from 'tar-stream';
import { createDockerBuilder } from '../../../src/providers/builders/docker.ts';
import { createOciRegistry } from '../../../src/providers/registries/oci.ts';
import type { ImagePusher, ImageRegistry } from '../../../src/providers/registries/port.ts';
import { createDockerPusher } from '../../../src/providers/registries/pusher.ts';
import { writeShellContext } from '../../support/buildkit.ts';
import { components } from '../../support/components.ts';
import { createCutProxy } from '../../support/cut-proxy.ts';
import { startEmptyEngine } from '../../support/empty-engine.ts';
import { until } from '../../support/until.ts';

let docker: Docker;
let engine: string;
let address: string;
let registry: ImageRegistry;
let pusher: ImagePusher;
const images: string[] = [];
const signal = new AbortController().signal;
const quiet = { output: () => undefined, moved: () => undefined, signal };

beforeAll(async () => {
  const parts = await components('docker', 'registry');
  engine = parts.docker.address;
  docker = new Docker({ socketPath: engine.replace('unix://', '') });
  address = parts.registry.address;
  registry = createOciRegistry({ address, insecure: true });
  pusher = await createDockerPusher(engine, { address, insecure: true }, registry);
}, 120_000);

afterAll(async () => {
  for (const id of images)
    await docker
      .getImage(id)
      .remove({ force: true })
      .catch(() => undefined);
});

/** An image of one file that nobody has seen before. */
async function makeImage(bytes = 1_000): Promise<string> {
  const tar = pack();
  tar.entry({ name: 'content' }, randomBytes(bytes));
  tar.finalize();
  const stream = await docker.importImage(tar as unknown as NodeJS.ReadableStream);
  let said = '';
  for await (const chunk of stream) said += String(chunk);
  const id = /sha256:[0-9a-f]{64}/.exec(said)![0];
  images.push(id);
  return id;
}

/** A server that is no registry. */
async function standIn(listener: RequestListener): Promise<{ readonly server: Server; readonly address: string }> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, address: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

describe('a push', () => {
  test('is verified by asking the registry', async () => {
    const repository = `${address}/slipway-test/pushed`;
    const id = await makeImage();
    let output = '';
    let moved = 0;
    const digest = await pusher.push({
      id,
      repository,
      tag: '1-abc',
      output: (text) => (output += text),
      moved: () => (moved += 1),
      signal,
    });
    expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(await registry.readManifest(repository, '1-abc')).toMatchObject({ digest });
    expect(await registry.readManifest(repository, digest)).toMatchObject({ digest });
    expect(output).toContain(digest);
    expect(moved).toBeGreaterThan(0);
    // Again is the same.
    await expect(pusher.push({ id, repository, tag: '1-abc', ...quiet })).resolves.toBe(digest);
  });

  test('of what the engine has built comes whole into an empty engine by its digest, and runs there', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'slipway-push-'));
    const emptyEngine = await startEmptyEngine();
    try {
      const dockerfile = `FROM scratch\nCOPY bin /bin\nUSER 1000:1000\nCMD ["/bin/busybox", "echo", "it runs"]\n`;
      writeShellContext(folder, { Dockerfile: dockerfile });
      const builder = await createDockerBuilder(engine);
      const built = await builder.build(
        {
          ...{ name: 'whole', folder, dockerfile: 'Dockerfile', ignore: '', args: {}, labels: {}, platforms: [] },
          ...{ network: 'none', modifiedAt: new Date('2026-11-27T00:00:00Z') },
        },
        quiet,
      );
      images.push(built.id);
      const repository = `${address}/slipway-test/whole`;
      const digest = await pusher.push({ id: built.id, repository, tag: '1', ...quiet });
      const reference = `${repository}@${digest}`;
      expect(await emptyEngine.content()).toEqual([]);
      await emptyEngine.pull(reference, process.arch === 'arm64' ? 'linux/arm64' : 'linux/amd64');
      const { config, blobs } = (await registry.readContent(repository, digest))!;
      // The configuration that was pulled is the image that was built.
      expect(config).toBe(built.id);
      expect([...(await emptyEngine.content())].sort()).toEqual([digest, ...blobs.map((blob) => blob.digest)].sort());
      expect(await emptyEngine.run(reference)).toBe('it runs\n');
      expect(await registry.readUser(repository, digest)).toBe('1000:1000');
      expect(await registry.readUser(repository, `sha256:${'0'.repeat(64)}`)).toBeUndefined();
    } finally {
      await emptyEngine.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  }, 120_000);

  test('of nothing is ImageNotFound', async () => {
    const asked = pusher.push({ id: `sha256:${'0'.repeat(64)}`, repository: `${address}/x`, tag: '1', ...quiet });
    await expect(asked).rejects.toMatchObject({ type: 'ImageNotFound' });
  });

  test('to a registry that is not there is tried again', async () => {
    const gone = { address: '127.0.0.1:1', insecure: true };
    const through = await createDockerPusher(engine, gone, createOciRegistry(gone));
    const abort = AbortSignal.timeout(20_000);
    const asked = through.push({
      id: await makeImage(),
      repository: '127.0.0.1:1/x',
      tag: '1',
      ...quiet,
      signal: abort,
    });
    await expect(asked).rejects.toMatchObject({ type: 'RegistryUnavailable', retryable: true });
  }, 180_000);

  test('that the registry refuses is not', async () => {
    const { server, address: refusing } = await standIn((_, response) => {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="none"' });
      response.end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
    });
    try {
      const there = { address: refusing, insecure: true };
      const through = await createDockerPusher(engine, there, createOciRegistry(there));
      const asked = through.push({ id: await makeImage(), repository: `${refusing}/x`, tag: '1', ...quiet });
      await expect(asked).rejects.toMatchObject({ type: 'RegistryRefused', retryable: false });
    } finally {
      server.close();
    }
  });

  test('that breaks half-way goes on, and then holds', async () => {
    const [host = '', port = ''] = address.split(':');
    const proxy = await createCutProxy({ host, port: Number(port) });
    try {
      const there = { address: proxy.address, insecure: true };
      const through = await createDockerPusher(engine, there, createOciRegistry(there));
      const id = await makeImage(40_000_000);
      let output = '';
      const pushing = through.push({
        id,
        repository: `${proxy.address}/slipway-test/half`,
        tag: '1',
        output: (text) => (output += text),
        moved: () => undefined,
        signal,
      });
      await until(() => proxy.sentBytes() > 1_000_000);
      proxy.cut();
      await until(() => output.includes('Retrying'), { timeoutMs: 60_000 });
      proxy.mend();
      const digest = await pushing;
      expect(await registry.readManifest(`${address}/slipway-test/half`, '1')).toMatchObject({ digest });
    } finally {
      await proxy.close();
    }
  }, 180_000);

  test.each([
    ['received unexpected HTTP status: 503 Service Unavailable', 'RegistryUnavailable'],
    ['Put "http://registry/v2/x": EOF', 'RegistryUnavailable'],
    ['denied: requested access to the resource is denied', 'RegistryRefused'],
    ['unauthorized: authentication required', 'RegistryRefused'],
    ['http: server gave HTTP response to HTTPS client', 'RegistryRefused'],
  ])('that the engine gives up with "%s" is %s', async (message, type) => {
    const { server, address: gaveUp } = await standIn((request, response) => {
      if (request.url?.includes('/push') !== true) {
        response.writeHead(201).end();
        return;
      }
      response.writeHead(200).end(`{"status":"Preparing"}\n{"errorDetail":{"message":${JSON.stringify(message)}}}`);
    });
    try {
      const through = await createDockerPusher(`tcp://${gaveUp}`, { address, insecure: true }, registry);
      const asked = through.push({ id: 'x', repository: `${address}/x`, tag: '1', ...quiet });
      await expect(asked).rejects.toMatchObject({ type, message: expect.stringContaining(message) });
    } finally {
      server.close();
    }
  });

  test('whose stream ends without a digest broke off', async () => {
    const { server, address: cut } = await standIn((request, response) => {
      response.writeHead(request.url?.includes('/push') === true ? 200 : 201).end('{"status":"Preparing"}\n');
    });
    try {
      const through = await createDockerPusher(`tcp://${cut}`, { address, insecure: true }, registry);
      const asked = through.push({ id: 'x', repository: `${address}/x`, tag: '1', ...quiet });
      await expect(asked).rejects.toMatchObject({ type: 'RegistryUnavailable', retryable: true });
    } finally {
      server.close();
    }
  });

  test('whose tag holds something else afterwards is DigestMismatch', async () => {
    const repository = `${address}/slipway-test/mismatch`;
    const id = await makeImage();
    const lying: ImageRegistry = {
      ...registry,
      readManifest: () => Promise.resolve({ digest: `sha256:${'f'.repeat(64)}`, mediaType: '', sizeBytes: 1 }),
    };
    const through = await createDockerPusher(engine, { address, insecure: true }, lying);
    await expect(through.push({ id, repository, tag: '1', ...quiet })).rejects.toMatchObject({
      type: 'DigestMismatch',
      retryable: false,
    });
  });
});

describe('a manifest', () => {
  test('gets one more tag without being pushed again', async () => {
    const repository = `${address}/slipway-test/tagged`;
    const digest = await pusher.push({ id: await makeImage(), repository, tag: '1', ...quiet });
    await registry.ensureTag(repository, digest, 'latest');
    await registry.ensureTag(repository, digest, 'latest');
    expect(await registry.readManifest(repository, 'latest')).toMatchObject({ digest });
    expect([...(await registry.listTags(repository))].sort()).toEqual(['1', 'latest']);
  });

  test('that is not there is undefined, and cannot be tagged', async () => {
    const repository = `${address}/slipway-test/none`;
    expect(await registry.readManifest(repository, '1')).toBeUndefined();
    expect(await registry.listTags(repository)).toEqual([]);
    await expect(registry.ensureTag(repository, `sha256:${'0'.repeat(64)}`, '1')).rejects.toMatchObject({
      type: 'ImageNotFound',
    });
  });

  test('is fetched with all that it names, and each part counted over', async () => {
    const repository = `${address}/slipway-test/content`;
    const digest = await pusher.push({ id: await makeImage(), repository, tag: '1', ...quiet });
    const content = await registry.readContent(repository, '1');
    expect(content).toMatchObject({ digest, manifests: [] });
    expect(content?.blobs.map((blob) => blob.digest)).toContain(content?.config);
    const { blobs, bytes } = await registry.verifyContent(repository, digest, {});
    expect(blobs).toBe((content?.blobs.length ?? 0) + 1);
    expect(bytes).toBe((content?.blobs ?? []).reduce((sum, each) => sum + each.sizeBytes, content?.sizeBytes ?? 0));
    await expect(registry.verifyContent(repository, `sha256:${'0'.repeat(64)}`, {})).rejects.toMatchObject({
      type: 'ImageNotFound',
    });
  });

  test('whose parts are not what their names say is refused', async () => {
    const layer = Buffer.from('a layer');
    const named = (text: Buffer): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;
    const body = Buffer.from(
      JSON.stringify({ schemaVersion: 2, config: { digest: named(layer), size: layer.length }, layers: [] }),
    );
    let given: Buffer = layer;
    const { server, address: lying } = await standIn((request, response) => {
      response.writeHead(200).end(request.url?.includes('/manifests/') === true ? body : given);
    });
    try {
      const known = createOciRegistry({ address: lying, insecure: true });
      expect(await known.verifyContent(`${lying}/x`, named(body), {})).toMatchObject({ blobs: 2 });
      given = Buffer.from('another');
      await expect(known.verifyContent(`${lying}/x`, named(body), {})).rejects.toMatchObject({
        type: 'DigestMismatch',
      });
      await expect(known.readContent(`${lying}/x`, named(layer))).rejects.toMatchObject({ type: 'DigestMismatch' });
    } finally {
      server.close();
    }
  });

  test('is deleted by its digest, and again is no error', async () => {
    const repository = `${address}/slipway-test/deleted`;
    const digest = await pusher.push({ id: await makeImage(), repository, tag: '1', ...quiet });
    for (let times = 0; times < 2; times += 1) await registry.deleteManifest(repository, digest);
    expect(await registry.readManifest(repository, '1')).toBeUndefined();
  });
});

describe('a list of tags', () => {
  async function tagsOf(pages: (page: number) => { readonly status?: number; readonly more?: boolean }) {
    const { server, address: listing } = await standIn((request, response) => {
      const page = Number(new URL(request.url ?? '', 'http://x').searchParams.get('last') ?? 0);
      const { status = 200, more = false } = pages(page);
      const link = `</v2/x/tags/list?n=1000&last=${page + 1}>; rel="next"`;
      response.writeHead(status, more ? { link } : {}).end(JSON.stringify({ tags: [`t${page}`] }));
    });
    try {
      return await createOciRegistry({ address: listing, insecure: true }).listTags(`${listing}/x`);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  }

  test('comes page by page, to its end', async () => {
    expect(await tagsOf((page) => ({ more: page < 150 }))).toHaveLength(151);
  });

  test('is never a part of one: without end it is refused, and one that breaks off is asked for again', async () => {
    await expect(tagsOf(() => ({ more: true }))).rejects.toMatchObject({
      type: 'TooLarge',
      retryable: false,
      message: expect.stringContaining('nothing of it is removed') as unknown,
    });
    await expect(tagsOf((page) => (page < 2 ? { more: true } : { status: 404 }))).rejects.toMatchObject({
      type: 'RegistryUnavailable',
    });
    expect(await tagsOf(() => ({ status: 404 }))).toEqual([]);
  });
});

describe('credentials', () => {
  const credentials = { username: 'bot', password: 'pa55' };
  const basic = `Basic ${Buffer.from('bot:pa55').toString('base64')}`;
  const digest = `sha256:${'a'.repeat(64)}`;

  test('are given when the registry asks for a password', async () => {
    const { server, address: guarded } = await standIn((request, response) => {
      const allowed = request.headers.authorization === basic;
      response.writeHead(allowed ? 200 : 401, {
        'www-authenticate': 'Basic realm="registry"',
        'docker-content-digest': digest,
      });
      response.end();
    });
    try {
      const known = createOciRegistry({
        address: guarded,
        insecure: true,
        credentials: { address: guarded, ...credentials },
      });
      expect(await known.readManifest(`${guarded}/x`, '1')).toMatchObject({ digest });
      const unknown = createOciRegistry({ address: guarded, insecure: true });
      await expect(unknown.readManifest(`${guarded}/x`, '1')).rejects.toMatchObject({ type: 'RegistryRefused' });
    } finally {
      server.close();
    }
  });

  test('buy a token where the registry wants one, and a new one when it is over', async () => {
    let given = 0;
    const { server, address: guarded } = await standIn((request, response) => {
      if (request.url?.startsWith('/token')) {
        const asked = new URL(request.url, 'http://x').searchParams;
        const right = request.headers.authorization === basic && asked.get('scope') === 'repository:x:pull';
        given += 1;
        response.writeHead(right ? 200 : 401).end(JSON.stringify({ token: `t${given}` }));
        return;
      }
      // Each token is good for two requests.
      const allowed = request.headers.authorization === `Bearer t${given}`;
      response.writeHead(allowed ? 200 : 401, {
        'www-authenticate': `Bearer realm="http://${request.headers.host}/token",service="s",scope="repository:x:pull"`,
        'docker-content-digest': digest,
      });
      response.end();
    });
    try {
      const known = createOciRegistry({
        address: guarded,
        insecure: true,
        credentials: { address: guarded, ...credentials },
      });
      expect(await known.readManifest(`${guarded}/x`, '1')).toMatchObject({ digest });
      expect(await known.readManifest(`${guarded}/x`, '1')).toMatchObject({ digest });
      expect(given).toBe(1);
      given = 5;
      expect(await known.readManifest(`${guarded}/x`, '1')).toMatchObject({ digest });
      expect(given).toBe(6);
    } finally {
      server.close();
    }
  });

  test('are in no message', async () => {
    const { server, address: broken } = await standIn((_, response) => response.writeHead(500).end('no'));
    try {
      const known = createOciRegistry({
        address: broken,
        insecure: true,
        credentials: { address: broken, ...credentials },
      });
      const error: unknown = await known.readManifest(`${broken}/x`, '1').catch((reason: unknown) => reason);
      expect(error).toMatchObject({ type: 'RegistryUnavailable', retryable: true });
      expect(JSON.stringify([error, String(error)])).not.toMatch(/pa55|Basic/);
    } finally {
      server.close();
    }
  });
});
