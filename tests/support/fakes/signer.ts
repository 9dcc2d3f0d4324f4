import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { FailureType } from '../../../src/domain/failure-kinds.ts';
import { ProviderError } from '../../../src/domain/failures.ts';
import { type Statement, provenanceType } from '../../../src/domain/provenance.ts';
import type { AttestationType, ImageSigner, SignedImage } from '../../../src/providers/signers/port.ts';

/** What a fake registry holds: images by `repository@digest`, and what is signed and attested of them by whom. */
export interface FakeSigner extends ImageSigner {
  /** An image that there is. */
  add(image: Pick<SignedImage, 'repository' | 'digest'>): void;
  /** From here on the registry does not answer, or does again. */
  setAway(away: boolean): void;
}

const typeNames: Readonly<Record<AttestationType, string>> = {
  provenance: provenanceType,
  spdx: 'https://spdx.dev/Document',
  cyclonedx: 'https://cyclonedx.org/bom',
  scan: 'https://cosign.sigstore.dev/attestation/vuln/v1',
};

interface Attested {
  readonly image: string;
  readonly by: string;
  readonly type: AttestationType;
  readonly statement: Statement;
}

/** Signs in memory: the private key of a pair is its public one with `private:` before it. */
export function createFakeSigner(): FakeSigner {
  const images = new Set<string>();
  const signatures = new Map<string, Set<string>>();
  let attested: readonly Attested[] = [];
  let isAway = false;

  function nameOf({ repository, digest }: Pick<SignedImage, 'repository' | 'digest'>): string {
    return `${repository}@${digest}`;
  }
  function refuse(type: FailureType, name: string): ProviderError {
    return new ProviderError(type, `${type}: ${name}`);
  }
  async function need(image: SignedImage, signal?: AbortSignal): Promise<string> {
    signal?.throwIfAborted();
    await Promise.resolve();
    const name = nameOf(image);
    if (isAway) throw refuse('RegistryUnavailable', name);
    if (!images.has(name)) throw refuse('ImageNotFound', name);
    return name;
  }
  const publicOf = (privateKey: string): string => privateKey.replace(/^private:/, '');

  return {
    add: (image) => void images.add(nameOf(image)),
    setAway: (away) => void (isAway = away),
    async sign(image, key, signal) {
      const name = await need(image, signal);
      signatures.set(name, new Set([...(signatures.get(name) ?? []), publicOf(key.privateKey)]));
    },
    async attest(image, key, { type, predicateFile, replace }, signal) {
      const name = await need(image, signal);
      const statement: Statement = {
        subject: [{ name: image.repository, digest: { sha256: image.digest.replace('sha256:', '') } }],
        predicateType: typeNames[type],
        predicate: JSON.parse(readFileSync(predicateFile, 'utf8')) as unknown,
      };
      // As cosign does: what lies in the registry is read, added to, and written again a moment later.
      const found = attested.filter((each) => each.image === name && !(replace && each.type === type));
      await delay(1);
      const others = attested.filter((each) => each.image !== name);
      attested = [...others, ...found, { image: name, by: publicOf(key.privateKey), type, statement }];
    },
    async verifySignature(image, keys, signal) {
      const name = await need(image, signal);
      const by = signatures.get(name) ?? new Set();
      if (!keys.some((key) => by.has(key))) throw refuse('ImageNotSigned', name);
    },
    async readAttestations(image, keys, type, signal) {
      const name = await need(image, signal);
      const all = attested.filter((each) => each.image === name && each.type === type);
      if (all.length === 0 || keys.length === 0) throw refuse('ImageNotSigned', name);
      const trusted = all.filter(({ by }) => keys.includes(by));
      if (trusted.length === 0) throw refuse('AttestationInvalid', name);
      return trusted.map(({ statement }) => statement);
    },
    async listAttested(image, signal) {
      const name = await need(image, signal);
      return new Set(attested.filter((each) => each.image === name).map(({ type }) => type));
    },
    async forget(image, { type, atLeast, isNeeded }, { signal, moved } = {}) {
      const name = await need(image, signal);
      const all = attested.filter((each) => each.image === name);
      if (all.length < atLeast) return all.length;
      for (let fetched = 0; fetched < all.length; fetched += 1) moved?.();
      const ofType = all.filter((each) => each.type === type);
      if (ofType.length < atLeast) return ofType.length;
      const gone = ofType.filter(({ statement }) => !isNeeded(statement));
      attested = attested.filter((each) => !gone.includes(each));
      return ofType.length - gone.length;
    },
    ready: () => Promise.resolve(),
  };
}
