import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { MockActivityEnvironment } from '@temporalio/testing';
import { createPackageActivities } from '../../../src/activities/packages.ts';
import type { PublishedPackage } from '../../../src/domain/packages.ts';
import type { RunInput, RunPlan, SourceEvent } from '../../../src/domain/run.ts';
import { packageUploads } from '../../../src/providers/package-uploads/index.ts';
import {
  type PackageUploadStandIn,
  standInToken,
  startPackageUploadStandIn,
} from '../../support/package-upload-stand-in.ts';
import { type MadePackage, npmPackage, sdistPackage, wheelPackage } from '../../support/packages.ts';
import { type RunFixture, activityEnvironment, createRunFixture } from '../../support/run-fixture.ts';
import { type UploadProxy, startUploadProxy } from '../../support/upload-proxy.ts';

let fixture: RunFixture;
let standIn: PackageUploadStandIn;
let proxy: UploadProxy;
let recorded: PublishedPackage[];

beforeEach(async () => {
  fixture = createRunFixture();
  standIn = await startPackageUploadStandIn();
  proxy = await startUploadProxy(standIn.url);
  recorded = [];
  fixture.secrets.set('INDEX_TOKEN', standInToken);
  fixture.projectYaml += `
packageIndexes:
  npm:
    kind: npm
    url: ${proxy.url}/npm
    insecure: true
    token: { env: INDEX_TOKEN }
    allow: [{ name: '@shop/*', versions: ['1.*', '{tag}'] }]
    largest: 64Ki
  wheels:
    kind: python
    url: ${proxy.url}/legacy/
    simple: ${proxy.url}/simple/
    insecure: true
    token: { env: INDEX_TOKEN }
    allow: [{ name: parcels, versions: ['{tag}', '1.0.dev{run}'] }]
routes:
  - { on: push, ref: main, publish: [npm, wheels] }
  - { on: tag, ref: 'v*', publish: [wheels] }
  - { on: push, ref: 'feature/**' }
  - { on: manual, ref: '**', publish: [npm, wheels] }
  - { on: pull-request }
`;
});
afterEach(async () => {
  fixture.remove();
  await proxy.close();
  await standIn.close();
  expect(standIn.violations).toEqual([]);
});

const both = `version: 1
packages:
  - { name: client, kind: npm, index: npm, files: ['dist/*.tgz'] }
  - { name: wheel, kind: python, index: wheels, files: ['dist/*.whl', 'dist/*.tar.gz'] }
`;

async function prepare(event: Partial<SourceEvent> = {}, more: Partial<RunInput> = {}): Promise<RunPlan> {
  const commit = fixture.origin.commit({ 'slipway.yaml': both });
  return await fixture.prepare(fixture.input(commit, event, more));
}

/** What the stages have left. */
function leave(plan: RunPlan, ...made: readonly MadePackage[]): void {
  const dist = join(plan.workspace.path, 'dist');
  mkdirSync(dist, { recursive: true });
  for (const { file, content } of made) writeFileSync(join(dist, file), content);
}

async function publish(
  plan: RunPlan,
  environment: MockActivityEnvironment = activityEnvironment(),
): Promise<readonly PublishedPackage[]> {
  const activities = createPackageActivities({
    uploads: packageUploads,
    pipelines: fixture.source.pipelines,
    readSecret: fixture.source.readSecret,
    logs: fixture.source.logs,
    facts: fixture.stage.facts,
    record: (_, published) => void recorded.push(published),
  });
  return await environment.run<[], readonly PublishedPackage[], () => Promise<readonly PublishedPackage[]>>(() =>
    activities.publishPackages({ run: plan.run, plan }),
  );
}

const client = (more: object = {}) => npmPackage({ name: '@shop/client', version: '1.0.0', ...more });
const wheel = (more: object = {}) => wheelPackage({ name: 'parcels', version: '1.0.dev1', ...more });

describe('which packages a run publishes', () => {
  test('is said by its route', async () => {
    expect((await prepare()).publish).toEqual(['client', 'wheel']);
    expect((await prepare({ kind: 'tag', ref: 'refs/tags/v1.2.0' })).publish).toEqual(['wheel']);
    expect(await prepare({ ref: 'refs/heads/feature/x' })).not.toHaveProperty('publish');
  });

  test.each([
    ['a pull request', { kind: 'pull-request', ref: 'refs/pull/7/head', pullRequest: 7 }, {}],
    ['a pull request of a fork', { kind: 'pull-request', ref: 'refs/pull/7/head', pullRequest: 7, fork: true }, {}],
    ['a pull request, started by hand', { kind: 'manual', ref: 'refs/pull/7/head' }, {}],
    ['a fork, whatever else it says', { kind: 'push', fork: true }, {}],
    ['checks only', {}, { checksOnly: true }],
    ['a release that was made before', {}, { release: '1.0.0' }],
  ] as const)('are none for %s', async (_, event, more) => {
    const commit = fixture.origin.commit({ 'slipway.yaml': both });
    if ('ref' in event) fixture.origin.git('update-ref', event.ref, commit);
    expect(await fixture.prepare(fixture.input(commit, event, more as Partial<RunInput>))).not.toHaveProperty(
      'publish',
    );
  });

  test('is asked again by whoever does it: a plan that says otherwise is not believed', async () => {
    const commit = fixture.origin.commit({ 'slipway.yaml': both });
    fixture.origin.git('update-ref', 'refs/pull/7/head', commit);
    const plan = await fixture.prepare(
      fixture.input(commit, { kind: 'pull-request', ref: 'refs/pull/7/head', fork: true }),
    );
    leave(plan, await client(), wheel());
    await expect(publish({ ...plan, publish: ['client', 'wheel'] })).rejects.toMatchObject({
      type: 'NotAllowed',
      nonRetryable: true,
    });
    expect(proxy.uploads).toBe(0);
  });
});

describe('publishing', () => {
  test('publishes every file of every package, and says so everywhere', async () => {
    const plan = await prepare();
    const sdist = await sdistPackage({ name: 'Parcels', version: '1.0.dev1' });
    const made = [await client(), wheel(), sdist];
    leave(plan, ...made);
    const published = await publish(plan);
    expect(published).toMatchObject([
      {
        package: 'client',
        file: 'shop-client-1.0.0.tgz',
        kind: 'npm',
        index: 'npm',
        name: '@shop/client',
        version: '1.0.0',
        alreadyThere: false,
      },
      {
        package: 'wheel',
        file: 'parcels-1.0.dev1-py3-none-any.whl',
        index: 'wheels',
        name: 'parcels',
        alreadyThere: false,
      },
      {
        package: 'wheel',
        file: 'parcels-1.0.dev1.tar.gz',
        name: 'Parcels',
        version: '1.0.dev1',
        sizeBytes: sdist.content.length,
      },
    ]);
    expect(recorded).toEqual(published);
    expect([...standIn.held.values()].map(({ content }) => content)).toEqual(made.map(({ content }) => content));
    expect(fixture.facts.slice(-7)).toEqual([
      ...['phase publishing', 'stage publish started', 'step client started', 'step wheel started'],
      ...['step client passed', 'step wheel passed', 'stage publish passed'],
    ]);
    expect(fixture.log('publish/client')).toMatch(
      /^\[slipway\] dist\/shop-client-1\.0\.0\.tgz: @shop\/client 1\.0\.0, \d+ bytes, sha256:[0-9a-f]{64}\n\[slipway\] .*: npm holds it, sha512-/,
    );
  });

  test('done again it sends nothing, and a worker that died in between is taken over from', async () => {
    const plan = await prepare();
    leave(plan, await client(), wheel());
    proxy.breakNext('answer');
    await expect(publish(plan)).rejects.toMatchObject({ type: 'IndexUnavailable', nonRetryable: false });
    expect(recorded).toEqual([]);
    expect(await publish(plan, activityEnvironment(2))).toMatchObject([
      { alreadyThere: true },
      { alreadyThere: false },
    ]);
    expect(await publish(plan, activityEnvironment(3))).toMatchObject([{ alreadyThere: true }, { alreadyThere: true }]);
    expect(proxy.uploads).toBe(2);
  });

  test('what was published before something went wrong is recorded', async () => {
    const plan = await prepare();
    leave(plan, await client(), wheel());
    standIn.simple = 'nonsense';
    await expect(publish(plan)).rejects.toMatchObject({
      type: 'IndexRefused',
      nonRetryable: true,
      message: expect.stringMatching(
        /\. Published before that, and staying there: shop-client-1\.0\.0\.tgz at npm\. Not known to be published: parcels-1\.0\.dev1-py3-none-any\.whl\.$/,
      ),
      details: [
        expect.objectContaining({
          published: [expect.objectContaining({ file: 'shop-client-1.0.0.tgz', index: 'npm' })],
          unpublished: ['parcels-1.0.dev1-py3-none-any.whl'],
        }),
      ],
    });
    expect(recorded).toMatchObject([{ package: 'client' }]);
    expect(fixture.facts).toContain('step client passed');
    expect(fixture.facts).toContain('step wheel errored');
    expect(fixture.facts.at(-1)).toBe('stage publish errored');
  });

  test('an attempt that reaches no index any more still knows what an earlier one has published', async () => {
    const plan = await prepare();
    leave(plan, await client(), wheel());
    standIn.simple = 'nonsense';
    const first = activityEnvironment();
    const beats: unknown[] = [];
    first.on('heartbeat', (details: unknown) => beats.push(details));
    await expect(publish(plan, first)).rejects.toMatchObject({ type: 'IndexRefused' });
    const { details } = (await publish(plan).catch((error: unknown) => error)) as {
      readonly details: readonly [{ readonly published: readonly unknown[] }];
    };
    const later = activityEnvironment(2);
    Object.assign(later.context.info, { heartbeatDetails: details[0].published });
    fixture.secrets.delete('INDEX_TOKEN');
    await expect(publish(plan, later)).rejects.toMatchObject({
      message: expect.stringContaining('Published before that, and staying there: shop-client-1.0.0.tgz at npm.'),
    });
    expect(beats.length).toBeGreaterThan(0);
  });

  test('other content under a version that is there fails, and says what is there', async () => {
    const plan = await prepare();
    leave(plan, await client(), wheel());
    await publish(plan);
    leave(plan, await client({ body: 'module.exports = 2;\n' }));
    await expect(publish(plan)).rejects.toMatchObject({
      type: 'PackageTaken',
      nonRetryable: true,
      message: expect.stringMatching(
        /^the index npm has @shop\/client 1\.0\.0 already, with other content: it holds sha512-.*, and this run made sha512-/,
      ),
    });
    expect(fixture.facts).toContain('step client failed');
    expect(fixture.log('publish/client')).toContain('A published version never changes');
  });
});

describe('nothing at all is published', () => {
  test.each([
    [
      'a name that the project does not allow',
      () => npmPackage({ name: '@other/client', version: '1.0.0' }),
      /is a package @other\/client; the project lets @shop\/\* be published there/,
    ],
    ['a name without its scope', () => npmPackage({ name: 'client', version: '1.0.0' }), /is a package client/],
    [
      'a version that it does not allow',
      () => npmPackage({ name: '@shop/client', version: '2.0.0' }),
      /has the version 2\.0\.0 of @shop\/client; the project lets 1\.\*, \{tag\} be published, and this run is of no tag/,
    ],
    [
      'a file larger than it allows',
      () => npmPackage({ name: '@shop/client', version: '1.0.0', body: noise() }),
      /has \d+ bytes, more than the 65536 that the project allows/,
    ],
    [
      'what is no package',
      () => Promise.resolve({ file: 'x.tgz', content: Buffer.from('no archive') }),
      /dist\/x\.tgz|x\.tgz cannot be read/,
    ],
    ['no file', undefined, /no file matches dist\/\*\.tgz/],
  ] as const)('with %s, also not what is all right', async (_, make, message) => {
    const plan = await prepare();
    // Another package of the same run is good.
    leave(plan, wheel(), ...(make === undefined ? [] : [await make()]));
    await expect(publish(plan)).rejects.toMatchObject({
      type: 'PackageRefused',
      nonRetryable: true,
      message: expect.stringMatching(message),
    });
    expect(proxy.uploads).toBe(0);
    expect(recorded).toEqual([]);
    expect(fixture.facts.slice(-3).sort()).toEqual([
      'stage publish failed',
      'step client failed',
      'step wheel inconclusive',
    ]);
  });

  test('by its content and not by its name', async () => {
    const plan = await prepare();
    leave(plan, wheel(), {
      file: 'shop-client-1.0.0.tgz',
      content: (await npmPackage({ name: 'lodash', version: '1.0.0' })).content,
    });
    await expect(publish(plan)).rejects.toMatchObject({
      type: 'PackageRefused',
      message: expect.stringContaining('is a package lodash'),
    });
  });

  test('of a tag has the version of the tag, and of a branch the number of the run', async () => {
    const plan = await prepare({ kind: 'tag', ref: 'refs/tags/v1.2.0' });
    leave(plan, wheelPackage({ name: 'parcels', version: '1.2.1' }));
    await expect(publish(plan)).rejects.toMatchObject({
      type: 'PackageRefused',
      message: expect.stringMatching(/has the version 1\.2\.1/),
    });
    const good = await prepare({ kind: 'tag', ref: 'refs/tags/v1.2.0' });
    leave(good, wheelPackage({ name: 'parcels', version: '1.2.0' }));
    expect(await publish(good)).toMatchObject([{ version: '1.2.0' }]);
  });

  test('through a link, neither of a file nor of a folder', async () => {
    const plan = await prepare();
    leave(plan, wheel());
    const outside = join(fixture.folder, 'outside');
    mkdirSync(outside);
    const { file, content } = await client();
    writeFileSync(join(outside, file), content);
    symlinkSync(join(outside, file), join(plan.workspace.path, 'dist', file));
    await expect(publish(plan)).rejects.toMatchObject({
      type: 'PackageRefused',
      message: expect.stringContaining('no file matches'),
    });
  });

  test('of a size that would fill the memory', async () => {
    const plan = await prepare();
    leave(plan, wheel(), await client());
    truncateSync(join(plan.workspace.path, 'dist/shop-client-1.0.0.tgz'), 8 * 2 ** 30);
    await expect(publish(plan)).rejects.toMatchObject({
      type: 'PackageRefused',
      message: expect.stringContaining('8589934592 bytes'),
    });
  });

  test('without its secret', async () => {
    const plan = await prepare();
    leave(plan, await client(), wheel());
    fixture.secrets.delete('INDEX_TOKEN');
    await expect(publish(plan)).rejects.toMatchObject({ type: 'SecretMissing', nonRetryable: true });
    expect(proxy.uploads).toBe(0);
  });
});

test('the token stands nowhere: in no plan, no result, no error, no log and no fact', async () => {
  const plan = await prepare();
  leave(plan, await client(), wheel());
  const wrong = 'a-wrong-token-of-somebody-3b1c';
  fixture.secrets.set('INDEX_TOKEN', wrong);
  standIn.refusal = 'you are {authorization}';
  const failure = (await publish(plan).catch((error: unknown) => error)) as Error;
  fixture.secrets.set('INDEX_TOKEN', standInToken);
  const published = await publish(plan, activityEnvironment(2));
  const logs = [1, 2].flatMap((attempt) => ['client', 'wheel'].map((step) => fixture.log(`publish/${step}`, attempt)));
  const all = JSON.stringify([plan, published, failure, failure.message, failure.stack, logs, fixture.facts, recorded]);
  expect(failure).toMatchObject({ type: 'IndexRefused', message: expect.stringContaining('you are') });
  for (const token of [wrong, standInToken]) {
    expect(all).not.toContain(token);
    expect(all).not.toContain(Buffer.from(`__token__:${token}`).toString('base64'));
  }
});

/** What does not get smaller. */
function noise(): string {
  return Array.from({ length: 20_000 }, (_, at) => Math.imul(at, 2_654_435_761).toString(36)).join('');
}
