import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { packageUploads } from '../../../src/providers/package-uploads/index.ts';
import { tagOf } from '../../../src/providers/package-uploads/npm.ts';
import type { PackageUploadOptions, ReadPackage } from '../../../src/providers/package-uploads/port.ts';
import { publishPackage } from '../../../src/providers/package-uploads/publish.ts';
import {
  type PackageUploadStandIn,
  standInToken,
  startPackageUploadStandIn,
} from '../../support/package-upload-stand-in.ts';
import { installNpm, installPython, packageUploadsSuite } from '../../support/package-uploads-suite.ts';
import { type MadePackage, npmPackage, sdistPackage, wheelPackage } from '../../support/packages.ts';
import { startUploadProxy } from '../../support/upload-proxy.ts';

const login = { kind: 'token', token: standInToken } as const;
const never = new AbortController().signal;

packageUploadsSuite('a stand-in of npm', async () => {
  const standIn = await startPackageUploadStandIn();
  const proxy = await startUploadProxy(standIn.url);
  return {
    ...{ kind: 'npm', address: { url: `${proxy.url}/npm` }, login, proxy },
    install: (read) => installNpm(`${standIn.url}/npm`, read),
    async close() {
      await proxy.close();
      await standIn.close();
      expect(standIn.violations).toEqual([]);
    },
  };
});

describe.each([
  ['wheels', wheelPackage],
  ['source distributions', sdistPackage],
] as const)('%s', (_, make) => {
  packageUploadsSuite(
    'a stand-in of PyPI',
    async () => {
      const standIn = await startPackageUploadStandIn();
      standIn.simple = 'page';
      const proxy = await startUploadProxy(standIn.url);
      return {
        ...{ kind: 'python', address: { url: `${proxy.url}/legacy/`, simple: `${proxy.url}/simple/` }, login, proxy },
        install: (read) => installPython(`${standIn.url}/simple`, read),
        async close() {
          await proxy.close();
          await standIn.close();
          // The test itself asks for a page.
          expect(standIn.violations.filter((violation) => violation !== 'accept')).toEqual([]);
        },
      };
    },
    async (_, identity) => await make(identity),
  );
});

let standIn: PackageUploadStandIn;
beforeEach(async () => {
  standIn = await startPackageUploadStandIn();
});
afterEach(async () => {
  await standIn.close();
  expect(standIn.violations).toEqual([]);
});

async function publish(
  kind: 'npm' | 'python',
  made: MadePackage | Promise<MadePackage>,
  more: Partial<PackageUploadOptions> & { readonly visibleMs?: number } = {},
): Promise<{ readonly read: ReadPackage; readonly alreadyThere: boolean }> {
  const { file, content } = await made;
  const read = await packageUploads[kind].read(file, content, never);
  const address =
    kind === 'npm' ? { url: `${standIn.url}/npm` } : { url: `${standIn.url}/legacy/`, simple: `${standIn.url}/simple` };
  const { visibleMs = 10_000, ...options } = more;
  const to = await packageUploads[kind].open({ name: 'internal', access: 'restricted', login, ...address, ...options });
  const done = await publishPackage(to, read, { index: 'internal', signal: never, moved: () => undefined, visibleMs });
  return { read, ...done };
}

describe.each([
  ['npm', () => npmPackage({ name: '@shop/client', version: '1.0.0' })],
  ['python', () => wheelPackage({ name: 'shop', version: '1.0.0' })],
] as const)('an index of %s', (kind, make) => {
  test('that keeps something else than it was given is told of as that', async () => {
    standIn.misbehave('other');
    await expect(publish(kind, make())).rejects.toMatchObject({
      type: 'DigestMismatch',
      retryable: false,
      message: expect.stringMatching(/^the index internal holds sha\d+/),
    });
  });

  test('that takes something and never shows it is away, so that it is asked again', async () => {
    standIn.misbehave('nowhere');
    await expect(publish(kind, make(), { visibleMs: 1 })).rejects.toMatchObject({
      type: 'IndexUnavailable',
      message: expect.stringMatching(/^the index internal took .* and does not show it/),
    });
  });

  test('that shows late what it took is waited for', async () => {
    standIn.lag = 2;
    expect(await publish(kind, make())).toMatchObject({ alreadyThere: false });
  });

  test('that says the login again has it hidden in what is told', async () => {
    standIn.refusal = `who is {authorization}, or ${standInToken}x?`;
    const token = 'another-token-of-somebody-77aa';
    const failure = (await publish(kind, make(), { login: { kind: 'token', token } }).catch(
      (error: unknown) => error,
    )) as Error;
    expect(failure).toMatchObject({ type: 'IndexRefused', message: expect.stringMatching(/403 who is .*\*\*\*/) });
    const said = failure.message + JSON.stringify(failure) + String(failure.stack);
    expect(said).not.toContain(token);
    expect(said).not.toContain(Buffer.from(`__token__:${token}`).toString('base64'));
  });

  test.each([
    ['a question', 'find', { askTimeoutMs: 20 }],
    ['an upload', 'upload', { uploadTimeoutMs: 20 }],
  ] as const)('that does not answer %s in time is away', async (_, asked, timeouts) => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
    try {
      const { file, content } = await make();
      const read = await packageUploads[kind].read(file, content, never);
      const to = await packageUploads[kind].open({
        ...{ name: 'internal', access: 'public', login, url },
        simple: url,
        ...timeouts,
      });
      if (kind === 'npm' && asked === 'upload') {
        // It asks which tags there are before it sends anything.
        await expect(to.upload(read, AbortSignal.timeout(50))).rejects.toMatchObject({ name: 'TimeoutError' });
        return;
      }
      await expect(to[asked](read, never)).rejects.toMatchObject({
        type: 'IndexUnavailable',
        retryable: true,
        message: expect.stringContaining('no answer in time'),
      });
    } finally {
      silent.closeAllConnections();
      silent.close();
    }
  });
});

describe('npm', () => {
  test('a scope is for whom the project says, a package without one for everybody', async () => {
    await publish('npm', npmPackage({ name: '@shop/client', version: '1.0.0' }));
    await publish('npm', npmPackage({ name: '@shop/open', version: '1.0.0' }), { access: 'public' });
    await publish('npm', npmPackage({ name: 'plain', version: '1.0.0' }));
    expect([...standIn.held].map(([name, { access }]) => [name, access])).toEqual([
      ['@shop/client@1.0.0', 'restricted'],
      ['@shop/open@1.0.0', 'public'],
      ['plain@1.0.0', 'public'],
    ]);
  });

  test('`latest` is the newest version of all that are none of a preview', async () => {
    for (const version of ['2.0.0', '1.5.0', '3.0.0-rc.1', '3.0.0-1', '2.1.0']) {
      await publish('npm', npmPackage({ name: 'client', version }));
    }
    expect(standIn.tags.get('client')).toEqual({
      latest: '2.1.0',
      'release-1': '1.5.0',
      rc: '3.0.0-rc.1',
      next: '3.0.0-1',
    });
    expect([tagOf('1.0.0-x', undefined), tagOf('1.0.0-latest.1', undefined)]).toEqual(['next', 'next']);
  });

  test('what a package says of how it is published is not listened to', async () => {
    const hostile = {
      publishConfig: { registry: 'http://127.0.0.1:9/', tag: 'stable', access: 'public', provenance: true },
      ...{ tag: 'stable', dist: { tarball: 'http://elsewhere.example/x.tgz' }, _id: 'other@9.9.9', readme: 'x' },
    };
    await publish('npm', npmPackage({ name: '@shop/client', version: '1.0.0' }, hostile));
    expect(standIn.tags.get('@shop/client')).toEqual({ latest: '1.0.0' });
    expect(standIn.held.get('@shop/client@1.0.0')?.access).toBe('restricted');
  });
});

describe('python', () => {
  // Lines of a form end as those of mail do.
  test('what is said of the package is what its metadata say', async () => {
    await publish('python', wheelPackage({ name: 'Shop.Client', version: '1.0.0' }));
    expect(standIn.forms[0]).toMatchObject({
      ...{ name: ['Shop.Client'], version: ['1.0.0'], metadata_version: ['2.1'], summary: ['A package of a test.'] },
      classifiers: ['Programming Language :: Python :: 3', 'Operating System :: OS Independent'],
      project_urls: ['Home, https://packages.example/'],
      ...{ requires_python: ['>=3.8'], requires_dist: ['attrs'], description: ['What it is for.\r\n'] },
    });
  });

  test.each([
    ['no-digest', 'names no SHA-256'],
    ['nonsense', 'does not answer as the simple API'],
  ] as const)('an index with %s cannot be checked, so nothing is sent', async (simple, why) => {
    if (simple === 'no-digest') await publish('python', wheelPackage({ name: 'shop', version: '1.0.0' }));
    standIn.simple = simple;
    await expect(publish('python', wheelPackage({ name: 'shop', version: '1.0.0' }))).rejects.toMatchObject({
      type: 'IndexRefused',
      message: expect.stringContaining(why),
    });
    expect(standIn.forms).toHaveLength(simple === 'no-digest' ? 1 : 0);
  });

  test('what an index has from another one it does not hold itself', async () => {
    standIn.simple = 'elsewhere';
    await expect(
      publish('python', wheelPackage({ name: 'shop', version: '1.0.0' }), { visibleMs: 1 }),
    ).rejects.toMatchObject({ type: 'IndexUnavailable', message: expect.stringContaining('does not show it') });
    expect(standIn.forms).toHaveLength(1);
  });

  test('wheel and source distribution of one version are two files', async () => {
    await publish('python', wheelPackage({ name: 'shop', version: '1.0.0' }));
    await publish('python', sdistPackage({ name: 'shop', version: '1.0.0' }));
    expect([...standIn.held.keys()]).toEqual(['shop-1.0.0-py3-none-any.whl', 'shop-1.0.0.tar.gz']);
  });
});
