import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { scratchFolder } from '../../src/effects/scratch.ts';
import {
  type BuildKitDaemon,
  type LayoutBuilder,
  createBuildKitDaemonBuilder,
} from '../../src/providers/builders/buildkit-daemon.ts';
import type { BuildProgress, BuildRequest } from '../../src/providers/builders/port.ts';
import { createLayoutPusher } from '../../src/providers/registries/layout-pusher.ts';
import { createOciRegistry } from '../../src/providers/registries/oci.ts';
import type { ImagePusher, ImageRegistry, RegistryAddress } from '../../src/providers/registries/port.ts';
import { describeBuilder } from '../contracts/builders/suite.ts';
import { type TestBuildKit, startBuildKit, writeShellContext } from '../support/buildkit.ts';
import { components } from '../support/components.ts';
import { toolPath } from '../support/supply-chain.ts';
import { until } from '../support/until.ts';

let daemon: TestBuildKit;
let address: RegistryAddress;
let registry: ImageRegistry;
let builder: LayoutBuilder;
let pusher: ImagePusher;
let buildx: string;
let folder: string;
let said = '';
/** Nobody else's repositories. */
const own = `slipway-platforms-${process.pid}`;
const both = ['linux/amd64', 'linux/arm64'];

beforeAll(async () => {
  const parts = await components('registry');
  buildx = await toolPath('buildx');
  daemon = await startBuildKit();
  address = { address: parts.registry.address, insecure: true };
  registry = createOciRegistry(address);
  folder = mkdtempSync(join(tmpdir(), 'slipway-platforms-'));
  builder = builderOf(daemon, 'images');
  pusher = createLayoutPusher((digest) => builder.readImage(digest), registry);
  await pushBase();
}, 900_000);

afterAll(async () => {
  await daemon.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** No build here is of a stranger. */
function nobodyElse(address: string): never {
  throw new Error(`nobody asks ${address} here`);
}

function builderOf({ address: at }: Pick<TestBuildKit, 'address'>, name: string): LayoutBuilder {
  return createBuildKitDaemonBuilder({
    daemon: { address: at },
    folder: join(folder, name),
    registry: address,
    openRegistry: createOciRegistry,
    openForeign: nobodyElse,
    program: () => Promise.resolve(buildx),
  });
}

function named(name: string): string {
  return `${address.address}/${own}/${name}`;
}

function request(
  dockerfile: string,
  more: Partial<BuildRequest> = {},
  files: Readonly<Record<string, string>> = { hello: 'hello\n' },
): BuildRequest {
  const context = mkdtempSync(join(folder, 'context-'));
  writeShellContext(context, { Dockerfile: dockerfile, ...files });
  return {
    name: 'app',
    folder: context,
    dockerfile: 'Dockerfile',
    ignore: '',
    args: {},
    labels: { 'slipway.image': 'app', 'slipway.build-key': 'k' },
    platforms: [],
    network: 'default',
    modifiedAt: new Date('2026-11-25T00:00:00Z'),
    registry: address,
    ...more,
  };
}

function progress(signal = new AbortController().signal): BuildProgress {
  said = '';
  return { output: (text) => void (said += text), moved: () => undefined, signal };
}

describeBuilder('a BuildKit daemon', async () => {
  const parts = await components('registry');
  const own = await startBuildKit();
  const at = { address: parts.registry.address, insecure: true };
  const place = mkdtempSync(join(tmpdir(), 'slipway-daemon-'));
  const program = await toolPath('buildx');
  const through = (path: string): LayoutBuilder =>
    createBuildKitDaemonBuilder({
      daemon: { address: `unix://${path}` },
      folder: join(place, 'images'),
      registry: at,
      openRegistry: createOciRegistry,
      openForeign: nobodyElse,
      program: () => Promise.resolve(program),
    });
  const socket = own.address.replace('unix://', '');
  const builder = through(socket);
  const base = `${at.address}/slipway-daemon-${process.pid}/base`;
  await pushShell(builder, base, at);
  return {
    builder,
    base: `${base}:1`,
    request: { labels: { 'slipway.test': `daemon-suite-${process.pid}` }, network: 'none', registry: at },
    socket,
    through: (path) => Promise.resolve(through(path)),
    async stop() {
      await own.stop();
      rmSync(place, { recursive: true, force: true });
    },
  };
});

/** `<own>/base:1`, for the platform of this machine alone: a shell. */
async function pushBase(): Promise<void> {
  await pushShell(builder, named('base'), address);
}

async function pushShell(by: LayoutBuilder, repository: string, to: RegistryAddress): Promise<void> {
  const dockerfile = 'FROM scratch\nCOPY bin/busybox /bin/sh\nCOPY bin/busybox /bin/busybox\nENV PATH=/bin\n';
  const built = await by.build(
    request(dockerfile, { name: 'base', registry: to, labels: { 'slipway.image': 'base' } }),
    progress(),
  );
  const shell = createLayoutPusher((digest) => by.readImage(digest), createOciRegistry(to));
  await shell.push({ id: built.id, repository, tag: '1', ...progress() });
}

const fromBase = (): string => `FROM ${named('base')}:1\n`;
const onlyCopies = 'FROM scratch\nCOPY hello /hello\nUSER 1000\nCMD ["/hello"]\n';

describe('a BuildKit daemon', () => {
  test('builds one image for two platforms, of which nobody has anything before the push', async () => {
    const before = await registry.listTags(named('two'));
    const built = await builder.build(request(onlyCopies, { platforms: both }), progress());
    expect(built.platforms?.map(({ platform }) => platform).sort()).toEqual(both);
    expect(built.platforms?.map(({ user }) => user)).toEqual(['1000', '1000']);
    expect(new Set(built.platforms?.map(({ digest }) => digest)).size).toBe(2);
    expect(built.labels).toMatchObject({ 'slipway.build-key': 'k' });
    expect(before).toEqual([]);
    expect(await registry.readManifest(named('two'), built.id)).toBeUndefined();
    expect(await builder.list({ 'slipway.build-key': 'k' })).toMatchObject([{ id: built.id }]);
    expect(await builder.list({ 'slipway.build-key': 'other' })).toEqual([]);

    const pushed = await pusher.push({ id: built.id, repository: named('two'), tag: '1-abc', ...progress() });
    expect(pushed).toBe(built.id);
    expect(await registry.readManifest(named('two'), '1-abc')).toMatchObject({ digest: built.id });
    const platforms = await registry.readPlatforms(named('two'), built.id);
    expect(platforms.map(({ platform }) => platform).sort()).toEqual(both);
    expect(platforms.map(({ digest }) => digest)).toEqual(built.platforms?.map(({ digest }) => digest));
    // One manifest of each, its configuration and its one layer, and the list.
    const { blobs } = await registry.verifyContent(named('two'), built.id, {});
    expect(blobs).toBe(1 + both.length * 3);
  }, 120_000);

  test('sends nothing again that the registry has, and fetches what it pushed', async () => {
    const built = await builder.build(request(onlyCopies, { platforms: both }), progress());
    await pusher.push({ id: built.id, repository: named('again'), tag: 'a', ...progress() });
    expect(said).toContain(': pushed');
    await pusher.push({ id: built.id, repository: named('again'), tag: 'b', ...progress() });
    expect(said).not.toContain(': pushed');
    expect(said).toContain('is there already');

    const other = builderOf(daemon, 'elsewhere');
    const fetched = await other.fetchImage({ name: 'app', repository: named('again'), digest: built.id }, progress());
    expect(fetched).toEqual({ ...built, warnings: undefined });
    expect(await other.readLayers(built.id, 'linux/arm64')).toMatchObject({ user: '1000', count: 1 });
  }, 120_000);

  test('gives each platform as a layout of its own', async () => {
    const built = await builder.build(request(onlyCopies, { platforms: both }), progress());
    const to = mkdtempSync(join(folder, 'saved-'));
    const saved = await builder.save(built.id, to, progress());
    expect(saved.map(({ platform, form }) => [platform, form])).toEqual(
      built.platforms?.map(({ platform }) => [platform, 'oci-dir']),
    );
    for (const [index, { path }] of saved.entries()) {
      const { manifests } = JSON.parse(readFileSync(join(path, 'index.json'), 'utf8')) as {
        readonly manifests: readonly { readonly digest: string }[];
      };
      expect(manifests.map(({ digest }) => digest)).toEqual([built.platforms?.[index]?.digest]);
    }
  }, 60_000);

  test('builds on the digest that was resolved, whatever the tag is by then', async () => {
    const name = named('moving');
    const make = async (text: string): Promise<string> => {
      const built = await builder.build(
        request('FROM scratch\nCOPY hello /hello\n', { name: 'base' }, { hello: text }),
        progress(),
      );
      await pusher.push({ id: built.id, repository: name, tag: '1', ...progress() });
      return built.id;
    };
    const first = await make('one');
    const bases = await builder.resolve([`${name}:1`], progress());
    expect(bases).toEqual({ [`${name}:1`]: first });
    const second = await make('two');
    expect(second).not.toBe(first);
    const built = await builder.build(request(`FROM ${name}:1\nCOPY hello /own\n`, { bases }), progress());
    const base = await registry.readContent(name, first);
    const made = await builder.readImage(built.id);
    expect(made?.images[0]?.blobs.map(({ digest }) => digest)).toContain(base?.blobs.at(-1)?.digest);
  }, 120_000);

  test('refuses a base that is not for a platform, unless it is said to be taken from another one', async () => {
    const base = `${named('base')}:1`;
    const [here] = await registry.readPlatforms(
      named('base'),
      (await registry.readManifest(named('base'), '1'))!.digest,
    );
    const platforms = ['linux/s390x', here!.platform];
    await expect(builder.resolve([base], { ...progress(), platforms })).rejects.toMatchObject({
      type: 'BuildFailed',
      message: `the base image ${base} has nothing for linux/s390x, only for ${here!.platform}`,
    });
    await expect(builder.resolve([base], { ...progress(), platforms, anyPlatform: [base] })).resolves.toHaveProperty([
      base,
    ]);
    await expect(builder.resolve([`${named('nothing')}:1`], progress())).rejects.toMatchObject({
      type: 'BuildFailed',
      message: expect.stringContaining('cannot be had'),
    });
  }, 60_000);

  test('ends with the last lines of what failed and its place in the Dockerfile', async () => {
    const failing = request(`${fromBase()}RUN echo this is why >&2; exit 4\n`);
    const error: unknown = await builder.build(failing, progress()).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      type: 'BuildFailed',
      retryable: false,
      message: expect.stringContaining('exit code: 4'),
      details: {
        image: 'app',
        lastLines: expect.arrayContaining(['this is why', expect.stringContaining('>>> RUN echo this is why')]),
      },
    });
    expect(await builder.readImage('sha256:none')).toBeUndefined();
    expect(readdirSync(join(folder, 'images')).filter((name) => name.endsWith('.new'))).toEqual([]);
  }, 60_000);

  test('mounts secrets and keys by name, and nothing of them is said', async () => {
    const secret = 's3cr3t-of-the-build';
    const dockerfile = `${fromBase()}RUN --mount=type=secret,id=TOKEN --mount=type=ssh,id=deploy cat /run/secrets/TOKEN; test -S "$SSH_AUTH_SOCK" && echo there is an agent\n`;
    const agent = await startAgent();
    try {
      const mounts = { secrets: { TOKEN: secret }, ssh: { deploy: { socket: agent.socket } } };
      await builder.build(request(dockerfile, mounts), progress());
    } finally {
      agent.stop();
    }
    expect(said).toContain('there is an agent');
    expect(said).toContain('***');
    expect(said).not.toContain(secret);
    expect(said).not.toContain(Buffer.from(secret).toString('base64').slice(0, 20));
    // Nobody gave one: the mount is not there.
    const without = request(`${fromBase()}RUN --mount=type=ssh,id=deploy,required=true true\n`);
    await expect(builder.build(without, progress())).rejects.toMatchObject({ type: 'BuildFailed' });
  }, 120_000);

  test('takes the layers that another daemon has kept in a registry', async () => {
    const place = `${named('cache')}:app`;
    const dockerfile = `${fromBase()}RUN echo slowly made > /made\n`;
    const exporting = request(dockerfile, { caches: { import: [], export: { place }, mode: 'max' } });
    const first = await builder.build(exporting, progress());
    expect(first.warnings).toEqual([]);
    const fresh = await startBuildKit();
    try {
      const other = builderOf(fresh, 'fresh');
      const importing = request(dockerfile, { caches: { import: [place], mode: 'min' } });
      const second = await other.build(importing, progress());
      expect(said).toMatch(/#(\d+) \[2\/2\] RUN echo slowly[^]*#\1 CACHED/);
      expect(second.warnings).toEqual([]);
    } finally {
      await fresh.stop();
    }
  }, 180_000);

  test('warns of caches that cannot be read or written, and builds', async () => {
    const nobody = '127.0.0.1:9/nobody/cache:app';
    const caches = { import: [nobody], export: { place: nobody }, mode: 'min' } as const;
    const built = await builder.build(request(onlyCopies, { platforms: both, caches }), progress());
    expect(built.platforms).toHaveLength(2);
    expect(built.warnings).toEqual([
      expect.stringMatching(/^the cache 127\.0\.0\.1:9\/nobody\/cache:app could not be read: /),
      expect.stringMatching(/^the cache 127\.0\.0\.1:9\/nobody\/cache:app could not be written: /),
    ]);
  }, 60_000);

  test('stops within three seconds when it is called off, and leaves nothing', async () => {
    const stop = new AbortController();
    const building = builder
      .build(request(`${fromBase()}RUN echo begun; sleep 61\n`, { name: 'stopped' }), progress(stop.signal))
      .catch((error: unknown) => error);
    await until(() => /#\d+ begun/.test(said));
    const began = performance.now();
    stop.abort(new Error('called off'));
    expect(await building).toMatchObject({ message: 'called off' });
    expect(performance.now() - began).toBeLessThan(3_000);
    expect(readdirSync(scratchFolder()).filter((name) => name.startsWith('buildkit-'))).toEqual([]);
    expect(readdirSync(join(folder, 'images')).filter((name) => name.startsWith('stopped'))).toEqual([]);
  }, 60_000);

  test('is tried again when it goes away in the middle, and when it is not there', async () => {
    const mortal = await startBuildKit();
    const other = builderOf(mortal, 'mortal');
    const building = other
      .build(request(`${fromBase()}RUN echo begun; sleep 61\n`), progress())
      .catch((error: unknown) => error);
    await until(() => /#\d+ begun/.test(said));
    await mortal.kill();
    expect(await building).toMatchObject({ type: 'BuildInterrupted', retryable: true });
    const away: unknown = await other.build(request(onlyCopies), progress()).catch((error: unknown) => error);
    expect(away).toMatchObject({
      type: 'EngineUnavailable',
      retryable: true,
      message: expect.stringContaining(`the BuildKit daemon at ${mortal.address} does not answer`),
    });
    await mortal.stop();
  }, 120_000);
});

describe('a BuildKit daemon over a network', () => {
  test('is spoken to with the keys of the worker, and with no others', async () => {
    const own = makeKeys('own');
    const stranger = makeKeys('stranger');
    const port = await freePort();
    const remote = await startBuildKit([
      ...['--addr', `tcp://127.0.0.1:${port}`, '--tlscacert', own.files.ca],
      ...['--tlscert', own.files.server, '--tlskey', own.files.key],
    ]);
    const through = (tls: BuildKitDaemon['tls']): LayoutBuilder =>
      createBuildKitDaemonBuilder({
        daemon: { address: `tcp://127.0.0.1:${port}`, tls },
        folder: join(folder, 'remote'),
        registry: address,
        openRegistry: createOciRegistry,
        openForeign: nobodyElse,
        program: () => Promise.resolve(buildx),
      });
    try {
      const built = await through(own.shown).build(request(onlyCopies, { platforms: both }), progress());
      expect(built.platforms).toHaveLength(2);
      const refused: unknown = await through(stranger.shown)
        .build(request(onlyCopies), progress())
        .catch((error: unknown) => error);
      expect(refused).toMatchObject({ type: 'EngineUnavailable' });
    } finally {
      await remote.stop();
    }
    expect(readdirSync(scratchFolder()).filter((name) => name.startsWith('buildkit-'))).toEqual([]);
  }, 120_000);
});

interface Keys {
  readonly files: { readonly ca: string; readonly server: string; readonly key: string };
  readonly shown: { readonly ca: string; readonly certificate: string; readonly key: string };
}

/** A certificate for both ends, signed by an authority of its own. */
function makeKeys(name: string): Keys {
  const at = (file: string): string => join(folder, `${name}-${file}`);
  const openssl = (...args: readonly string[]): unknown => execFileSync('openssl', args, { stdio: 'ignore' });
  const fresh = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl(
    'req',
    '-x509',
    ...fresh,
    '-keyout',
    at('ca.key'),
    '-out',
    at('ca.pem'),
    '-days',
    '1',
    '-subj',
    `/CN=${name}`,
  );
  openssl('req', ...fresh, '-keyout', at('key.pem'), '-out', at('csr.pem'), '-subj', '/CN=slipway');
  writeFileSync(at('ext.cnf'), 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n');
  const by = ['-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-extfile', at('ext.cnf')];
  openssl('x509', '-req', '-in', at('csr.pem'), ...by, '-out', at('cert.pem'), '-days', '1');
  const read = (file: string): string => readFileSync(at(file), 'utf8');
  return {
    files: { ca: at('ca.pem'), server: at('cert.pem'), key: at('key.pem') },
    shown: { ca: read('ca.pem'), certificate: read('cert.pem'), key: read('key.pem') },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

async function startAgent(): Promise<{ readonly socket: string; stop(): void }> {
  const at = mkdtempSync(join(tmpdir(), 'slipway-agent-'));
  mkdirSync(at, { recursive: true });
  const socket = join(at, 'agent.sock');
  const child = spawn('ssh-agent', ['-D', '-a', socket], { stdio: 'ignore' });
  await until(() => readdirSync(at).length > 0, { what: 'an agent' });
  return {
    socket,
    stop() {
      child.kill();
      rmSync(at, { recursive: true, force: true });
    },
  };
}
