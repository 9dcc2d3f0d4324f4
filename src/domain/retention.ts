/** What must stay, whatever its age; the rules of B-10. Pure, so that what would be lost by a mistake is tested without losing it. */

/** What of a project's runs and releases is kept. */
export interface KeptBuilds {
  /** The newest runs, the open ones, and those that built a release that is needed. */
  readonly runs: readonly number[];
  /** Digests of every image that a kept run or a needed release names; ids of local images among them. */
  readonly digests: readonly string[];
}

/** An image that Slipway built, as an engine has it. */
export interface BuiltImage {
  readonly id: string;
  readonly sizeBytes: number;
  /** `repository:tag`, without those that have none. */
  readonly tags: readonly string[];
  /** `repository@sha256:…`. */
  readonly digests: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** ISO 8601. */
  readonly createdAt: string;
}

/**
 * Images of one project that nothing needs any more. The newest of each name stays, for its layers are the cache of the next build; so does
 * one that does not say which run built it.
 */
export function imagesToRemove(images: readonly BuiltImage[], kept: KeptBuilds): readonly BuiltImage[] {
  const newest = newestOf(images);
  return images.filter((image) => isSpare(image, kept) && !newest.has(image));
}

/**
 * Images of one project that may go when their disk is full, in the order in which they go: oldest first, and the newest of each name after all
 * others. What is needed stays, however full the disk is, and so does one that does not say which run built it.
 */
export function imagesToPrune(images: readonly BuiltImage[], needed: KeptBuilds): readonly BuiltImage[] {
  const newest = newestOf(images);
  return images
    .filter((image) => isSpare(image, needed))
    .sort((a, b) => Number(newest.has(a)) - Number(newest.has(b)) || byAge(a, b));
}

/** The newest of each name. */
function newestOf(images: readonly BuiltImage[]): ReadonlySet<BuiltImage> {
  const newest = new Map<string, BuiltImage>();
  for (const image of images) {
    const name = image.labels['slipway.image'] ?? '';
    const known = newest.get(name);
    if (known === undefined || byAge(known, image) < 0) newest.set(name, image);
  }
  return new Set(newest.values());
}

/** Oldest first; engines count seconds, and of two of the same second the later build is younger. */
function byAge(a: BuiltImage, b: BuiltImage): number {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1;
  return Number(a.labels['slipway.build']) - Number(b.labels['slipway.build']);
}

/** Neither a run nor a release that is kept names it. */
function isSpare(image: BuiltImage, kept: KeptBuilds): boolean {
  const builds = buildsOf(image);
  const runs = new Set(kept.runs);
  const digests = new Set(kept.digests);
  return (
    builds.length > 0 &&
    !builds.some((build) => runs.has(build)) &&
    !digests.has(image.id) &&
    !image.digests.some((digest) => digests.has(digest.slice(digest.indexOf('@') + 1)))
  );
}

/** The run that built it, and those that took it because their inputs were equal: each has given it a tag (`runTag`), whatever the templates are. */
function buildsOf({ labels, tags }: BuiltImage): readonly number[] {
  const built = Number(labels['slipway.build']);
  if (!Number.isSafeInteger(built) || built < 1) return [];
  const named = tags.flatMap((tag) => {
    const match = /:(\d+)-[0-9a-f]+$/.exec(tag);
    return match === null ? [] : [Number(match[1])];
  });
  return [built, ...named];
}

/** Everything that is kept of one backup: dump, record, schema, configuration and what was written later. */
export interface BackupFolder {
  /** Number of the deployment it was taken for. */
  readonly deployment: number;
  readonly sizeBytes: number;
  /** Whether a whole database is in it: its record is written last. */
  readonly database: boolean;
}

/**
 * Backups of one environment that nothing needs any more: neither among the newest `keep`, nor needed. In an environment with a database only
 * those with a whole one count, so that fourteen failed ones do not push the good ones out.
 *
 * @returns them, oldest first.
 * @param needed - deployments whose backup a live, previous or last good release, an open deployment or a database put aside needs.
 */
export function backupsToRemove(
  backups: readonly BackupFolder[],
  keep: number,
  needed: readonly number[],
): readonly BackupFolder[] {
  const counts = backups.some(({ database }) => database) ? backups.filter(({ database }) => database) : backups;
  const newest = [...counts].sort((a, b) => b.deployment - a.deployment).slice(0, keep);
  // Younger than the oldest that is kept, one without a database may be under way.
  const oldest = newest.length < keep ? 0 : (newest.at(-1)?.deployment ?? 0);
  return backups
    .filter(({ deployment }) => deployment < oldest && !needed.includes(deployment))
    .sort((a, b) => a.deployment - b.deployment);
}

/** A file of an artifact or of a cache, as the blobs have it. */
export interface KeptBlob {
  readonly key: string;
  readonly sizeBytes: number;
  readonly writtenAt: Date;
}

/** Which run has left it, by its key. Undefined: it is not named as files of artifacts are, so it is not ours. */
export function runOfArtifact(project: string, { key }: KeptBlob): number | undefined {
  const [folder, of, run = '', ...file] = key.split('/');
  return folder === 'artifacts' && of === project && /^[1-9]\d{0,8}$/.test(run) && file.length === 3
    ? Number(run)
    : undefined;
}

/**
 * Blobs that nobody names and nobody will: a worker that was killed has left them, or could not remove them.
 *
 * @param named - read after the blobs were listed.
 * @param before - what was written later may be about to be named.
 */
export function unnamedBlobs<Blob extends KeptBlob>(
  blobs: readonly Blob[],
  named: readonly string[],
  before: Date,
): readonly Blob[] {
  const stays = new Set(named);
  return blobs.filter(({ key, writtenAt }) => writtenAt < before && !stays.has(key));
}
