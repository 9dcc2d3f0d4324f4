import { loadProject } from '../definition/load.ts';
import { resolveRegistry } from '../definition/pipeline.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import { type PinnedBase, baseBranches, pinnedBases, withDigest } from '../domain/base-image.ts';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import type { ForgeApi } from '../providers/forge-apis/port.ts';
import type { ReadRegistry } from '../providers/registries/logins/index.ts';
import type { ImageRegistry, RegistryAddress } from '../providers/registries/port.ts';
import type { OfferedBranches } from '../providers/repositories/branches-port.ts';
import type { RepositoryAddress, SourceRepository } from '../providers/repositories/port.ts';
import { readProject } from '../store/projects.ts';
import type { Store } from '../store/store.ts';
import { readUpkeep } from '../store/upkeep.ts';
import { beating } from './changes.ts';
import type { BaseUpdateActivities } from './contracts.ts';
import { type ReadSecret, repositoryAddress } from './secrets.ts';

export interface BaseUpdateDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly repositories: Pick<SourceRepository, 'resolveRef' | 'ensureCommit' | 'listTree' | 'readFile' | 'listRefs'>;
  readonly branches: OfferedBranches;
  readonly openRegistry: (address: RegistryAddress) => Pick<ImageRegistry, 'readManifest'>;
  readonly readRegistry: ReadRegistry;
  /** Undefined where the project names no API of its forge. */
  readonly openForge: (project: ProjectDefinition) => Promise<ForgeApi | undefined>;
  readonly readSecret: ReadSecret;
}

/** `Dockerfile`, `Dockerfile.worker`, `worker.Dockerfile`, wherever they lie. */
const dockerfile = /(?:^|\/)(?:Dockerfile(?:\.[\w.-]+)?|[\w.-]+\.Dockerfile)$/;
/** Judgement: a repository with more is generated. */
const mostFiles = 100;
/** Of the one comment that tells what has become of a base since. */
const marker = 'upkeep';
/** A link or a submodule is no file of the repository. */
const fileModes = ['100644', '100755'];

/** Looks for bases that have moved and offers what would follow them. Only branches of Slipway's own are ever pushed. */
export function createBaseUpdateActivities(deps: BaseUpdateDependencies): BaseUpdateActivities {
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

  /** Numbers of the pull requests that the round before had open, by their branches. */
  async function numbersOf(project: string): Promise<Readonly<Record<string, number | undefined>>> {
    const [round] = (await readUpkeep(deps.store.db, { kind: 'bases', project })) as readonly {
      readonly detail: { readonly numbers?: Readonly<Record<string, number>> };
    }[];
    return round?.detail.numbers ?? {};
  }

  /** Dockerfiles at a commit, with their text and mode, and how many more there are than are read. */
  async function filesAt(
    project: string,
    commit: string,
    signal: AbortSignal,
  ): Promise<{
    readonly files: readonly { readonly path: string; readonly mode: string; readonly text: string }[];
    readonly unread: number;
  }> {
    const tree = (await deps.repositories.listTree({ project, commit, path: '.', signal })) ?? [];
    const wanted = tree.filter(({ path, mode }) => fileModes.includes(mode) && dockerfile.test(path));
    const files = [];
    for (const { path, mode } of wanted.slice(0, mostFiles)) {
      const text = await deps.repositories.readFile({ project, commit, path, signal });
      if (text !== undefined) files.push({ path, mode, text });
    }
    return { files, unread: Math.max(0, wanted.length - mostFiles) };
  }

  async function newestOf(project: ProjectDefinition, base: PinnedBase, signal: AbortSignal): Promise<string> {
    const own = resolveRegistry({ project });
    // The name of Docker Hub in images is not where its registry answers.
    const host = base.registry === 'docker.io' ? 'registry-1.docker.io' : base.registry;
    const address: RegistryAddress =
      base.registry === own.address ? await deps.readRegistry(own, signal) : { address: host, insecure: false };
    const manifest = await deps.openRegistry(address).readManifest(base.repository, base.tag, signal);
    if (manifest !== undefined) return manifest.digest;
    throw new ProviderError('ImageNotFound', `${base.registry} has no ${base.repository}:${base.tag} any more`);
  }

  return {
    readBases: ({ project: name }) =>
      beating(async (signal) => {
        const { project, repository } = await open(name);
        const ref = `refs/heads/${project.repository.releaseBranch}`;
        const commit = await deps.repositories.resolveRef(repository, ref, signal);
        if (commit === undefined) throw new ProviderError('CommitNotFound', `${name} has no ${ref}`);
        const { at } = await deps.repositories.ensureCommit({ repository, commit, ref, signal });
        const { files, unread } = await filesAt(name, commit, signal);
        const bases = new Map<string, PinnedBase>();
        for (const { text } of files)
          for (const base of pinnedBases(text)) bases.set(`${base.name}@${base.digest}`, base);
        const found = [];
        for (const base of bases.values()) {
          try {
            found.push({ base, newest: await newestOf(project, base, signal) });
          } catch (error) {
            signal.throwIfAborted();
            // One registry that does not answer hides nothing of the others.
            found.push({ base, problem: describeFailure(error).message });
          }
        }
        const refs = await deps.repositories.listRefs(repository, signal);
        const prefix = `refs/heads/${baseBranches(name)}`;
        const numbers = await numbersOf(name);
        return {
          commit,
          at,
          into: project.repository.releaseBranch,
          files: files.length,
          ...(unread === 0 ? {} : { unread }),
          bases: found,
          offered: refs
            .filter((one) => one.ref.startsWith(prefix))
            .map((one) => one.ref.slice('refs/heads/'.length))
            .map((branch) => ({ branch, pullRequest: numbers[branch] ?? null })),
        };
      }),

    offerBase: ({ project: name, commit, at, into, branch, base, newest }) =>
      beating(async (signal) => {
        const { project, repository } = await open(name);
        // First, so that no branch is pushed that nobody hears of.
        const forge = await forgeOf(project);
        await deps.repositories.ensureCommit({ repository, commit, ref: `refs/heads/${into}`, signal });
        const read = await filesAt(name, commit, signal);
        const files = read.files.flatMap(({ text, ...file }) => {
          let changed = text;
          // Whatever digest of the name stands there: after it there is one.
          for (const each of pinnedBases(text)) {
            if (each.name === base.name) changed = withDigest(changed, each, newest);
          }
          return changed === text ? [] : [{ ...file, text: changed }];
        });
        const title = `Build on the newest ${base.name}`;
        const body = [
          `The tag \`${base.name}\` names another image than the one that is built on.`,
          '',
          `- before: \`${base.digest}\``,
          `- now: \`${newest}\``,
          '',
          ...files.map(({ path }) => `- in \`${path.replaceAll('`', '')}\``),
          '',
          'Opened by the upkeep of Slipway. It follows the tag for as long as nobody else puts commits on its branch, and is closed when there is nothing left to do.',
        ].join('\n');
        const offer = { repository, branch, base: commit, at, message: title, files, signal };
        const answer = await deps.branches.ensureOffered(offer);
        if (answer.kind === 'taken') return { kind: 'taken' as const };
        const request = await forge.ensurePullRequest({ from: branch, into, title, body });
        if (request.kind !== 'open') return request;
        const { number, url, created } = request;
        // Its own words tell of the first move.
        if (!created && answer.kind === 'pushed') {
          await forge.setComment({ pullRequest: number, marker, body: `\`${base.name}\` is \`${newest}\` by now.` });
        }
        return { kind: 'open' as const, number, url, created };
      }),

    withdrawBase: ({ project: name, branch, pullRequest }) =>
      beating(async (signal) => {
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
      }),
  };
}
