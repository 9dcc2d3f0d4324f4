import { describe, expect, test } from '@jest/globals';
import { createImageTrust } from '../../../src/activities/image-trust.ts';
import type { Place } from '../../../src/activities/places.ts';
import type { ImageTrustSpec } from '../../../src/definition/specs.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import { erroredScan } from '../../../src/domain/image-scan.ts';
import { type Statement, buildType, provenanceType } from '../../../src/domain/provenance.ts';
import type { ImageEvidence } from '../../../src/domain/run.ts';

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
    ...demanded,
  };
  return {
    spec: {
      project: 'shop',
      name: 'production',
      imageTrust,
      registry: { address: 'reg', prefix: 'shop', insecure: false },
    },
    release: { commit, definition, version: '1.0.0', build: 7, images: [image] },
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
  readonly signed?: boolean | Error;
  readonly statements?: readonly Statement[];
  readonly evidence?: Readonly<Record<string, ImageEvidence>> | 'away';
  /** What the registry says of the image. Default: it is no list. */
  readonly listed?: readonly { readonly platform: string; readonly digest: string }[];
  /** A digest without a signature, whatever else is signed. */
  readonly unsigned?: string;
}

const itself = [{ platform: 'linux/s390x', digest }];
const list = [
  { platform: 'linux/amd64', digest: `sha256:${'1'.repeat(64)}` },
  { platform: 'linux/arm64', digest: `sha256:${'2'.repeat(64)}` },
];

function trustIn(world: World): {
  readonly trust: ReturnType<typeof createImageTrust>;
  readonly asked: string[];
} {
  const { signed = true, statements = [statementOf(commit)], evidence = {}, listed = itself, unsigned } = world;
  const asked: string[] = [];
  const never = (): never => {
    throw new Error('nothing is signed when something is verified');
  };
  const trust = createImageTrust({
    signer: {
      sign: never,
      attest: never,
      verifySignature({ repository, digest: of }, keys) {
        asked.push(`signature of ${repository}${of === digest ? '' : `@${of}`} by ${keys.join()}`);
        if (of === unsigned) return Promise.reject(new ProviderError('ImageNotSigned', `no signature of ${of}`));
        if (signed === true) return Promise.resolve();
        return Promise.reject(signed === false ? new ProviderError('ImageNotSigned', 'no signature') : signed);
      },
      readAttestations(_, keys, type) {
        asked.push(`${type} by ${keys.join()}`);
        return Promise.resolve(statements);
      },
    },
    readRegistry: () => Promise.resolve({ address: 'reg', insecure: false }),
    openManifests: () => ({ readPlatforms: () => Promise.resolve(listed) }),
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
    const away = new ProviderError('RegistryUnavailable', 'away');
    await expect(trustIn({ signed: away }).trust.verify(place, [image])).rejects.toBe(away);
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
      type: 'AttestationInvalid',
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

describe('the scan of an image', () => {
  const at = '2026-11-25T00:00:00.000Z';
  const errored = erroredScan('the scanner is missing', at);
  const of = (verdict: 'passed' | 'failed' | 'errored'): World => ({
    evidence: {
      app: { buildKey: '', bases: {}, warnings: [], scan: { ...errored, verdict, reason: `it ${verdict}` } },
    },
  });

  test.each([
    ['block', of('failed'), 'ImageVulnerable'],
    ['block', of('errored'), 'ScanErrored'],
    ['block', {}, 'ScanErrored'],
  ] as const)('keeps it out where it says %s', async (scan, world, type) => {
    await expect(trustIn(world).trust.checkScans(placeOf({ scan }))).rejects.toMatchObject({ type, retryable: false });
  });

  test.each([
    ['block', of('passed'), ['image app: scan passed, it passed']],
    ['warn', of('failed'), ['image app: scan failed, it failed']],
    ['warn', {}, ['image app: scan errored, it was never scanned']],
    ['off', of('failed'), []],
  ] as const)('is told with the plan where it says %s', async (scan, world, lines) => {
    expect(await trustIn(world).trust.checkScans(placeOf({ scan }))).toEqual(lines);
  });
});
