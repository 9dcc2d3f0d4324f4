import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { provenanceType, type Statement } from '../../domain/provenance.ts';
import { currentLease } from '../../effects/lease.ts';
import { withScratch } from '../../effects/scratch-folder.ts';
import { createOciRegistry } from '../registries/oci.ts';
import type { AttestationType, ImageSigner, SignedImage } from './port.ts';

/** What cosign is told to attest. Its own `slsaprovenance1` would drop every field that it does not know. */
export const typeNames: Readonly<Record<AttestationType, string>> = {
  provenance: provenanceType,
  spdx: 'spdxjson',
  cyclonedx: 'cyclonedx',
  scan: 'vuln',
};

/** What cosign 2 writes as the type of a statement. */
const predicateTypes: Readonly<Record<AttestationType, string>> = {
  provenance: provenanceType,
  spdx: 'https://spdx.dev/Document',
  cyclonedx: 'https://cyclonedx.org/bom',
  scan: 'https://cosign.sigstore.dev/attestation/vuln/v1',
};
const attestationTypes = Object.keys(predicateTypes) as readonly AttestationType[];

interface Descriptor {
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface AttachedManifest {
  readonly mediaType?: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** By what cosign notes beside each statement in the manifest that names all of them: its type, or (older ones) how the type was given. */
export const listAttestations: ImageSigner['listAttested'] = async (image, signal) => {
  const held = await createOciRegistry(image.registry).readContent(image.repository, tagOf(image), signal);
  const noted = new Set(held?.blobs.map(({ annotations }) => annotations?.['predicateType']));
  return new Set(attestationTypes.filter((type) => noted.has(predicateTypes[type]) || noted.has(typeNames[type])));
};

/**
 * Takes statements out of the manifest in which cosign keeps all of an image, each a layer with its signature in it. Cosign itself can only remove
 * all of them, or put one in the place of all of its type, between which a deployment would find its own missing: here one manifest follows another.
 */
export const forgetAttestations: ImageSigner['forget'] = async (
  image,
  { type, atLeast, isNeeded },
  { signal, moved } = {},
) => {
  const manifests = createOciRegistry(image.registry);
  const tag = tagOf(image);
  const held = await manifests.readContent(image.repository, tag, signal);
  // Those of all types, without the configuration: so few need not be looked into.
  const most = held === undefined ? 0 : held.blobs.length - 1;
  if (held === undefined || most < atLeast) return most;
  return await withScratch('cosign', async (folder) => {
    const options = { ...(signal === undefined ? {} : { signal }), ...(moved === undefined ? {} : { moved }) };
    await manifests.fetchImage(image.repository, held.digest, folder, options);
    const read = (digest: string): Promise<Buffer> => readFile(join(folder, 'blobs', ...digest.split(':')));
    const manifest = JSON.parse((await read(held.digest)).toString()) as AttachedManifest;
    const statements: (Statement | undefined)[] = [];
    for (const { digest } of manifest.layers) statements.push(readStatement(await read(digest)));
    const ofType = statements.filter((statement) => statement?.predicateType === predicateTypes[type]);
    if (ofType.length < atLeast) return ofType.length;
    const stays = statements.map(
      (statement) => statement?.predicateType !== predicateTypes[type] || isNeeded(statement),
    );
    const left = ofType.length - stays.filter((each) => !each).length;
    if (left === ofType.length) return left;
    const config = withoutLayers((await read(manifest.config.digest)).toString(), stays);
    const next = {
      ...manifest,
      config: { ...manifest.config, digest: digestOf(config), size: config.length },
      layers: manifest.layers.filter((_, index) => stays[index]),
    };
    const bytes = Buffer.from(JSON.stringify(next));
    await manifests.ensureBlob(
      image.repository,
      {
        digest: digestOf(config),
        sizeBytes: config.length,
        open: () => Readable.from([config]),
      },
      options,
    );
    const { mediaType } = held;
    // No program that the fence ends: a worker that was stopped until now would write over what somebody newer has attested.
    currentLease()?.check();
    await manifests.writeManifest(image.repository, tag, { mediaType, digest: digestOf(bytes), bytes }, signal);
    return left;
  });
};

/** Where cosign keeps the statements about an image. */
function tagOf({ digest }: SignedImage): string {
  return `${digest.replace(':', '-')}.att`;
}

/** The statement in a DSSE envelope, whoever has signed it; undefined where it is something else. */
function readStatement(envelope: Buffer): Statement | undefined {
  try {
    const { payload } = JSON.parse(envelope.toString()) as { readonly payload: string };
    return JSON.parse(Buffer.from(payload, 'base64').toString()) as Statement;
  } catch {
    return undefined;
  }
}

/** The configuration of the manifest, which names each layer too. */
function withoutLayers(text: string, stays: readonly boolean[]): Buffer {
  const config = JSON.parse(text) as {
    readonly rootfs?: { readonly diff_ids?: readonly string[] };
    readonly history?: readonly unknown[];
  };
  const { rootfs, history } = config;
  const left = <T>(all: readonly T[]): readonly T[] =>
    all.length === stays.length ? all.filter((_, index) => stays[index]) : all;
  return Buffer.from(
    JSON.stringify({
      ...config,
      ...(rootfs?.diff_ids === undefined ? {} : { rootfs: { ...rootfs, diff_ids: left(rootfs.diff_ids) } }),
      ...(history === undefined ? {} : { history: left(history) }),
    }),
  );
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
