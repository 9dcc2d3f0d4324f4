import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { DependencyUpdate } from '../../../src/domain/dependency-update.ts';
import { npmManifest } from '../../../src/providers/manifests/npm.ts';
import { withNpmLock } from '../../../src/providers/manifests/npm-lock.ts';
import type { ManifestIndex } from '../../../src/providers/manifests/port.ts';
import { type PackageIndexStandIn, startPackageIndexStandIn } from '../../support/package-index-stand-in.ts';

const old = '2026-01-01T00:00:00Z';
let index: PackageIndexStandIn;

beforeEach(async () => {
  index = await startPackageIndexStandIn();
  index.npm['inner'] = { '1.0.0': { at: old }, '1.1.0': { at: old } };
  index.npm['left'] = {
    '1.0.0': { at: old, dependencies: { inner: '^1.0.0' } },
    '1.0.5': { at: old, dependencies: { inner: '^1.0.0' } },
    '1.9.0': { at: old, dependencies: { inner: '^1.0.0' } },
  };
  index.npm['right'] = { '2.0.0': { at: old }, '2.1.0': { at: old, peerDependencies: { left: '>=9' } } };
});
afterEach(async () => {
  await index.close();
});

function indexOf(rest: Partial<ManifestIndex> = {}): ManifestIndex {
  return {
    url: index.npmUrl,
    signal: new AbortController().signal,
    before: '2026-11-23T00:00:00.000Z',
    readVersion: () => Promise.resolve(undefined),
    ...rest,
  };
}
const text = (dependencies: object): string =>
  `${JSON.stringify({ name: 'app', version: '1.0.0', dependencies }, null, 2)}\n`;
/** As npm itself makes it. */
async function locked(manifest: string): Promise<string> {
  return await withNpmLock('', indexOf(), async (session) => {
    return await session.lock(manifest);
  });
}
const update = (name: string, version: string, to: string): DependencyUpdate => ({
  ...{ ecosystem: 'npm', manifest: 'package.json', name, version, to, level: 'minor', fixes: [] },
});
const versionsIn = (lock: string | undefined): Record<string, string> =>
  Object.fromEntries(
    Object.entries((JSON.parse(lock ?? '{}') as { packages: Record<string, { version: string }> }).packages)
      .filter(([place]) => place !== '')
      .map(([place, { version }]) => [place.replace('node_modules/', ''), version]),
  );

test('a lock is made anew for exactly the version that was chosen, and the rest of it stays', async () => {
  const first = await locked(text({ left: '1.0.0', inner: '1.0.0' }));
  // As if it had been written with a range.
  const manifest = text({ left: '^1.0.0', inner: '^1.0.0' });
  const lock = first.replace('"left": "1.0.0"', '"left": "^1.0.0"').replace('"inner": "1.0.0"', '"inner": "^1.0.0"');
  const files = { path: 'package.json', text: manifest, beside: { 'package-lock.json': lock } };
  expect(npmManifest.read(files).dependencies.map(({ name, version }) => `${name} ${version}`)).toEqual([
    'left 1.0.0',
    'inner 1.0.0',
  ]);
  const change = await npmManifest.update(files, [update('left', '1.0.0', '1.0.5')], indexOf());
  expect(change.left).toEqual([]);
  expect(change.files['package.json']).toBe(manifest.replace('"left": "^1.0.0"', '"left": "^1.0.5"'));
  expect(versionsIn(change.files['package-lock.json'])).toEqual({ left: '1.0.5', inner: '1.0.0' });
  expect(change.files['package-lock.json']).toContain('"left": "^1.0.5"');
}, 60_000);

test('nothing that is younger comes in by the way', async () => {
  index.npm['inner'] = { '1.0.0': { at: old }, '1.1.0': { at: '2026-11-25T00:00:00Z' } };
  const files = {
    path: 'package.json',
    text: text({ left: '1.0.0' }),
    beside: { 'package-lock.json': await locked(text({ left: '1.0.0' })) },
  };
  index.npm['left'] = { ...index.npm['left'], '1.0.5': { at: old, dependencies: { inner: '>=1.0.0 <3' } } };
  const { files: made } = await npmManifest.update(files, [update('left', '1.0.0', '1.0.5')], indexOf());
  expect(versionsIn(made['package-lock.json'])).toEqual({ left: '1.0.5', inner: '1.0.0' });
}, 60_000);

test('what does not fit is left with the word of npm, and keeps nothing else', async () => {
  const manifest = text({ left: '1.0.0', right: '2.0.0' });
  const files = { path: 'package.json', text: manifest, beside: { 'package-lock.json': await locked(manifest) } };
  const updates = [update('right', '2.0.0', '2.1.0'), update('left', '1.0.0', '1.9.0')];
  const { files: made, left } = await npmManifest.update(files, updates, indexOf());
  expect(versionsIn(made['package-lock.json'])).toMatchObject({ left: '1.9.0', right: '2.0.0' });
  expect(left).toMatchObject([{ update: { name: 'right' }, reason: expect.stringContaining('ERESOLVE') }]);
  await expect(npmManifest.update(files, updates.slice(0, 1), indexOf())).rejects.toMatchObject({
    type: 'ProcessFailed',
  });
}, 120_000);

test('the token is given to the index, and stands in no error', async () => {
  index.authorization = 'Bearer hunter2';
  const token = 'hunter2';
  const manifest = text({ left: '1.0.0' });
  const lock = await withNpmLock('', indexOf({ token }), (session) => session.lock(manifest));
  expect(versionsIn(lock)).toMatchObject({ left: '1.0.0' });
  index.answers['/npm/left'] = { status: 403, body: `{"error":"${token} may not"}` };
  const refused = withNpmLock('', indexOf({ token }), (session) => session.lock(manifest));
  await expect(refused).rejects.toMatchObject({ type: 'ProcessFailed', message: expect.stringContaining('403') });
  await expect(refused).rejects.not.toMatchObject({ message: expect.stringContaining(token) });
}, 60_000);

test('nothing but the index is asked, no git is run and no script', async () => {
  const other = await startPackageIndexStandIn();
  try {
    const elsewhere = `${other.npmUrl}/trap/-/trap-1.0.0.tgz`;
    for (const spec of [elsewhere, `git+${other.npmUrl}/trap.git`, 'github:x/y']) {
      await expect(withNpmLock('', indexOf(), (session) => session.lock(text({ trap: spec })))).rejects.toMatchObject({
        type: 'ProcessFailed',
      });
    }
    // A lock that names another place for what the manifest asks for anew.
    index.npm['scripted'] = { '1.0.0': { at: old, scripts: { preinstall: `node -e "fetch('${other.npmUrl}/ran')"` } } };
    const hostile = `${text({ scripted: '1.0.0' }).trimEnd().slice(0, -1)},"scripts":{"preinstall":"node -e \\"fetch('${other.npmUrl}/ran')\\""}}`;
    expect(versionsIn(await locked(hostile))).toEqual({ scripted: '1.0.0' });
    expect(other.requests).toEqual([]);
  } finally {
    await other.close();
  }
}, 120_000);

test('an abort ends it', async () => {
  const abort = new AbortController();
  index.answers['/npm/left'] = undefined;
  const locking = withNpmLock('', indexOf({ signal: abort.signal }), (session) =>
    session.lock(text({ left: '1.0.0' })),
  );
  abort.abort(new Error('enough'));
  await expect(locking).rejects.toThrow('enough');
});
