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

function placeOf(demanded: Partial<ImageTrustSpec>): Place {
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
  readonly evidence?: Readonly<Record<string, ImageEvidence>>;
}

function trustIn({ signed = true, statements = [statementOf(commit)], evidence = {} }: World): {
  readonly trust: ReturnType<typeof createImageTrust>;
  readonly asked: string[];
} {
  const asked: string[] = [];
  const never = (): never => {
    throw new Error('nothing is signed when something is verified');
  };
  const trust = createImageTrust({
    signer: {
      sign: never,
      attest: never,
      verifySignature({ repository }, keys) {
        asked.push(`signature of ${repository} by ${keys.join()}`);
        if (signed === true) return Promise.resolve();
        return Promise.reject(signed === false ? new ProviderError('ImageNotSigned', 'no signature') : signed);
      },
      readAttestations(_, keys, type) {
        asked.push(`${type} by ${keys.join()}`);
        return Promise.resolve(statements);
      },
    },
    readRegistry: () => Promise.resolve({ address: 'reg', insecure: false }),
    readEvidence: () => Promise.resolve(evidence),
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
