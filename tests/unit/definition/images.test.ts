import { describe, expect, test } from '@jest/globals';
import { resolveEnvironment } from '../../../src/definition/environment.ts';
import { resolveScan } from '../../../src/definition/image-resolution.ts';
import { resolvePipeline } from '../../../src/definition/pipeline.ts';
import { pairOf, problemsOf, projectText } from './documents.ts';

const publicKey = '-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n';
const quoted = JSON.stringify(publicKey);
const withImages = (images: string, production = '{}'): string =>
  `${projectText.replace('  staging:\n', `    images: ${production}\n  staging:\n`)}images: ${images}\n`;

describe('what must be known of images', () => {
  test('is nothing by default', () => {
    const pair = pairOf();
    expect(resolvePipeline(pair).supplyChain).toMatchObject({
      sbom: 'auto',
      tags: ['{build}-{commit}', '{version}', 'latest'],
      verify: 'digest',
    });
    expect(resolveEnvironment(pair, 'production').imageTrust).toMatchObject({
      scan: 'off',
      requireSignature: false,
      requireAttestation: false,
    });
  });

  test('is demanded by environments over what the project says', () => {
    const pair = pairOf({
      project: withImages(
        `{ scan: { database: /db }, signing: { key: { env: K } }, trust: [${quoted}] }`,
        '{ scan: block, requireSignature: true, attestation: required }',
      ),
    });
    expect(resolveEnvironment(pair, 'production').imageTrust).toEqual({
      scans: resolveScan(pair.project),
      signs: true,
      scan: 'block',
      requireSignature: true,
      requireAttestation: true,
      keys: [publicKey],
      builder: 'urn:slipway:builder',
    });
    expect(resolveEnvironment(pair, 'staging').imageTrust).toMatchObject({ scan: 'warn', requireSignature: false });
    expect(resolvePipeline(pair).supplyChain).toMatchObject({
      sbom: 'auto',
      scan: {
        scanner: 'trivy',
        mode: 'warn',
        modes: { production: 'block', staging: 'warn' },
        maxAgeMs: 172_800_000,
        severities: ['high', 'critical'],
      },
    });
  });

  test.each([
    ['required', 'required'],
    ['off', 'off'],
    ['auto', 'auto'],
    // As documents of before 2026-11-26 say it.
    ['true', 'required'],
    ['false', 'off'],
  ])('asks for a bill of materials: `%s` is %s', (written, mode) => {
    const pair = pairOf({ project: withImages(`{ sbom: ${written} }`) });
    expect(resolvePipeline(pair).supplyChain.sbom).toBe(mode);
  });

  test('knows no other word for a bill of materials', () => {
    expect(problemsOf({ project: withImages('{ sbom: sometimes }') })).toEqual([
      'images.sbom must be one of `auto`, `required`, `off`',
    ]);
  });

  test('never has a fork sign anything', () => {
    const pair = pairOf({ project: withImages('{ signing: { key: { env: K } } }') });
    expect(resolvePipeline(pair).supplyChain.signing).toBeDefined();
    expect(resolvePipeline(pair, { fork: true }).supplyChain.signing).toBeUndefined();
  });

  test.each([
    ['a signature without a key', '{ requireSignature: true }', '{}', 'images.requireSignature is asked for'],
    [
      'the same of one environment',
      '{}',
      '{ requireSignature: true }',
      'environments.production.images.requireSignature',
    ],
    [
      'an attestation that nobody makes',
      `{ attestation: required, trust: [${quoted}] }`,
      '{}',
      'nothing is signed here',
    ],
    ['a scan that nobody makes', '{}', '{ scan: block }', 'environments.production.images.scan is asked for'],
    ['a tag of nothing', '{ tags: ["{branch}-{hash}"] }', '{}', 'names `{hash}`, which stands for nothing'],
    [
      'an exception without a reason',
      '{ scan: { database: /db, exceptions: [{ id: X, until: "2026-01-01" }] } }',
      '{}',
      'reason',
    ],
    ['a database that is no place', '{ scan: { database: db } }', '{}', 'must be a folder of the worker'],
  ])('is refused as %s', (_, images, production, said) => {
    expect(problemsOf({ project: withImages(images, production) }).join('\n')).toContain(said);
  });

  test('does not repeat a private key that somebody wrote down as a public one', () => {
    const said = problemsOf({ project: withImages('{ trust: ["-----BEGIN ENCRYPTED KEY----- c2VjcmV0"] }') }).join(
      '\n',
    );
    expect(said).toContain('must be a public key in PEM');
    expect(said).not.toContain('c2VjcmV0');
  });
});
