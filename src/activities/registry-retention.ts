import { randomUUID } from 'node:crypto';
import { loadProject } from '../definition/load.ts';
import { resolveRegistry } from '../definition/image-resolution.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import { ProviderError } from '../domain/failures.ts';
import {
  type LeftAttachments,
  type NamedManifest,
  type PushedImage,
  type RecordedImage,
  pushedToRemove,
} from '../domain/registry-retention.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import type { ReadRegistry } from '../providers/registries/logins/index.ts';
import type { ImageRegistry, RegistryAddress } from '../providers/registries/port.ts';
import { appendAudit } from '../store/audit.ts';
import { listProjects } from '../store/projects.ts';
import {
  type Removal,
  claimRemoval,
  endRemoval,
  forgetBrokenRemovals,
  forgetEndedClaims,
  isWaitedFor,
  readBrokenRemovals,
  renewRemoval,
} from '../store/registry-claims.ts';
import { countPushed, forgetBuildsOf, readPushedImages } from '../store/registry-retention.ts';
import { readKeptBuilds } from '../store/retention.ts';
import type { Store } from '../store/store.ts';
import { beating } from './changes.ts';
import type { PushedRemoval, RegistryRetentionActivities } from './contracts.ts';
import { backupsOf } from './disks.ts';
import { type Look, findLeftAttachments, readNamedManifests } from './registry-contents.ts';

export interface RegistryRetentionDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly blobs: Pick<BlobStore, 'list'>;
  readonly readRegistry: ReadRegistry;
  readonly openManifests: (registry: RegistryAddress) => ImageRegistry;
}

/** Who removes what is no longer kept. */
const actor = 'retention';
/** Names that are told; their number is always whole. */
const shownNames = 500;
/**
 * Images that are claimed at once, so that what is kept is not read again for each. Who needs one of them meanwhile waits for the one that is
 * being removed and not for the others. Judgement.
 */
const claimedAtOnce = 20;

/** One repository, as it was looked at. */
interface Repository {
  readonly name: string;
  readonly named: readonly NamedManifest[];
  readonly recorded: readonly RecordedImage[];
  /** How many images were on record before it was looked at. */
  readonly pushed: number;
}

/** What was done and left in all repositories. */
interface Tally {
  readonly removed: PushedImage[];
  left: number;
}

/** Removes from registries what is no longer kept. Everything may run twice: what is gone is passed over. */
export function createRegistryRetentionActivities(deps: RegistryRetentionDependencies): RegistryRetentionActivities {
  const { store, readRegistry, openManifests } = deps;
  const readKept = (): Promise<ReadonlySet<string>> => keptDigests(deps);

  return {
    removePushedImages: ({ project, dryRun = false }) =>
      beating(async (signal, progress): Promise<PushedRemoval> => {
        const what = `pushed images of ${project}`;
        const text = (await listProjects(store.db)).find(({ name }) => name === project)?.text;
        if (text === undefined) throw new ProviderError('NotFound', `there is no project ${project}`);
        const registry = await readRegistry(resolveRegistry({ project: projectOf(project, text) }), signal);
        const look: Look = { manifests: openManifests(registry), signal, progress };
        const tally: Tally = { removed: [], left: 0 };
        if (!dryRun) await forgetEndedClaims(store.db);
        for (const [name, recorded] of await readPushedImages(store.db, project)) {
          // Of another registry that the project had once: its password is not known any more.
          if (!name.startsWith(`${registry.address}/`)) continue;
          const pushed = await countPushed(store.db, name);
          const repository = { name, recorded, pushed, named: await readNamedManifests(look, name) };
          if (dryRun) tally.removed.push(...pushedToRemove(repository.named, recorded, await readKept()));
          else await new RepositoryRetention({ store, readKept, look, project, repository, tally }).run();
        }
        const { removed, left } = tally;
        return {
          what,
          count: removed.length,
          sizeBytes: removed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
          names: removed.slice(0, shownNames).map(nameOf),
          ...(left === 0
            ? {}
            : {
                left: `somebody builds or deploys just now, or an earlier removal was cut off: ${left} are left for the next time`,
              }),
        };
      }),
  };
}

/**
 * Removes what one repository need not keep. First it is claimed, which nobody can who needs it; then it is looked again at what is kept, where
 * whoever has needed it before is on record by now; only then it goes. Who comes to need it meanwhile waits until it is gone.
 */
class RepositoryRetention {
  readonly #db: Store['db'];
  readonly #readKept: () => Promise<ReadonlySet<string>>;
  readonly #look: Look;
  readonly #repository: Repository;
  readonly #tally: Tally;
  readonly #removal: Removal;
  /** What was asked to be removed and not answered: it may still be done. */
  #unanswered: readonly string[] = [];

  constructor(at: {
    readonly store: Pick<Store, 'db'>;
    readonly readKept: () => Promise<ReadonlySet<string>>;
    readonly look: Look;
    readonly project: string;
    readonly repository: Repository;
    readonly tally: Tally;
  }) {
    this.#db = at.store.db;
    this.#readKept = at.readKept;
    this.#look = at.look;
    this.#repository = at.repository;
    this.#tally = at.tally;
    const { project, repository } = at;
    this.#removal = { holder: `retention ${randomUUID()}`, project, repository: repository.name };
  }

  async run(): Promise<void> {
    const { name, named, recorded } = this.#repository;
    const broken = await readBrokenRemovals(this.#db, name);
    const left = await findLeftAttachments(this.#look, name, { named, recorded, broken: broken.digests });
    const old = pushedToRemove(named, recorded, await this.#readKept());
    try {
      for (let index = 0; index < old.length; index += claimedAtOnce) {
        await this.#removeSome(old.slice(index, index + claimedAtOnce));
      }
      const before = this.#tally.left;
      for (const attachments of left) {
        await this.#removeAttachments(attachments);
        await endRemoval(this.#db, this.#removal);
      }
      if (this.#tally.left === before) await forgetBrokenRemovals(this.#db, broken.holders);
    } finally {
      // What cannot be given back ends by itself.
      await endRemoval(this.#db, this.#removal, this.#unanswered).catch(() => undefined);
    }
  }

  async #removeSome(images: readonly PushedImage[]): Promise<void> {
    const claimed: PushedImage[] = [];
    for (const image of images) {
      if (await claimRemoval(this.#db, this.#removal, image.claims)) claimed.push(image);
      else this.#tally.left += 1;
    }
    const free = await this.#stillFree(claimed);
    if (free.length > 0) await this.#tell(free);
    for (const image of free) if (!(await this.#remove(image))) this.#tally.left += 1;
    await endRemoval(this.#db, this.#removal);
  }

  /** Of what is claimed, what nothing on record needs: who needed it before it was claimed has either claimed it too, or is on record. */
  async #stillFree(claimed: readonly PushedImage[]): Promise<readonly PushedImage[]> {
    if (claimed.length === 0) return [];
    const { named, recorded } = this.#repository;
    const kept = await this.#readKept();
    if (await this.#isOutOfDate()) {
      this.#tally.left += claimed.length;
      return [];
    }
    const digests = new Set(claimed.map(({ digest }) => digest));
    return pushedToRemove(named, recorded, kept).filter(({ digest }) => digests.has(digest));
  }

  /** A list that has come since may have a platform that was nobody's before. */
  async #isOutOfDate(): Promise<boolean> {
    return (await countPushed(this.#db, this.#repository.name)) !== this.#repository.pushed;
  }

  async #remove(image: PushedImage): Promise<boolean> {
    const { manifests, signal } = this.#look;
    const { name } = this.#repository;
    signal.throwIfAborted();
    if (!(await this.#mayBegin(image.claims))) return false;
    // Nobody finds it by its inputs from here on; whoever had found it before has it claimed, or does not take it.
    await forgetBuildsOf(this.#db, name, image.digest);
    // Of a list each platform has statements of its own.
    const referrers: string[] = [];
    for (const digest of image.manifests) {
      referrers.push(...(await manifests.listReferrers(name, digest, signal)));
    }
    const done = await this.#delete(image.claims, [...image.manifests, ...referrers]);
    if (done) this.#tally.removed.push(image);
    return done;
  }

  async #removeAttachments({ subject, owners, manifests: hanging }: LeftAttachments): Promise<void> {
    const { manifests, signal } = this.#look;
    const { name, named } = this.#repository;
    const claims = [subject, ...owners];
    signal.throwIfAborted();
    const claimed = (await claimRemoval(this.#db, this.#removal, claims)) && !(await this.#isOutOfDate());
    if (!claimed || !(await this.#mayBegin(claims))) {
      this.#tally.left += 1;
      return;
    }
    for (const owner of owners) {
      // It came back unseen, and has what hangs on it again.
      if ((await manifests.readManifest(name, owner, signal)) !== undefined) return;
    }
    const referrers = await manifests.listReferrers(name, subject, signal);
    const platform = owners.includes(subject) ? undefined : await manifests.readManifest(name, subject, signal);
    const all = [
      ...(platform === undefined ? [] : [subject]),
      ...hanging.map(({ digest }) => digest),
      ...referrers.filter((digest) => named.every((one) => one.digest !== digest)),
    ];
    if (all.length === 0) return;
    await this.#tellLeft(subject, hanging, all);
    if (!(await this.#delete(claims, all))) this.#tally.left += 1;
  }

  async #mayBegin(claims: readonly string[]): Promise<boolean> {
    return (
      (await renewRemoval(this.#db, this.#removal, claims)) && !(await isWaitedFor(this.#db, this.#removal, claims))
    );
  }

  /** @returns false where the claim was lost in between; what is left then is found by the next retention. */
  async #delete(claims: readonly string[], digests: readonly string[]): Promise<boolean> {
    const { manifests, signal, progress } = this.#look;
    for (const digest of new Set(digests)) {
      if (!(await renewRemoval(this.#db, this.#removal, claims))) return false;
      this.#unanswered = claims;
      await manifests.deleteManifest(this.#repository.name, digest, signal);
      this.#unanswered = [];
      progress();
    }
    return true;
  }

  /** Before it is done; what cannot be written is not done. */
  async #tell(images: readonly PushedImage[]): Promise<void> {
    const sizeBytes = images.reduce((sum, image) => sum + image.sizeBytes, 0);
    const detail = { count: images.length, sizeBytes, names: images.map(nameOf) };
    await appendAudit(this.#db, { actor, action: 'retention.registry', object: this.#removal.project, detail });
  }

  /** As {@link #tell}, of what is left of images that went before. */
  async #tellLeft(subject: string, hanging: readonly NamedManifest[], all: readonly string[]): Promise<void> {
    const tags = new Map(hanging.map((one) => [one.digest, one.tags[0]]));
    const names = all.map((digest) => `${this.#repository.name}:${tags.get(digest) ?? ''}@${digest}`);
    const detail = { count: all.length, names: names.slice(0, shownNames), subject };
    await appendAudit(this.#db, { actor, action: 'retention.signatures', object: this.#removal.project, detail });
  }
}

/**
 * Digests that a run or release of any project names that is kept, or belongs to a backup.
 *
 * @throws `DefinitionInvalid` (not retried): what a project keeps cannot be read, so nobody knows.
 */
async function keptDigests({ store, blobs }: RegistryRetentionDependencies): Promise<ReadonlySet<string>> {
  const kept = new Set<string>();
  for (const { name, text } of await listProjects(store.db)) {
    const { retention } = projectOf(name, text);
    const needed = await readKeptBuilds(store.db, name, retention.runs, await backupsOf(blobs, name));
    for (const digest of needed.digests) kept.add(digest);
  }
  return kept;
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
