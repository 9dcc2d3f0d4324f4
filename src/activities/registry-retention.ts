import pLimit from 'p-limit';
import { loadProject } from '../definition/load.ts';
import { resolveRegistry } from '../definition/pipeline.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import { ProviderError } from '../domain/failures.ts';
import {
  type NamedManifest,
  type PushedImage,
  type RecordedImage,
  leftAttachments,
  pushedToRemove,
  subjectOf,
} from '../domain/registry-retention.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import type { ReadRegistry } from '../providers/registries/logins/index.ts';
import type { ImageRegistry, RegistryAddress } from '../providers/registries/port.ts';
import { appendAudit } from '../store/audit.ts';
import { listProjects } from '../store/projects.ts';
import { forgetBuildsOf, isRepositoryInUse, readNow, readPushedImages } from '../store/registry-retention.ts';
import { readKeptBuilds } from '../store/retention.ts';
import type { Store } from '../store/store.ts';
import { beating } from './changes.ts';
import type { PushedRemoval, RegistryRetentionActivities } from './contracts.ts';
import { backupsOf } from './disks.ts';

export interface RegistryRetentionDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly blobs: Pick<BlobStore, 'list'>;
  readonly readRegistry: ReadRegistry;
  readonly openManifests: (registry: RegistryAddress) => ImageRegistry;
}

/** Who removes what is no longer kept. */
const actor = 'retention';
/** Questions to the registry at once. Judgement. */
const atOnce = 4;
/** Names that are told; their number is always whole. */
const shownNames = 500;

/** What is looked at in one repository. */
interface Repository {
  readonly name: string;
  readonly manifests: readonly NamedManifest[];
  readonly recorded: readonly RecordedImage[];
}

/** Removes from registries what is no longer kept. Everything may run twice: what is gone is passed over. */
export function createRegistryRetentionActivities(deps: RegistryRetentionDependencies): RegistryRetentionActivities {
  const { store, blobs, readRegistry, openManifests } = deps;

  /**
   * Digests that a run or release of any project names that is kept, or belongs to a backup.
   *
   * @throws `DefinitionInvalid` (not retried): what a project keeps cannot be read, so nobody knows.
   */
  async function readKept(): Promise<ReadonlySet<string>> {
    const kept = new Set<string>();
    for (const { name, text } of await listProjects(store.db)) {
      const { retention } = projectOf(name, text);
      const needed = await readKeptBuilds(store.db, name, retention.runs, await backupsOf(blobs, name));
      for (const digest of needed.digests) kept.add(digest);
    }
    return kept;
  }

  return {
    removePushedImages: ({ project, dryRun = false }) =>
      beating(async (signal, progress): Promise<PushedRemoval> => {
        const what = `pushed images of ${project}`;
        const text = (await listProjects(store.db)).find(({ name }) => name === project)?.text;
        if (text === undefined) throw new ProviderError('NotFound', `there is no project ${project}`);
        const registry = await readRegistry(resolveRegistry({ project: projectOf(project, text) }), signal);
        const manifests = openManifests(registry);
        const removed: PushedImage[] = [];
        let left: string | undefined;
        for (const [name, recorded] of await readPushedImages(store.db, project)) {
          // Of another registry that the project had once: its password is not known any more.
          if (!name.startsWith(`${registry.address}/`)) continue;
          const repository = await readRepository(manifests, name, recorded, { signal, progress });
          // Both after the list: what has been pushed since is not in it, and what is in it is in what is kept.
          const since = await readNow(store.db);
          const old = pushedToRemove(repository.manifests, recorded, await readKept());
          if (dryRun) {
            removed.push(...old);
            continue;
          }
          const orphans = await findOrphans(manifests, repository, signal);
          if (old.length > 0) await tell(store, project, old);
          const done = await removeAll({ manifests, repository: name, project, since, signal, progress }, old, removed);
          if (!done || (orphans.length > 0 && (await isRepositoryInUse(store.db, name, project, since)))) {
            left = 'somebody builds or deploys just now: the rest is left for the next time';
            break;
          }
          if (orphans.length > 0) await tellOrphans(store, project, name, orphans);
          for (const { digest } of orphans) await manifests.deleteManifest(name, digest, signal);
        }
        return {
          what,
          count: removed.length,
          sizeBytes: removed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
          names: removed.slice(0, shownNames).map(nameOf),
          ...(left === undefined ? {} : { left }),
        };
      }),
  };

  async function removeAll(
    at: {
      readonly manifests: ImageRegistry;
      readonly repository: string;
      readonly project: string;
      readonly since: string;
      readonly signal: AbortSignal;
      readonly progress: () => void;
    },
    old: readonly PushedImage[],
    removed: PushedImage[],
  ): Promise<boolean> {
    const { manifests, repository, project, since, signal, progress } = at;
    for (const image of old) {
      signal.throwIfAborted();
      // Nobody finds it by its inputs from here on; whoever had found it before is seen by the next question.
      await forgetBuildsOf(store.db, repository, image.digest);
      if (await isRepositoryInUse(store.db, repository, project, since)) return false;
      // Of a list each platform has statements of its own.
      const referrers: string[] = [];
      for (const digest of image.manifests) {
        referrers.push(...(await manifests.listReferrers(repository, digest, signal)));
      }
      for (const digest of new Set([...image.manifests, ...referrers])) {
        await manifests.deleteManifest(repository, digest, signal);
        progress();
      }
      removed.push(image);
    }
    return true;
  }
}

/** Every manifest of a repository that has a name. */
async function readRepository(
  manifests: ImageRegistry,
  repository: string,
  recorded: readonly RecordedImage[],
  { signal, progress }: { readonly signal: AbortSignal; readonly progress: () => void },
): Promise<Repository> {
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
  const whole = await Promise.all(
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
  return { name: repository, manifests: whole, recorded };
}

/** Signatures of images of the project that are no more. */
async function findOrphans(
  manifests: ImageRegistry,
  { name, manifests: named, recorded }: Repository,
  signal: AbortSignal,
): Promise<readonly NamedManifest[]> {
  const here = new Set(named.flatMap(({ digest, parts }) => [digest, ...parts]));
  const own = new Set(recorded.map(({ digest }) => digest));
  const subjects = new Set(named.flatMap(({ tags }) => tags.flatMap((tag) => subjectOf(tag) ?? [])));
  const gone = new Set<string>();
  for (const subject of subjects) {
    if (here.has(subject) || !own.has(subject)) continue;
    if ((await manifests.readManifest(name, subject, signal)) === undefined) gone.add(subject);
  }
  return leftAttachments(named, gone);
}

/** Before it is done; what cannot be written is not done. */
async function tell(store: Pick<Store, 'db'>, project: string, images: readonly PushedImage[]): Promise<void> {
  const sizeBytes = images.reduce((sum, image) => sum + image.sizeBytes, 0);
  const detail = { count: images.length, sizeBytes, names: images.slice(0, shownNames).map(nameOf) };
  await appendAudit(store.db, { actor, action: 'retention.registry', object: project, detail });
}

/** As {@link tell}, of what is left of images that went before. */
async function tellOrphans(
  store: Pick<Store, 'db'>,
  project: string,
  repository: string,
  orphans: readonly NamedManifest[],
): Promise<void> {
  const names = orphans.slice(0, shownNames).map(({ digest, tags }) => `${repository}:${tags[0] ?? ''}@${digest}`);
  const detail = { count: orphans.length, names };
  await appendAudit(store.db, { actor, action: 'retention.signatures', object: project, detail });
}

function nameOf({ name, digest, tags }: PushedImage): string {
  return `${name}:${tags[0] ?? ''}@${digest}`;
}

function projectOf(name: string, text: string): ProjectDefinition {
  const loaded = loadProject({ file: 'project.yaml', text });
  if (loaded.ok) return loaded.value;
  throw new ProviderError(
    'DefinitionInvalid',
    `the project.yaml of ${name} cannot be read, so nobody knows what it keeps: nothing is removed`,
  );
}
