import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type ScanQuestion, createImageTrust } from '../../../src/activities/image-trust.ts';
import type { Place } from '../../../src/activities/places.ts';
import type { ImageTrustSpec, ScanSpec } from '../../../src/definition/specs/supply-chain.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import { type ImageScan, erroredScan } from '../../../src/domain/image-scan.ts';
import { type Statement, buildType, provenanceType } from '../../../src/domain/provenance.ts';
import type { ImageEvidence } from '../../../src/domain/run.ts';
import type { ImageSigner, SignedImage } from '../../../src/providers/signers/port.ts';
import { createFakeSigner } from '../../support/fakes/signer.ts';
import { until } from '../../support/until.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-trust-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const digest = `sha256:${'a'.repeat(64)}`;
const image = { name: 'app', repository: 'reg/shop/app', digest };
const commit = 'c'.repeat(40);
const definition = 'd'.repeat(64);

function placeOf(demanded: Partial<ImageTrustSpec>, platform = 'linux/arm64'): Place {
  const imageTrust: ImageTrustSpec = {
    scan: 'off',
    requireSignature: false,
    requireAttestation: false,
    keys: ['KEY'],
    builder: 'urn:us',
    signs: true,
    ...demanded,
  };
  return {
    spec: {
      project: 'shop',
      name: 'production',
      imageTrust,
      registry: { address: 'reg', prefix: 'shop', insecure: false },
    },
    release: { project: 'shop', commit, definition, version: '1.0.0', build: 7, images: [image] },
    target: { readPlatform: () => Promise.resolve(platform) },
  } as unknown as Place;
}

const statementOf = (of: string): Statement => ({
  subject: [{ digest: { sha256: 'a'.repeat(64) } }],
  predicateType: provenanceType,
  predicate: {
    buildDefinition: {
      buildType,
      externalParameters: { project: 'shop', commit: of },
      internalParameters: { definition },
    },
    runDetails: { builder: { id: 'urn:us' } },
  },
});

interface World {
  readonly signed?: boolean;
  /** The registry does not answer whoever asks for signatures. */
  readonly unreachable?: boolean;
  readonly statements?: readonly Statement[];
  readonly evidence?: Readonly<Record<string, ImageEvidence>> | 'away';
  /** What the registry says of the image. Default: it is no list. */
  readonly listed?: readonly { readonly platform: string; readonly digest: string }[];
  /** Files of the evidence of the run, by name. */
  readonly files?: Readonly<Record<string, ImageScan>>;
  /** A digest without a signature, whatever else is signed. */
  readonly unsigned?: string;
}

const itself = [{ platform: 'linux/s390x', digest }];
const list = [
  { platform: 'linux/amd64', digest: `sha256:${'1'.repeat(64)}` },
  { platform: 'linux/arm64', digest: `sha256:${'2'.repeat(64)}` },
];

/** A registry whose images KEY has signed, and attested to with these statements. */
async function prepared({
  signed,
  unreachable,
  statements,
  unsigned,
}: Required<Pick<World, 'signed' | 'unreachable' | 'statements'>> & {
  readonly unsigned: string | undefined;
}): Promise<ImageSigner> {
  const signer = createFakeSigner();
  const key = { privateKey: 'private:KEY', password: '' };
  const imageOf = (of: string): SignedImage => ({
    ...{ registry: { address: 'reg', insecure: false }, repository: image.repository, digest: of },
  });
  for (const of of [digest, ...list.map((part) => part.digest)]) {
    signer.add(imageOf(of));
    if (signed && of !== unsigned) await signer.sign(imageOf(of), key);
  }
  for (const { predicate } of statements) {
    const predicateFile = join(folder, `${crypto.randomUUID()}.json`);
    writeFileSync(predicateFile, JSON.stringify(predicate));
    await signer.attest(imageOf(digest), key, { type: 'provenance', predicateFile, replace: false });
  }
  signer.setAway(unreachable);
  return signer;
}

function trustIn(world: World): {
  readonly trust: ReturnType<typeof createImageTrust>;
  readonly asked: string[];
} {
  const {
    signed = true,
    unreachable = false,
    statements = [statementOf(commit)],
    evidence = {},
    listed = itself,
    unsigned,
    files = {},
  } = world;
  const asked: string[] = [];
  const keptFiles = Object.fromEntries(
    Object.entries(files).map(([file, scan]) => [`evidence/shop/7/app/${file}`, scan]),
  );
  let signer: Promise<ImageSigner> | undefined;
  const ready = (): Promise<ImageSigner> => (signer ??= prepared({ signed, unreachable, statements, unsigned }));
  const never = (): never => {
    throw new Error('nothing is signed when something is verified');
  };
  const trust = createImageTrust({
    signer: {
      sign: never,
      attest: never,
      listAttested: never,
      forget: never,
      ready: () => Promise.resolve(),
      async verifySignature(asking, keys, signal) {
        const { repository, digest: of } = asking;
        asked.push(`signature of ${repository}${of === digest ? '' : `@${of}`} by ${keys.join()}`);
        await (await ready()).verifySignature(asking, keys, signal);
      },
      async readAttestations(asking, keys, type, signal) {
        asked.push(`${type} by ${keys.join()}`);
        return await (await ready()).readAttestations(asking, keys, type, signal);
      },
    },
    readRegistry: () => Promise.resolve({ address: 'reg', insecure: false }),
    openManifests: () => ({ readPlatforms: () => Promise.resolve(listed) }),
    blobs: {
      size: (key) => Promise.resolve(key in keptFiles ? 1 : undefined),
      read: (key) => Promise.resolve(Readable.from([JSON.stringify(keptFiles[key])])),
    },
    readEvidence: () => (evidence === 'away' ? Promise.reject(new Error('away')) : Promise.resolve(evidence)),
  });
  return { trust, asked };
}

describe('before an image runs', () => {
  test('nothing is asked where nothing is demanded', async () => {
    const { trust, asked } = trustIn({ signed: false });
    expect(await trust.verify(placeOf({}), [image])).toEqual([]);
    expect(asked).toEqual([]);
  });

  test('what is demanded is asked, and told in the plan', async () => {
    const { trust, asked } = trustIn({});
    const lines = await trust.verify(placeOf({ requireSignature: true, requireAttestation: true }), [image]);
    expect(lines).toEqual(['image app: signed by a trusted key, built by urn:us from ccccccc']);
    expect(asked).toEqual(['signature of reg/shop/app by KEY', 'provenance by KEY']);
  });

  test('it is refused without a signature, and also where that could not be found out', async () => {
    const place = placeOf({ requireSignature: true });
    await expect(trustIn({ signed: false }).trust.verify(place, [image])).rejects.toMatchObject({
      type: 'ImageNotSigned',
    });
    await expect(trustIn({ unreachable: true }).trust.verify(place, [image])).rejects.toMatchObject({
      ...{ type: 'RegistryUnavailable', retryable: true },
    });
  });

  test('one provenance of several must be about the release', async () => {
    const place = placeOf({ requireAttestation: true });
    const other = statementOf('f'.repeat(40));
    await trustIn({ statements: [other, statementOf(commit)] }).trust.verify(place, [image]);
    await expect(trustIn({ statements: [other] }).trust.verify(place, [image])).rejects.toMatchObject({
      type: 'AttestationInvalid',
      retryable: false,
    });
    const older: Statement = JSON.parse(
      JSON.stringify(statementOf(commit)).replace(definition, 'e'.repeat(64)),
    ) as Statement;
    await expect(trustIn({ statements: [other, older, other] }).trust.verify(place, [image])).rejects.toMatchObject({
      message: expect.stringContaining('was made by the definition eeee'),
    });
    await expect(trustIn({ statements: [] }).trust.verify(place, [image])).rejects.toMatchObject({
      type: 'ImageNotSigned',
    });
  });
});

describe('before one platform of an image runs', () => {
  const builtFor = (platforms: typeof list): World => ({
    evidence: {
      app: { buildKey: '', bases: {}, warnings: [], platforms: platforms.map((each) => ({ ...each, sizeBytes: 1 })) },
    },
  });

  test('the list must be signed, and what the target takes of it', async () => {
    const { trust, asked } = trustIn({ listed: list });
    const lines = await trust.verify(placeOf({ requireSignature: true, requireAttestation: true }), [image]);
    expect(lines).toEqual(['image app for linux/arm64: signed by a trusted key, built by urn:us from ccccccc']);
    expect(asked).toEqual([
      'signature of reg/shop/app by KEY',
      `signature of reg/shop/app@${list[1]!.digest} by KEY`,
      'provenance by KEY',
    ]);
    const one = trustIn({ listed: list, unsigned: list[1]!.digest });
    await expect(one.trust.verify(placeOf({ requireSignature: true }), [image])).rejects.toMatchObject({
      type: 'ImageNotSigned',
    });
  });

  test('there must be one for the target, whether signatures are demanded or not', async () => {
    const missing = {
      type: 'ImageNotFound',
      retryable: false,
      message:
        'app of 1.0.0 has nothing for linux/riscv64, which production runs on, only for linux/amd64, linux/arm64: add it to `images[].platforms` and build again',
    };
    const signed = placeOf({ requireSignature: true }, 'linux/riscv64');
    await expect(trustIn({ listed: list }).trust.verify(signed, [image])).rejects.toMatchObject(missing);
    const open = placeOf({}, 'linux/riscv64');
    await expect(trustIn(builtFor(list)).trust.verify(open, [image])).rejects.toMatchObject(missing);
    expect(await trustIn(builtFor(list)).trust.verify(placeOf({}), [image])).toEqual([]);
  });

  test('an image that is no list is left to the engine, and so is every one while the store is away', async () => {
    const here = placeOf({ requireSignature: true }, 'linux/riscv64');
    expect(await trustIn({}).trust.verify(here, [image])).toHaveLength(1);
    expect(await trustIn({ evidence: 'away' }).trust.verify(placeOf({}, 'linux/riscv64'), [image])).toEqual([]);
  });
});

describe('what a project trusts and an environment does not demand', () => {
  test('is verified all the same, and told', async () => {
    const { trust, asked } = trustIn({});
    expect(await trust.check(placeOf({}), [image])).toEqual([
      { name: 'signature of app', verdict: 'passed', line: 'image app: signed by a trusted key', news: true },
      { name: 'provenance of app', verdict: 'passed', line: 'image app: built by urn:us from ccccccc', news: true },
    ]);
    expect(asked).toEqual(['signature of reg/shop/app by KEY', 'provenance by KEY']);
  });

  test.each([
    [
      'somebody else signed it',
      { signed: false },
      'failed',
      /signature does not hold, which production does not demand: ImageNotSigned/,
    ],
    ['nobody could find out', { unreachable: true }, 'errored', /signature could not be verified.*RegistryUnavailable/],
    ['its provenance is of another', { statements: [] }, 'failed', /provenance does not hold/],
  ] as const)('only warns where %s', async (_, world, verdict, line) => {
    // Of a registry that does not answer neither is known: one is enough to be told.
    const place = placeOf({ signs: !('unreachable' in world) });
    const checks = await trustIn(world).trust.check(place, [image]);
    expect(checks.filter((check) => check.verdict !== 'passed')).toEqual([
      expect.objectContaining({ verdict, news: true, line: expect.stringMatching(line) }),
    ]);
  });

  test('stops the release where it is demanded, and is not asked for where no key is trusted', async () => {
    const refused = trustIn({ signed: false }).trust.check(placeOf({ requireSignature: true }), [image]);
    await expect(refused).rejects.toMatchObject({ type: 'ImageNotSigned' });
    const { trust, asked } = trustIn({ signed: false });
    expect(await trust.check(placeOf({ keys: [] }), [image])).toEqual([]);
    expect(asked).toEqual([]);
  });

  test('is not said of provenance where the project attests nothing', async () => {
    const checks = await trustIn({ statements: [] }).trust.check(placeOf({ signs: false }), [image]);
    expect(checks.map(({ name }) => name)).toEqual(['signature of app']);
  });
});

describe('a release of fifty images', () => {
  const fifty = Array.from({ length: 50 }, (_, index) => ({ ...image, name: `app-${index}` }));
  const demands = { requireSignature: true, requireAttestation: true };

  /** Each program takes a while, and ends when it is called off. */
  function slowly(refused?: string) {
    const seen = { most: 0, now: 0, begun: 0 };
    async function program(signal: AbortSignal | undefined, name = ''): Promise<void> {
      seen.now += 1;
      seen.begun += 1;
      seen.most = Math.max(seen.most, seen.now);
      try {
        await delay(50, undefined, signal === undefined ? {} : { signal });
        if (name === refused) throw new ProviderError('ImageNotSigned', name);
      } finally {
        seen.now -= 1;
      }
    }
    const trust = createImageTrust({
      signer: {
        ...createFakeSigner(),
        verifySignature: ({ repository }, _, signal) => program(signal, repository),
        async readAttestations(_image, _keys, _type, signal) {
          await program(signal);
          return [statementOf(commit)];
        },
      },
      readRegistry: () => Promise.resolve({ address: 'reg', insecure: false }),
      openManifests: () => ({ readPlatforms: () => Promise.resolve(itself) }),
      blobs: { size: () => Promise.resolve(undefined), read: () => Promise.reject(new Error('nobody asks')) },
      readEvidence: () => Promise.resolve({}),
    });
    return { trust, seen };
  }

  test.each([
    ['demanded', demands, 50],
    ['only told', {}, 100],
    ['demanded in part', { requireSignature: true }, 100],
  ] as const)(
    'is verified a few at once where that is %s',
    async (_, demanded, lines) => {
      const { trust, seen } = slowly();
      const checks = await trust.check(placeOf(demanded), fifty);
      expect(checks).toHaveLength(lines);
      expect(checks.every(({ verdict }) => verdict === 'passed')).toBe(true);
      expect(seen).toEqual({ most: 4, now: 0, begun: 100 });
      expect(checks.map(({ line }) => line).filter((line) => line.startsWith('image app-49'))).not.toEqual([]);
    },
    30_000,
  );

  test.each([
    ['demanded', demands],
    ['only told', {}],
  ] as const)('leaves no program behind when it is called off where that is %s', async (_, demanded) => {
    const { trust, seen } = slowly();
    const calledOff = new AbortController();
    const checking = trust.check(placeOf(demanded), fifty, calledOff.signal);
    await until(() => seen.begun > 4);
    calledOff.abort(new Error('called off'));
    await expect(checking).rejects.toThrow('called off');
    expect(seen.now).toBe(0);
    expect(seen.begun).toBeLessThan(100);
  });

  test('is refused for one, and the others are left alone', async () => {
    const bad = { ...image, repository: 'reg/shop/bad' };
    const { trust, seen } = slowly(bad.repository);
    const checking = trust.check(placeOf({ requireSignature: true }), [bad, ...fifty.slice(1)]);
    await expect(checking).rejects.toMatchObject({ type: 'ImageNotSigned', message: bad.repository });
    expect(seen.now).toBe(0);
    expect(seen.begun).toBeLessThan(100);
  });

  test('waits for no compiler', async () => {
    const { trust, seen } = slowly();
    const building = new ProviderError('ToolMissing', 'it is being built');
    const signer = { ...createFakeSigner(), ready: () => Promise.reject(building) };
    const other = createImageTrust({
      signer,
      readRegistry: () => Promise.reject(new Error('nobody asks')),
      openManifests: () => ({ readPlatforms: () => Promise.resolve(itself) }),
      blobs: { size: () => Promise.resolve(undefined), read: () => Promise.reject(new Error('nobody asks')) },
      readEvidence: () => Promise.resolve({}),
    });
    await expect(other.check(placeOf(demands), fifty)).rejects.toBe(building);
    expect(await trust.check(placeOf({ keys: [] }), fifty)).toEqual([]);
    expect(seen.begun).toBe(0);
  });
});

describe('the bill of materials of an image', () => {
  const evidence = { buildKey: '', bases: {}, warnings: [] };
  const why = 'syft is not on the worker that built it';
  const line = `image app: no bill of materials: ${why} (\`images.sbom\` of its project.yaml)`;

  test('that could not be made is said in the plan, and closes nothing', async () => {
    const { trust } = trustIn({ evidence: { app: { ...evidence, unlisted: why } } });
    const { checks } = await trust.checkScans(placeOf({}));
    expect(checks).toContainEqual({ name: 'list of app', verdict: 'errored', line, news: false });
  });

  test.each([
    ['there is one', { app: { ...evidence, packages: 3 } }],
    ['the project wants none, or an older Slipway built it', { app: evidence }],
    ['the store is away, which a plan without rules does not wait for', 'away'],
  ] as const)('is not missed where %s', async (_, known) => {
    const { checks } = await trustIn({ evidence: known }).trust.checkScans(placeOf({}));
    expect(checks.map(({ name }) => name)).toEqual(['scan of app']);
  });
});

describe('the scan of an image', () => {
  const now = Date.now();
  const ago = (days: number): string => new Date(now - days * 86_400_000).toISOString();
  const scans: ScanSpec = {
    ...{ scanner: 'osv-scanner', database: '/db', maxAgeMs: 2 * 86_400_000, severities: ['high', 'critical'] },
    ...{ exceptions: [], mode: 'warn', modes: {} },
  };
  const scanOf = (days: number, vulnerable = false): ImageScan => ({
    ...{ scanner: { name: 'osv-scanner', version: '2' }, databaseAt: ago(days), scannedAt: ago(days), packages: 3 },
    vulnerabilities: vulnerable
      ? [{ id: 'TEST-1', aliases: [], severity: 'high', package: 'left', version: '1', fixedIn: [] }]
      : [],
  });
  const excepted = (until: string): ScanSpec => ({
    ...scans,
    exceptions: [{ id: 'TEST-1', reason: 'not reached', until }],
  });
  /** What the run had said of it, and what is kept of that. */
  const built = (verdict: 'passed' | 'failed' | 'errored', files: World['files'] = {}): World => ({
    files,
    evidence: {
      app: {
        ...{ buildKey: '', bases: {}, warnings: [] },
        scan: { ...erroredScan('the scanner is missing', ago(0)), verdict, reason: `it ${verdict}` },
      },
    },
  });
  const fresh = built('passed', { 'scan.json': scanOf(0) });
  const old = built('passed', { 'scan.json': scanOf(700) });
  const check = (world: World, trust: Partial<ImageTrustSpec>, question?: ScanQuestion) =>
    trustIn(world).trust.checkScans(placeOf({ scans, ...trust }), question);

  test.each([
    ['an advisory counts', built('failed', { 'scan.json': scanOf(0, true) }), 'ImageVulnerable', /TEST-1/],
    ['nothing is known', built('errored'), 'ScanErrored', /it errored/],
    ['it was never scanned', {}, 'ScanErrored', /never scanned/],
    ['its scan is two years old', old, 'ScanErrored', /advisories of .*older than the 48 hours/],
    ['its scan is gone', built('passed'), 'ScanErrored', /not kept any more/],
    [
      'a scan since has found something',
      built('passed', { 'scan.json': scanOf(9), 'scan-again.json': scanOf(0, true) }),
      'ImageVulnerable',
      /TEST-1/,
    ],
  ] as const)('keeps it out where scans block and %s', async (_, world, type, message) => {
    await expect(check(world, { scan: 'block' })).rejects.toMatchObject({
      ...{ type, retryable: false },
      message: expect.stringMatching(message),
    });
  });

  test('lets it go by the newest scan, which is of now', async () => {
    const world = built('passed', { 'scan.json': scanOf(700), 'scan-again.json': scanOf(1) });
    expect(await check(world, { scan: 'block' })).toEqual({
      checks: [expect.objectContaining({ verdict: 'passed', news: false })],
      due: [],
    });
  });

  test('is judged by the exceptions of now', async () => {
    const world = built('passed', { 'scan.json': scanOf(1, true) });
    expect((await check(world, { scan: 'block', scans: excepted(ago(0).slice(0, 10)) })).checks).toMatchObject([
      { verdict: 'passed' },
    ]);
    const ended = check(world, { scan: 'block', scans: excepted(ago(1).slice(0, 10)) });
    await expect(ended).rejects.toMatchObject({
      type: 'ImageVulnerable',
      message: expect.stringMatching(/TEST-1.*ended/),
    });
    // One that somebody has allowed since is no reason any more.
    const allowed = built('failed', { 'scan.json': scanOf(1, true) });
    expect((await check(allowed, { scan: 'block', scans: excepted('2099-01-01') })).checks[0]!.verdict).toBe('passed');
  });

  test('that is too old is looked up again, and says why where that says nothing', async () => {
    expect(await check(old, { scan: 'block' }, { renews: true })).toMatchObject({
      checks: [{ verdict: 'errored', news: true }],
      due: ['app'],
    });
    const again = check(old, { scan: 'block' }, { problems: { app: 'there is no osv-scanner' } });
    await expect(again).rejects.toMatchObject({ message: expect.stringContaining('there is no osv-scanner') });
    // What is known to be bad is not made better by its age.
    const bad = built('failed', { 'scan.json': scanOf(700, true) });
    await expect(check(bad, { scan: 'block' })).rejects.toMatchObject({ type: 'ImageVulnerable' });
    expect((await check(bad, { scan: 'block' }, { renews: true })).due).toEqual(['app']);
  });

  test('does not close a way back that was open when it was built, and is told', async () => {
    expect(await check(old, { scan: 'block' }, { back: true })).toMatchObject({
      checks: [{ verdict: 'errored' }],
      due: [],
    });
    await expect(check(built('failed'), { scan: 'block' }, { back: true })).rejects.toMatchObject({
      type: 'ImageVulnerable',
    });
  });

  test.each([
    ['block', fresh, 'image app: scan passed, 3 packages, none with an advisory that counts'],
    ['warn', built('failed', { 'scan.json': scanOf(0, true) }), 'image app: scan failed, 1 of 3'],
    ['warn', {}, 'image app: scan errored, it was never scanned'],
    ['warn', old, 'image app: scan errored, its scan knows the advisories of'],
  ] as const)('is told with the plan where it says %s', async (scan, world, line) => {
    const { checks } = await check(world, { scan });
    expect(checks.map((each) => each.line)).toEqual([expect.stringContaining(line)]);
  });

  test('is not asked for where the environment has switched it off, and told as missing where the project has none', async () => {
    expect(await check(built('failed'), { scan: 'off' })).toEqual({ checks: [], due: [] });
    const { trust } = trustIn({});
    expect(await trust.checkScans(placeOf({}))).toEqual({
      checks: [
        {
          ...{ name: 'scan of app', verdict: 'errored', news: false },
          line: expect.stringContaining('it was never scanned: the project names no scanner'),
        },
      ],
      due: [],
    });
  });
});
