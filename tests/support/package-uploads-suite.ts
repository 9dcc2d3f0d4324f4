import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { PackageKind } from '../../src/domain/packages.ts';
import { packageUploads } from '../../src/providers/package-uploads/index.ts';
import type { IndexLogin, PackageUploadOptions, ReadPackage } from '../../src/providers/package-uploads/port.ts';
import { publishPackage } from '../../src/providers/package-uploads/publish.ts';
import { type Identity, type MadePackage, packageOf } from './packages.ts';
import type { UploadProxy } from './upload-proxy.ts';

/** What somebody gets who installs from a registry of npm. */
export async function installNpm(registry: string, { name, version }: ReadPackage): Promise<Buffer | undefined> {
  const answer = await fetch(`${registry}/${name.replace('/', '%2f')}`);
  if (answer.status === 404) return undefined;
  const { versions } = (await answer.json()) as { versions: Record<string, { dist: { tarball: string } } | undefined> };
  const tarball = versions[version]?.dist.tarball;
  return tarball === undefined ? undefined : await download(new URL(new URL(tarball).pathname, registry));
}

/** What somebody gets who installs from a simple index. */
export async function installPython(simple: string, { name, file }: ReadPackage): Promise<Buffer | undefined> {
  const page = `${simple}/${name.toLowerCase().replaceAll(/[-_.]+/g, '-')}/`;
  const answer = await fetch(page, { headers: { accept: 'text/html' } });
  if (answer.status === 404) return undefined;
  const text = await answer.text();
  const href = new RegExp(`"([^"]*${file.replaceAll(/[.+]/g, '\\$&')})[#"]`).exec(text)?.[1];
  return href === undefined ? undefined : await download(new URL(href, page));
}

async function download(address: URL): Promise<Buffer> {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address.href}: ${answer.status}`);
  return Buffer.from(await answer.arrayBuffer());
}

/** An index that this test alone has, with a proxy before it. */
export interface IndexUnderTest {
  readonly kind: PackageKind;
  /** Through the proxy. */
  readonly address: Pick<PackageUploadOptions, 'url' | 'simple'>;
  readonly login: IndexLogin;
  readonly proxy: UploadProxy;
  /** What whoever installs it gets, asked without any of Slipway's code. */
  install(read: ReadPackage): Promise<Buffer | undefined>;
  close(): Promise<void>;
}

const never = new AbortController().signal;
/** Long enough for an index that shows at once what it took. */
const visibleMs = 10_000;

/** What holds for every index of packages, whoever made it. */
export function packageUploadsSuite(
  name: string,
  start: () => Promise<IndexUnderTest>,
  make: (kind: PackageKind, identity: Identity) => Promise<MadePackage> = packageOf,
): void {
  describe(`publishing to ${name}`, () => {
    let index: IndexUnderTest;
    let made = 0;
    beforeAll(async () => {
      index = await start();
    }, 120_000);
    afterAll(() => index.close());

    const wrong = { kind: 'token', token: 'a-wrong-token-of-somebody-3b1c' } as const;
    const fresh = (): string => `slipway-test-${(made += 1)}`;

    async function read(name: string, body?: string, version = '1.0.0'): Promise<ReadPackage> {
      const { file, content } = await make(index.kind, { name, version, ...(body === undefined ? {} : { body }) });
      return await packageUploads[index.kind].read(file, content, never);
    }

    async function publish(one: ReadPackage, login: IndexLogin | null = index.login) {
      const to = await packageUploads[index.kind].open({
        ...{ name: 'internal', access: 'public' as const, ...index.address },
        ...(login === null ? {} : { login }),
      });
      return await publishPackage(to, one, { index: 'internal', signal: never, moved: () => undefined, visibleMs });
    }

    test('holds the very bytes, and says so when it is asked', async () => {
      const one = await read(fresh());
      expect(await publish(one)).toEqual({ alreadyThere: false });
      expect((await index.install(one))?.equals(one.content)).toBe(true);
    });

    test('the same again is done, and nothing is sent', async () => {
      const one = await read(fresh());
      await publish(one);
      const before = index.proxy.uploads;
      expect(await publish(one)).toEqual({ alreadyThere: true });
      expect(index.proxy.uploads).toBe(before);
    });

    test('a second version stands beside the first', async () => {
      const name = fresh();
      const [first, second] = [await read(name), await read(name, 'y = 2\n', '1.1.0')];
      await publish(first);
      expect(await publish(second)).toEqual({ alreadyThere: false });
      for (const one of [first, second]) expect((await index.install(one))?.equals(one.content)).toBe(true);
    });

    test('other content under the same version is refused, both are named, and what is there stays', async () => {
      const name = fresh();
      const [first, other] = [await read(name), await read(name, 'x = 2\n')];
      await publish(first);
      const before = index.proxy.uploads;
      await expect(publish(other)).rejects.toMatchObject({
        type: 'PackageTaken',
        retryable: false,
        message: expect.stringContaining(other.digest),
        details: { held: first.digest, name: first.name, version: '1.0.0' },
      });
      expect(index.proxy.uploads).toBe(before);
      expect((await index.install(first))?.equals(first.content)).toBe(true);
    });

    test.each([
      ['a wrong token', wrong],
      ['no token', null],
    ])('with %s it is refused, and not again', async (_, login) => {
      const one = await read(fresh());
      const failure: unknown = await publish(one, login).catch((error: unknown) => error);
      expect(failure).toMatchObject({ type: 'IndexRefused', retryable: false });
      const { message } = failure as Error;
      expect(message).toMatch(/40[13]/);
      expect(JSON.stringify(failure) + message).not.toContain(wrong.token);
      expect(await index.install(one)).toBeUndefined();
    });

    test('cut off half-way it is away, nothing is there, and another try does it', async () => {
      const one = await read(fresh());
      index.proxy.breakNext('half');
      await expect(publish(one)).rejects.toMatchObject({ type: 'IndexUnavailable', retryable: true });
      expect(await index.install(one)).toBeUndefined();
      expect(await publish(one)).toEqual({ alreadyThere: false });
      expect((await index.install(one))?.equals(one.content)).toBe(true);
    });

    test('an upload whose answer was lost is found there, and not sent a second time', async () => {
      const one = await read(fresh());
      index.proxy.breakNext('answer');
      await expect(publish(one)).rejects.toMatchObject({ type: 'IndexUnavailable', retryable: true });
      const before = index.proxy.uploads;
      expect(await publish(one)).toEqual({ alreadyThere: true });
      expect(index.proxy.uploads).toBe(before);
    });

    test.each([
      [500, 'IndexUnavailable'],
      [503, 'IndexUnavailable'],
      [429, 'IndexUnavailable'],
      [400, 'IndexRefused'],
      [403, 'IndexRefused'],
      [413, 'IndexRefused'],
    ] as const)('an upload that is answered with %i is %s', async (status, type) => {
      const one = await read(fresh());
      index.proxy.breakNext({ status });
      const before = index.proxy.uploads;
      await expect(publish(one)).rejects.toMatchObject({ type, message: expect.stringContaining(String(status)) });
      expect(index.proxy.uploads).toBe(before + 1);
    });

    test('two at once end with one file there, and whoever was too late finds it with the next try', async () => {
      const one = await read(fresh());
      const ends = await Promise.allSettled([publish(one), publish(one)]);
      for (const end of ends) {
        if (end.status === 'rejected') expect(end.reason).toMatchObject({ type: 'IndexUnavailable' });
      }
      expect(await publish(one)).toEqual({ alreadyThere: true });
      expect((await index.install(one))?.equals(one.content)).toBe(true);
    });

    test('what nobody listens to is away', async () => {
      const one = await read(fresh());
      const gone = { url: 'http://127.0.0.1:9/', simple: 'http://127.0.0.1:9/simple/' };
      const to = await packageUploads[index.kind].open({
        name: 'internal',
        access: 'public',
        ...gone,
        login: index.login,
      });
      const options = { index: 'internal', signal: never, moved: () => undefined };
      await expect(publishPackage(to, one, options)).rejects.toMatchObject({
        type: 'IndexUnavailable',
        retryable: true,
      });
      await expect(to.upload(one, never)).rejects.toMatchObject({ type: 'IndexUnavailable', retryable: true });
    });

    test('an end of the run ends it at once, with the reason of that', async () => {
      const one = await read(fresh());
      const ended = new AbortController();
      ended.abort(new Error('the run was aborted'));
      const to = await packageUploads[index.kind].open({ name: 'internal', access: 'public', ...index.address });
      await expect(to.upload(one, ended.signal)).rejects.toThrow('the run was aborted');
      expect(await index.install(one)).toBeUndefined();
    });
  });
}
