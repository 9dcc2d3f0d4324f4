/** What must stay in a registry, whatever its age. Pure, so that what would be lost by a mistake is tested without losing it. */

/** A manifest that has a name in a repository. */
export interface NamedManifest {
  readonly digest: string;
  readonly tags: readonly string[];
  /** Of a list of manifests: those of its platforms. */
  readonly parts: readonly string[];
}

/** An image that a run has pushed, as the store knows it. */
export interface RecordedImage {
  readonly name: string;
  readonly run: number;
  readonly digest: string;
  readonly tags: readonly string[];
  readonly sizeBytes: number;
}

/** One image to be removed, with everything that hangs on it. */
export interface PushedImage {
  readonly name: string;
  readonly digest: string;
  readonly tags: readonly string[];
  readonly sizeBytes: number;
  /** Digests of manifests to be deleted, in this order: the image, its platforms, then signatures and attestations. */
  readonly manifests: readonly string[];
}

/** Signatures, attestations and bills of materials as cosign names them, and the list of referrers of registries without the API for it. */
const attachmentTag = /^sha256-([0-9a-f]{64})(?:\.(?:sig|att|sbom))?$/;

/** The digest that a signature or attestation is about; undefined for any other tag. */
export function subjectOf(tag: string): string | undefined {
  const hex = attachmentTag.exec(tag)?.[1];
  return hex === undefined ? undefined : `sha256:${hex}`;
}

/** What follows the newest of its kind, and may lead outside of Slipway: whoever has it goes only after another one does. */
function isPointer(tag: string): boolean {
  return tag === 'latest' || /^v?\d+(?:\.\d+)?$/.test(tag);
}

/**
 * Images of one repository that nothing needs. One goes only if a run of the project has pushed it, no kept digest is it or a list that it is
 * part of, every tag that it has now was given by Slipway and none of them is `latest` or the number of a line of versions, and it is not the
 * newest of its name, whose layers are the cache of the next build.
 *
 * @param kept - digests of every project that has images in the repository.
 */
export function pushedToRemove(
  manifests: readonly NamedManifest[],
  recorded: readonly RecordedImage[],
  kept: ReadonlySet<string>,
): readonly PushedImage[] {
  const newest = new Map<string, RecordedImage>();
  const records = new Map<string, RecordedImage[]>();
  for (const image of recorded) {
    if ((newest.get(image.name)?.run ?? 0) < image.run) newest.set(image.name, image);
    records.set(image.digest, [...(records.get(image.digest) ?? []), image]);
  }
  const cache = new Set([...newest.values()].map(({ digest }) => digest));

  const candidates = manifests.filter(({ digest, tags }) => {
    const own = records.get(digest);
    if (own === undefined || kept.has(digest) || cache.has(digest)) return false;
    const given = new Set(own.flatMap((image) => image.tags));
    return tags.every((tag) => given.has(tag) && !isPointer(tag));
  });
  // As they were pushed: what is left when somebody is stopped is the younger part.
  const runOf = ({ digest }: NamedManifest): number => records.get(digest)?.[0]?.run ?? 0;
  candidates.sort((a, b) => runOf(a) - runOf(b));
  const going = new Set(candidates.map(({ digest }) => digest));
  const isAttached = ({ tags }: NamedManifest): boolean =>
    tags.length > 0 && tags.every((tag) => isAboutOne(tag, going));
  const staying = manifests.filter((manifest) => !going.has(manifest.digest) && !isAttached(manifest));
  const needed = new Set([...kept, ...staying.flatMap(({ digest, parts }) => [digest, ...parts])]);

  return candidates.flatMap(({ digest, tags, parts }): readonly PushedImage[] => {
    // A part of something that stays.
    if (needed.has(digest)) return [];
    const subjects = new Set([digest, ...parts]);
    const attached = manifests.filter(
      (manifest) => isAttached(manifest) && manifest.tags.some((tag) => isAboutOne(tag, subjects)),
    );
    const others = [...parts, ...attached.map((manifest) => manifest.digest)].filter((each) => !needed.has(each));
    const own = records.get(digest)?.at(-1);
    return [
      {
        name: own?.name ?? '',
        digest,
        tags,
        sizeBytes: own?.sizeBytes ?? 0,
        manifests: [...new Set([digest, ...others])],
      },
    ];
  });
}

function isAboutOne(tag: string, digests: ReadonlySet<string>): boolean {
  const subject = subjectOf(tag);
  return subject !== undefined && digests.has(subject);
}

/**
 * What hangs on images of the project that are no more: left when somebody was stopped between an image and its signature.
 *
 * @param gone - digests that the registry was asked for and does not have.
 */
export function leftAttachments(
  manifests: readonly NamedManifest[],
  gone: ReadonlySet<string>,
): readonly NamedManifest[] {
  return manifests.filter(({ tags }) => tags.length > 0 && tags.every((tag) => isAboutOne(tag, gone)));
}
