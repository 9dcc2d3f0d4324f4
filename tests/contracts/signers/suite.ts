import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { type Statement, provenanceType } from '../../../src/domain/provenance.ts';
import type { AttestationType, ImageSigner, SignedImage, SigningKey } from '../../../src/providers/signers/port.ts';

export interface SignerKey extends SigningKey {
  readonly publicKey: string;
}

/** A signer under test and what the suite must be able to do to it. */
export interface SignerLab {
  readonly signer: ImageSigner;
  /** Keys of two people. */
  readonly own: SignerKey;
  readonly stranger: SignerKey;
  /** Another image that nobody has signed, in its registry. */
  newImage(): Promise<SignedImage>;
  /** An image of a registry that does not answer. */
  away(): SignedImage;
  stop(): void;
}

/** What every signer keeps, the fake included. */
export function describeSigner(name: string, start: () => Promise<SignerLab>): void {
  describe(`signer ${name}`, () => {
    let lab: SignerLab;
    let folder: string;
    let image: SignedImage;

    beforeAll(async () => {
      lab = await start();
      folder = mkdtempSync(join(tmpdir(), 'slipway-signer-'));
    }, 900_000);
    afterAll(() => {
      rmSync(folder, { recursive: true, force: true });
      lab.stop();
    });
    beforeEach(async () => {
      image = await lab.newImage();
    });

    async function attest(by: SignerKey, what: string, replace = false, type: AttestationType = 'provenance') {
      const predicateFile = join(folder, 'predicate.json');
      writeFileSync(predicateFile, JSON.stringify({ buildDefinition: { externalParameters: { what } } }));
      await lab.signer.attest(image, by, { type, predicateFile, replace });
    }
    async function read(keys: readonly SignerKey[], of = image): Promise<readonly unknown[]> {
      const statements = await lab.signer.readAttestations(
        of,
        keys.map(({ publicKey }) => publicKey),
        'provenance',
      );
      return statements.map(({ predicate }) => predicate);
    }
    const saying = (what: string) => expect.objectContaining({ buildDefinition: { externalParameters: { what } } });

    test('knows what nobody has signed or attested', async () => {
      const key = lab.own.publicKey;
      await expect(lab.signer.verifySignature(image, [key])).rejects.toMatchObject({
        type: 'ImageNotSigned',
        retryable: false,
      });
      await expect(read([lab.own])).rejects.toMatchObject({ type: 'ImageNotSigned', retryable: false });
    });

    test('takes a signature by one of the keys, and by no other; signing again changes nothing', async () => {
      const { own, stranger, signer } = lab;
      await signer.sign(image, own);
      await signer.sign(image, own);
      await signer.verifySignature(image, [own.publicKey]);
      await signer.verifySignature(image, [stranger.publicKey, own.publicKey]);
      for (const keys of [[stranger.publicKey], []]) {
        await expect(signer.verifySignature(image, keys)).rejects.toMatchObject({ type: 'ImageNotSigned' });
      }
      await expect(signer.verifySignature(await lab.newImage(), [own.publicKey])).rejects.toMatchObject({
        type: 'ImageNotSigned',
      });
    });

    test('gives statements about the image whose signature holds, each as it was made', async () => {
      const { own, stranger, signer } = lab;
      await attest(own, 'first');
      await attest(own, 'second');
      expect(await read([stranger, own])).toEqual(expect.arrayContaining([saying('first'), saying('second')]));
      const [statement] = await signer.readAttestations(image, [own.publicKey], 'provenance');
      expect(statement?.predicateType).toBe(provenanceType);
      expect(statement?.subject[0]?.digest).toEqual({ sha256: image.digest.replace('sha256:', '') });
      await expect(read([stranger])).rejects.toMatchObject({ type: 'AttestationInvalid', retryable: false });
      await expect(read([own], await lab.newImage())).rejects.toMatchObject({ type: 'ImageNotSigned' });
    });

    test('gives the statements of every key that is trusted, each once, whichever is named first', async () => {
      const { own, stranger } = lab;
      await attest(own, 'by the old key');
      await attest(stranger, 'by the new key');
      for (const keys of [
        [own, stranger],
        [stranger, own],
      ]) {
        const found = await read(keys);
        expect(found).toHaveLength(2);
        expect(found).toEqual(expect.arrayContaining([saying('by the old key'), saying('by the new key')]));
      }
      expect(await read([own])).toEqual([saying('by the old key')]);
      expect(await read([own, own])).toEqual([saying('by the old key')]);
    });

    test('forgets statements that nobody needs once there are many, of its type alone and whoever signed them', async () => {
      const { own, stranger, signer } = lab;
      await attest(own, 'a list', true, 'spdx');
      for (const [by, what] of [
        [own, 'first'],
        [stranger, 'second'],
        [own, 'third'],
      ] as const) {
        await attest(by, what);
      }
      const seen: unknown[] = [];
      const isNeeded = ({ predicate }: Statement): boolean => {
        seen.push(predicate);
        return JSON.stringify(predicate).includes('third');
      };
      expect(await signer.forget(image, { type: 'provenance', atLeast: 4, isNeeded })).toBe(3);
      expect(seen).toEqual([]);
      expect(await read([own, stranger])).toHaveLength(3);
      expect(await signer.forget(image, { type: 'provenance', atLeast: 3, isNeeded })).toBe(1);
      expect(seen).toEqual([saying('first'), saying('second'), saying('third')]);
      // What stays is as it was signed, and the next one finds its place beside it.
      await attest(stranger, 'fourth');
      const left = await read([own, stranger]);
      expect(left).toHaveLength(2);
      expect(left).toEqual(expect.arrayContaining([saying('third'), saying('fourth')]));
      await expect(signer.readAttestations(image, [own.publicKey], 'spdx')).resolves.toHaveLength(1);
      expect(await signer.forget(await lab.newImage(), { type: 'provenance', atLeast: 1, isNeeded })).toBe(0);
    });

    test('knows of which types there are statements, whoever signed them', async () => {
      const { own, stranger, signer } = lab;
      expect(await signer.listAttested(image)).toEqual(new Set());
      await attest(own, 'first');
      await attest(stranger, 'a list', true, 'spdx');
      await attest(own, 'another list', true, 'cyclonedx');
      expect(await signer.listAttested(image)).toEqual(new Set(['provenance', 'spdx', 'cyclonedx']));
      await attest(own, 'what was found', true, 'scan');
      expect(await signer.listAttested(image)).toEqual(new Set(['provenance', 'spdx', 'cyclonedx', 'scan']));
      expect(await signer.listAttested(await lab.newImage())).toEqual(new Set());
    });

    test('says that it gets on while it looks through statements, also where all of them stay', async () => {
      await attest(lab.own, 'first');
      await attest(lab.own, 'second');
      let moved = 0;
      const all = { type: 'provenance', atLeast: 2, isNeeded: () => true } as const;
      expect(await lab.signer.forget(image, all, { moved: () => (moved += 1) })).toBe(2);
      expect(moved).toBeGreaterThanOrEqual(2);
    });

    test('puts a statement in the place of older ones of its type where that is asked for', async () => {
      await attest(lab.own, 'first');
      await attest(lab.own, 'second', true);
      expect(await read([lab.own])).toEqual([saying('second')]);
    });

    test('finds nothing good in an image that is not there', async () => {
      const gone = { ...image, digest: `sha256:${'0'.repeat(64)}` };
      const expected = { type: expect.stringMatching(/^(?:ImageNotFound|ImageNotSigned)$/), retryable: false };
      await expect(lab.signer.verifySignature(gone, [lab.own.publicKey])).rejects.toMatchObject(expected);
      await expect(read([lab.own], gone)).rejects.toMatchObject(expected);
    });

    test('is tried again where the registry does not answer', async () => {
      const away = lab.away();
      const expected = { type: 'RegistryUnavailable', retryable: true };
      await expect(lab.signer.sign(away, lab.own)).rejects.toMatchObject(expected);
      await expect(lab.signer.verifySignature(away, [lab.own.publicKey])).rejects.toMatchObject(expected);
      await expect(read([lab.own], away)).rejects.toMatchObject(expected);
      await expect(lab.signer.listAttested(away)).rejects.toMatchObject(expected);
    });

    test('ends when it is called off', async () => {
      const off = lab.signer.sign(image, lab.own, AbortSignal.abort(new Error('called off')));
      await expect(off).rejects.toThrow('called off');
    });
  });
}
