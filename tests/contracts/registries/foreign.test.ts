import { createHash } from 'node:crypto';
import { type Server, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createForeignRegistry, registryOrigin } from '../../../src/providers/registries/foreign.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const path = '/v2/team/base/manifests/1';
let server: Server;
let address: string;
let asked: { readonly line: string; readonly authorization: string | undefined }[];
let answer: (
  path: string,
  authorization: string | undefined,
) =>
  { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string | Buffer } | undefined;

beforeEach(async () => {
  asked = [];
  answer = () => ({ status: 200, headers: { 'docker-content-digest': digest, 'content-type': 'application/x' } });
  server = createServer((request, response) => {
    const { authorization } = request.headers;
    asked.push({ line: `${request.method ?? ''} ${request.url ?? ''}`, authorization });
    const { status, headers, body } = answer(request.url ?? '', authorization) ?? {};
    if (status !== undefined) response.writeHead(status, headers).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

/** As project.yaml names it. */
function listed(password?: string) {
  return createForeignRegistry({
    ...{ address, insecure: true, isKnown: (origin) => origin === `http://${address}` },
    ...(password === undefined ? {} : { credentials: { address, username: 'ada', password } }),
  });
}
const read = (registry = listed()) => registry.readManifest(`${address}/team/base`, '1');
const challenge = (realm: string): Record<string, string> => ({
  'www-authenticate': `Bearer realm="${realm}",service="registry",scope="repository:team/base:pull"`,
});

test.each([
  ['docker.io', 'https://registry-1.docker.io'],
  ['ghcr.io', 'https://ghcr.io'],
  ['registry.example.com:5000', 'https://registry.example.com:5000'],
])('%s answers at %s', (name, origin) => {
  expect(registryOrigin({ address: name, insecure: false })).toBe(origin);
});

describe('a registry that nobody has named but a Dockerfile', () => {
  test.each([
    '127.0.0.1:1234',
    'localhost:1234',
    '10.0.0.5',
    '169.254.169.254',
    '0.0.0.0:80',
    '192.168.1.1:5000',
    '[::1]:80',
  ])('is not asked at %s', async (host) => {
    const registry = createForeignRegistry({ address: host, insecure: false, isKnown: () => false });
    await expect(registry.readManifest(`${host}/team/base`, '1')).rejects.toMatchObject({
      type: 'RegistryRefused',
      message: expect.stringContaining('private network'),
    });
  });

  test('is not asked where its name means this machine, or without TLS', async () => {
    const registry = createForeignRegistry({
      ...{ address: 'registry.example', insecure: false, isKnown: () => false },
      lookup: (_name, _options, done) => done(null, [{ address: '127.0.0.1', family: 4 }]),
    });
    await expect(registry.readManifest('registry.example/x', '1')).rejects.toMatchObject({ type: 'RegistryRefused' });
    const plain = createForeignRegistry({ address, insecure: true, isKnown: () => false });
    await expect(read(plain)).rejects.toMatchObject({ message: expect.stringContaining('without TLS') });
    expect(asked).toEqual([]);
  });
});

describe('one that project.yaml names', () => {
  test('is asked for the digest of a tag', async () => {
    expect(await read()).toEqual({ digest, mediaType: 'application/x', sizeBytes: 0 });
    expect(asked).toEqual([{ line: `HEAD ${path}`, authorization: undefined }]);
    answer = () => ({ status: 404 });
    expect(await read()).toBeUndefined();
  });

  test('has a token bought at the place that it says', async () => {
    answer = (at, authorization) => {
      if (at.startsWith('/token')) return { status: 200, body: '{"token":"t0"}' };
      if (authorization === 'Bearer t0') return { status: 200, headers: { 'docker-content-digest': digest } };
      return { status: 401, headers: challenge(`http://${address}/token`) };
    };
    expect(await read(listed('hunter2'))).toMatchObject({ digest });
    const basic = `Basic ${Buffer.from('ada:hunter2').toString('base64')}`;
    expect(asked.map(({ line, authorization }) => [line.split('?')[0], authorization])).toEqual([
      [`HEAD ${path}`, undefined],
      ['GET /token', basic],
      [`HEAD ${path}`, 'Bearer t0'],
    ]);
    expect(asked[1]?.line).toContain('service=registry&scope=repository%3Ateam%2Fbase%3Apull');
  });

  test.each([
    ['http://169.254.169.254/token', 'without TLS'],
    ['https://127.0.0.1:8443/token', 'private network'],
    ['https://localhost/token', 'private network'],
    ['https://ada:secret@example.com/token', 'holds a password'],
  ])('has no token bought at %s', async (realm, why) => {
    answer = () => ({ status: 401, headers: challenge(realm) });
    await expect(read(listed('hunter2'))).rejects.toMatchObject({
      type: 'RegistryRefused',
      message: expect.stringContaining(why),
    });
  });

  test.each(['http://10.0.0.1/x', 'https://10.0.0.1/x', 'file:///etc/passwd'])(
    'is not followed to %s',
    async (location) => {
      answer = () => ({ status: 307, headers: { location } });
      await expect(read()).rejects.toMatchObject({ type: 'RegistryRefused' });
    },
  );

  test('that gives out a token without end is refused', async () => {
    answer = (at) =>
      at.startsWith('/token')
        ? { status: 200, body: Buffer.alloc(300 * 1024, ' ') }
        : { status: 401, headers: challenge(`http://${address}/token`) };
    await expect(read()).rejects.toMatchObject({
      type: 'RegistryRefused',
      message: expect.stringContaining('more than'),
    });
  });

  test.each(['', 'sha256:abc', `${digest} AS x`, `sha512:${'a'.repeat(128)}`])('has no digest in %j', async (given) => {
    answer = () => ({ status: 200, headers: { 'docker-content-digest': given } });
    await expect(read()).rejects.toMatchObject({
      type: 'RegistryRefused',
      message: expect.stringContaining('no digest'),
    });
  });

  test.each([
    [{ status: 401 }, 'RegistryRefused'],
    [{ status: 403 }, 'RegistryRefused'],
    [{ status: 429 }, 'RegistryUnavailable'],
    [{ status: 503 }, 'RegistryUnavailable'],
  ])('that answers %j is %s', async (given, type) => {
    answer = () => given;
    await expect(read()).rejects.toMatchObject({ type });
  });
});

describe('the content of one', () => {
  const sum = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;
  const content = (registry = listed()) => registry.readContent(`${address}/team/base`, '1');
  const platforms = (of: string) => listed().readPlatforms(`${address}/team/base`, of);
  const layer = { digest, size: 7 };

  test('is told by what it is, whatever its headers say', async () => {
    const body = JSON.stringify({ config: layer, layers: [layer] });
    answer = () => ({ status: 200, headers: { 'docker-content-digest': digest }, body });
    const blob = { digest, sizeBytes: 7 };
    expect(await content()).toMatchObject({ digest: sum(body), config: digest, blobs: [blob, blob], manifests: [] });
    answer = () => ({ status: 404 });
    expect(await content()).toBeUndefined();
  });

  test('names the platforms of a list, or the one of its configuration; names that are none are left out', async () => {
    const amd = { os: 'linux', architecture: 'amd64' };
    const list = JSON.stringify({
      manifests: [
        { ...layer, platform: amd },
        { ...layer, platform: { os: 'unknown', architecture: 'unknown' } },
        { ...layer, platform: { os: 'linux', architecture: 'x\ny' } },
      ],
    });
    answer = () => ({ status: 200, body: list });
    expect(await platforms(sum(list))).toEqual([{ platform: 'linux/amd64', digest }]);
    const config = JSON.stringify({ ...amd, history: [] });
    const single = JSON.stringify({ config: { digest: sum(config), size: 1 } });
    answer = (at) => ({ status: 200, body: at.includes('/blobs/') ? config : single });
    expect(await platforms(sum(single))).toEqual([{ platform: 'linux/amd64', digest: sum(single) }]);
    answer = (at) => ({ status: 200, body: at.includes('/blobs/') ? `${config} ` : single });
    await expect(platforms(sum(single))).rejects.toMatchObject({ type: 'DigestMismatch' });
    await expect(platforms(digest)).rejects.toMatchObject({ type: 'DigestMismatch' });
  });

  test.each(['no JSON', '[]', '{"layers":"many"}', '{"config":{"digest":"../../etc","size":1}}'])(
    'that is %j is refused, without a word of it',
    async (body) => {
      answer = () => ({ status: 200, body });
      await expect(content()).rejects.toMatchObject({ type: 'RegistryRefused' });
    },
  );

  test('without end is refused', async () => {
    answer = () => ({ status: 200, body: Buffer.alloc(5 * 1024 * 1024, ' ') });
    await expect(content()).rejects.toMatchObject({ message: expect.stringContaining('more than') });
  });

  test('is asked for with a token where it wants one', async () => {
    answer = (at, authorization) => {
      if (at.startsWith('/token')) return { status: 200, body: '{"token":"t0"}' };
      if (authorization === 'Bearer t0') return { status: 200, body: '{}' };
      return { status: 401, headers: challenge(`http://${address}/token`) };
    };
    expect(await content()).toMatchObject({ blobs: [] });
    answer = () => ({ status: 401, headers: challenge('http://169.254.169.254/token') });
    await expect(content()).rejects.toMatchObject({ type: 'RegistryRefused' });
  });
});
