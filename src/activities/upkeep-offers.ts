import { loadProject } from '../definition/load.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import { ProviderError } from '../domain/failures.ts';
import type { UpkeepKind } from '../domain/upkeep.ts';
import type { ForgeApi } from '../providers/forge-apis/port.ts';
import type { OfferedBranch, OfferedBranches } from '../providers/repositories/branches-port.ts';
import type { RepositoryAddress, SourceRepository } from '../providers/repositories/port.ts';
import { readProject } from '../store/projects.ts';
import type { Store } from '../store/store.ts';
import { readUpkeep } from '../store/upkeep.ts';
import type { OfferedPullRequest, UpkeepOffer } from './contracts.ts';
import { type ReadSecret, repositoryAddress } from './secrets.ts';

export interface OfferDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly repositories: Pick<SourceRepository, 'resolveRef' | 'ensureCommit' | 'listTree' | 'readFile' | 'listRefs'>;
  readonly branches: OfferedBranches;
  /** Undefined where the project names no API of its forge. */
  readonly openForge: (project: ProjectDefinition) => Promise<ForgeApi | undefined>;
  readonly readSecret: ReadSecret;
}

/** Of the one comment that tells what has become of an offer since. */
const marker = 'upkeep';
/** A file of which there is more than is read. */
export const tooLong = Symbol('too long');
/** A link or a submodule is no file of the repository. */
export const fileModes: readonly string[] = ['100644', '100755'];

interface WantedOffer {
  readonly offer: OfferedBranch;
  readonly into: string;
  readonly title: string;
  readonly body: string;
  /** Said where a pull request is open already whose own words tell of something older. */
  readonly moved: string;
}

/** What every kind of upkeep does that offers something to a repository. */
export interface UpkeepOffers {
  /** @throws `NotFound` */
  open(name: string): Promise<{ readonly project: ProjectDefinition; readonly repository: RepositoryAddress }>;
  /** @throws `ForgeRefused` */
  forgeOf(project: ProjectDefinition): Promise<ForgeApi>;
  /** The newest commit of the release branch. */
  readBranch(
    project: ProjectDefinition,
    repository: RepositoryAddress,
    signal: AbortSignal,
  ): Promise<{ readonly commit: string; readonly at: string }>;
  /** Text of a file, as a whole or not at all. */
  readWhole(request: Parameters<SourceRepository['readFile']>[0]): Promise<string | typeof tooLong | undefined>;
  /** Branches that are offered, with the pull requests that the round before had open for them. */
  readOffered(request: {
    readonly project: string;
    readonly repository: RepositoryAddress;
    readonly kind: UpkeepKind;
    readonly prefix: string;
    readonly signal: AbortSignal;
  }): Promise<readonly OfferedPullRequest[]>;
  offer(forge: ForgeApi, wanted: WantedOffer): Promise<UpkeepOffer>;
  withdraw(
    request: { readonly project: string; readonly branch: string; readonly pullRequest: number | null },
    signal: AbortSignal,
  ): Promise<{ readonly withdrawn: boolean }>;
}

/** Only branches of Slipway's own are ever pushed. */
export function createUpkeepOffers(deps: OfferDependencies): UpkeepOffers {
  async function open(
    name: string,
  ): Promise<{ readonly project: ProjectDefinition; readonly repository: RepositoryAddress }> {
    const stored = await readProject(deps.store.db, name);
    const loaded = stored === undefined ? undefined : loadProject({ file: 'project.yaml', text: stored.text });
    if (loaded?.ok !== true) throw new ProviderError('NotFound', `There is no project ${name}.`);
    return { project: loaded.value, repository: await repositoryAddress(loaded.value, deps.readSecret) };
  }

  async function forgeOf(project: ProjectDefinition): Promise<ForgeApi> {
    const forge = await deps.openForge(project);
    if (forge !== undefined) return forge;
    throw new ProviderError(
      'ForgeRefused',
      `${project.project} names no API of its forge (\`repository.forge.api\`), so no pull request can be opened`,
    );
  }

  return {
    open,
    forgeOf,

    async readBranch(project, repository, signal) {
      const ref = `refs/heads/${project.repository.releaseBranch}`;
      const commit = await deps.repositories.resolveRef(repository, ref, signal);
      if (commit === undefined) throw new ProviderError('CommitNotFound', `${project.project} has no ${ref}`);
      const { at } = await deps.repositories.ensureCommit({ repository, commit, ref, signal });
      return { commit, at };
    },

    async readWhole(request) {
      try {
        return await deps.repositories.readFile(request);
      } catch (error) {
        if (error instanceof ProviderError && error.type === 'TooLarge') return tooLong;
        throw error;
      }
    },

    async readOffered({ project, repository, kind, prefix, signal }) {
      const [round] = (await readUpkeep(deps.store.db, { kind, project })) as readonly {
        readonly detail: { readonly numbers?: Readonly<Record<string, number>> };
      }[];
      const numbers: Readonly<Record<string, number | undefined>> = round?.detail.numbers ?? {};
      const refs = await deps.repositories.listRefs(repository, signal);
      return refs
        .filter(({ ref }) => ref.startsWith(`refs/heads/${prefix}`))
        .map(({ ref }) => ref.slice('refs/heads/'.length))
        .map((branch) => ({ branch, pullRequest: numbers[branch] ?? null }));
    },

    async offer(forge, { offer, into, title, body, moved }) {
      const answer = await deps.branches.ensureOffered(offer);
      if (answer.kind === 'taken') return { kind: 'taken' };
      const request = await forge.ensurePullRequest({ from: offer.branch, into, title, body });
      if (request.kind !== 'open') return request;
      const { number, url, created } = request;
      // Its own words tell of the first move.
      if (!created && answer.kind === 'pushed') await forge.setComment({ pullRequest: number, marker, body: moved });
      return { kind: 'open', number, url, created };
    },

    async withdraw({ project: name, branch, pullRequest }, signal) {
      const { project, repository } = await open(name);
      if (pullRequest !== null) {
        const forge = await forgeOf(project);
        await forge.setComment({
          pullRequest,
          marker,
          body: 'There is nothing left to do here; the branch is removed.',
        });
      }
      // The branch last: while it is there, the next round tries again. With it the forge closes what was to merge it.
      return { withdrawn: await deps.branches.ensureWithdrawn({ repository, branch, signal }) };
    },
  };
}
