import pLimit from 'p-limit';
import {
  type LeftAttachments,
  type NamedManifest,
  type RecordedImage,
  leftAttachments,
  ownersOf,
  subjectOf,
} from '../domain/registry-retention.ts';
import type { ImageRegistry } from '../providers/registries/port.ts';

/** Questions to the registry at once. Judgement. */
const atOnce = 4;

/** How a look into a registry is stopped, and whom it tells that it goes on. */
export interface Look {
  readonly manifests: ImageRegistry;
  readonly signal: AbortSignal;
  readonly progress: () => void;
}

/** Every manifest of a repository that has a name. */
export async function readNamedManifests(
  { manifests, signal, progress }: Look,
  repository: string,
): Promise<readonly NamedManifest[]> {
  const limit = pLimit(atOnce);
  const named = new Map<string, { tags: string[]; isList: boolean }>();
  const tags = await manifests.listTags(repository, signal);
  await Promise.all(
    tags.map((tag) =>
      limit(async () => {
        const found = await manifests.readManifest(repository, tag, signal);
        progress();
        if (found === undefined) return;
        const known = named.get(found.digest);
        if (known !== undefined) known.tags.push(tag);
        else named.set(found.digest, { tags: [tag], isList: /index|manifest\.list/.test(found.mediaType) });
      }),
    ),
  );
  return await Promise.all(
    [...named].map(([digest, one]) =>
      limit(async (): Promise<NamedManifest> => {
        // The list of referrers of a registry without the API for it is no image of several platforms.
        const isImage = one.isList && !one.tags.some((tag) => subjectOf(tag) !== undefined);
        const content = isImage ? await manifests.readContent(repository, digest, signal) : undefined;
        progress();
        return { digest, tags: one.tags.sort(), parts: content?.manifests ?? [] };
      }),
    ),
  );
}

/**
 * What is left of images of the project that are no more.
 *
 * @param broken - digests whose removal was stopped in the middle; of others it is known by the names of what hangs on them.
 */
export async function findLeftAttachments(
  { manifests, signal, progress }: Look,
  repository: string,
  at: {
    readonly named: readonly NamedManifest[];
    readonly recorded: readonly RecordedImage[];
    readonly broken: readonly string[];
  },
): Promise<readonly LeftAttachments[]> {
  const { named, recorded, broken } = at;
  const here = new Set(named.flatMap(({ digest, parts }) => [digest, ...parts]));
  const about = named.flatMap(({ tags }) => tags.flatMap((tag) => subjectOf(tag) ?? []));
  const subjects = [...new Set([...about, ...broken])].filter((digest) => !here.has(digest));
  const owners = new Set(subjects.flatMap((subject) => ownersOf(subject, recorded)));
  const gone = new Set<string>();
  for (const owner of owners) {
    if (!here.has(owner) && (await manifests.readManifest(repository, owner, signal)) === undefined) gone.add(owner);
    progress();
  }
  return leftAttachments(named, recorded, subjects, gone);
}
