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
  /** Manifests of its platforms, where it is a list that was examined. */
  readonly platforms: readonly string[];
}

/** One image to be removed, with everything that hangs on it. */
export interface PushedImage {
  readonly name: string;
  readonly digest: string;
  readonly tags: readonly string[];
  readonly sizeBytes: number;
  /** Digests of manifests to be deleted, in this order: the image, its platforms, then signatures and attestations. */
  readonly manifests: readonly string[];
  /** Digests that nobody may need while it goes: itself, its platforms, and the other lists that go and have one of them. */
  readonly claims: readonly string[];
}

/** What hangs on something of an image that is no more. */
export interface LeftAttachments {
  /** The image or platform that it is about. */
  readonly subject: string;
  readonly manifests: readonly NamedManifest[];
  /** Images that runs have pushed and that are, or had, the subject: whoever pushes one of them again needs all this again. */
  readonly owners: readonly string[];
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
  const { going, needed } = withoutNeeded(manifests, candidates, kept);
  // One that is a platform of another one that goes, goes with it.
  const platforms = new Set(going.flatMap(({ parts }) => parts));
  const whole = going.filter(({ digest }) => !platforms.has(digest));
  // What several have goes with the last of them: until then one of them may turn out to be needed.
  const lastOf = new Map<string, NamedManifest>();
  for (const image of whole) for (const digest of subjectsOf(image)) lastOf.set(digest, image);
  for (const digest of needed) lastOf.delete(digest);
  const attached = new Map<NamedManifest, string[]>();
  for (const { digest, tags } of manifests) {
    const owners = tags.map((tag) => lastOf.get(subjectOf(tag) ?? ''));
    if (owners.length === 0 || owners.includes(undefined)) continue;
    const last = whole.findLast((image) => owners.includes(image));
    if (last !== undefined) attached.set(last, [...(attached.get(last) ?? []), digest]);
  }

  return whole.map((image): PushedImage => {
    const { digest, tags, parts } = image;
    const own = records.get(digest)?.at(-1);
    const free = parts.filter((part) => !needed.has(part));
    const others = whole.filter((other) => other !== image && other.parts.some((part) => free.includes(part)));
    return {
      name: own?.name ?? '',
      digest,
      tags,
      sizeBytes: own?.sizeBytes ?? 0,
      manifests: [
        ...new Set([digest, ...free.filter((part) => lastOf.get(part) === image), ...(attached.get(image) ?? [])]),
      ],
      claims: [...new Set([digest, ...free, ...others.map((other) => other.digest)])],
    };
  });
}

/** The candidates that are part of nothing that stays, and every digest that something needs that stays. */
function withoutNeeded(
  manifests: readonly NamedManifest[],
  candidates: readonly NamedManifest[],
  kept: ReadonlySet<string>,
): { readonly going: readonly NamedManifest[]; readonly needed: ReadonlySet<string> } {
  for (let going = candidates; ;) {
    const subjects = new Set(going.flatMap(subjectsOf));
    const digests = new Set(going.map(({ digest }) => digest));
    const staying = manifests.filter(({ digest, tags }) => !digests.has(digest) && !areAbout(tags, subjects));
    const needed = new Set([...kept, ...staying.flatMap(subjectsOf)]);
    const rest = going.filter(({ digest }) => !needed.has(digest));
    if (rest.length === going.length) return { going, needed };
    going = rest;
  }
}

function subjectsOf({ digest, parts }: Pick<NamedManifest, 'digest' | 'parts'>): readonly string[] {
  return [digest, ...parts];
}

/** Whether a manifest with these tags is nothing but what is said about one of these digests. */
function areAbout(tags: readonly string[], digests: ReadonlySet<string>): boolean {
  return tags.length > 0 && tags.every((tag) => digests.has(subjectOf(tag) ?? ''));
}

/**
 * What hangs on images of the project, or on platforms of them, that are no more: left when somebody was stopped between an image and its
 * signature, or by a Slipway that did not know of those of platforms.
 *
 * @param subjects - what something may hang on, and is not there as an image or a part of one.
 * @param gone - images of the project that the registry was asked for and does not have.
 */
export function leftAttachments(
  manifests: readonly NamedManifest[],
  recorded: readonly RecordedImage[],
  subjects: readonly string[],
  gone: ReadonlySet<string>,
): readonly LeftAttachments[] {
  const left = subjects.flatMap((subject) => {
    const owners = ownersOf(subject, recorded);
    // One that is there still has it, and what nobody here has pushed is not ours.
    return owners.length > 0 && owners.every((owner) => gone.has(owner)) ? [{ subject, owners }] : [];
  });
  const about = new Set(left.map(({ subject }) => subject));
  const hanging = manifests.filter(({ tags }) => areAbout(tags, about));
  return left.map(({ subject, owners }) => {
    return { subject, owners, manifests: hanging.filter(({ tags }) => subjectOf(tags[0] ?? '') === subject) };
  });
}

/** Images that are a digest, or have it as a platform. */
export function ownersOf(digest: string, recorded: readonly RecordedImage[]): readonly string[] {
  const owners = recorded.filter((image) => image.digest === digest || image.platforms.includes(digest));
  return [...new Set(owners.map((image) => image.digest))];
}
