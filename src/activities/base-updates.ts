import pLimit from 'p-limit';
import { resolveRegistry } from '../definition/image-resolution.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import { type PinnedBase, baseBranches, pinnedBases, withDigest } from '../domain/base-image.ts';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import { type ForeignRegistryOptions, registryOrigin } from '../providers/registries/foreign.ts';
import type { ReadRegistry } from '../providers/registries/logins/index.ts';
import type { ImageRegistry, RegistryAddress } from '../providers/registries/port.ts';
import { beating } from './changes.ts';
import type { BaseUpdateActivities } from './contracts.ts';
import { type OfferDependencies, createUpkeepOffers, fileModes, tooLong } from './upkeep-offers.ts';

export interface BaseUpdateDependencies extends OfferDependencies {
  readonly openRegistry: (address: RegistryAddress) => Pick<ImageRegistry, 'readManifest'>;
  readonly openForeign: (options: ForeignRegistryOptions) => Pick<ImageRegistry, 'readManifest'>;
  readonly readRegistry: ReadRegistry;
}

/** `Dockerfile`, `Dockerfile.worker`, `worker.Dockerfile`, wherever they lie. */
const dockerfile = /(?:^|\/)(?:Dockerfile(?:\.[\w.-]+)?|[\w.-]+\.Dockerfile)$/;
/** Judgement: a repository with more is generated. */
const mostFiles = 100;
/** Judgement: so many images are built on in no repository that people have written. */
const mostBases = 200;
/** With the limits of each question all of them end within the time of the activity, whatever registries do. */
const questionsAtOnce = 8;

/** Looks for bases that have moved and offers what would follow them. Only branches of Slipway's own are ever pushed. */
export function createBaseUpdateActivities(deps: BaseUpdateDependencies): BaseUpdateActivities {
  const offers = createUpkeepOffers(deps);

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
    let tooLarge = 0;
    for (const { path, mode } of wanted.slice(0, mostFiles)) {
      const text = await offers.readWhole({ project, commit, path, signal });
      if (text === tooLong) tooLarge += 1;
      else if (text !== undefined) files.push({ path, mode, text });
    }
    return { files, unread: tooLarge + Math.max(0, wanted.length - mostFiles) };
  }

  /** A registry that a Dockerfile names, as far as project.yaml knows it. */
  async function foreignOf(project: ProjectDefinition, address: string): Promise<ForeignRegistryOptions> {
    const { registries } = project.upkeep.bases;
    const origins = new Set(registries.map(registryOrigin));
    const isKnown = (origin: string): boolean => origins.has(origin);
    const listed = registries.find((each) => each.address === address);
    if (listed?.credentials === undefined) return { address, insecure: listed?.insecure ?? false, isKnown };
    const { username, password: secret } = listed.credentials;
    const password = await deps.readSecret(secret);
    return { address, insecure: listed.insecure, isKnown, credentials: { address, username, password } };
  }

  async function newestOf(project: ProjectDefinition, base: PinnedBase, signal: AbortSignal): Promise<string> {
    const own = resolveRegistry({ project });
    const registry =
      base.registry === own.address
        ? deps.openRegistry(await deps.readRegistry(own, signal))
        : deps.openForeign(await foreignOf(project, base.registry));
    const manifest = await registry.readManifest(`${base.registry}/${base.repository}`, base.tag, signal);
    if (manifest !== undefined) return manifest.digest;
    throw new ProviderError('ImageNotFound', `${base.registry} has no ${base.repository}:${base.tag} any more`);
  }

  return {
    readBases: ({ project: name }) =>
      beating(async (signal) => {
        const { project, repository } = await offers.open(name);
        const { commit, at } = await offers.readBranch(project, repository, signal);
        const { files, unread } = await filesAt(name, commit, signal);
        const bases = new Map<string, PinnedBase>();
        for (const { text } of files)
          for (const base of pinnedBases(text)) bases.set(`${base.name}@${base.digest}`, base);
        const atOnce = pLimit(questionsAtOnce);
        const found = await Promise.all(
          [...bases.values()].slice(0, mostBases).map((base) =>
            atOnce(async () => {
              try {
                return { base, newest: await newestOf(project, base, signal) };
              } catch (error) {
                signal.throwIfAborted();
                // One registry that does not answer hides nothing of the others.
                return { base, problem: describeFailure(error).message };
              }
            }),
          ),
        );
        const unasked = Math.max(0, bases.size - mostBases);
        return {
          commit,
          at,
          into: project.repository.releaseBranch,
          files: files.length,
          ...(unread === 0 ? {} : { unread }),
          ...(unasked === 0 ? {} : { unasked }),
          bases: found,
          offered: await offers.readOffered({
            project: name,
            repository,
            kind: 'bases',
            prefix: baseBranches(name),
            signal,
          }),
        };
      }),

    offerBase: ({ project: name, commit, at, into, branch, base, newest }) =>
      beating(async (signal) => {
        const { project, repository } = await offers.open(name);
        // First, so that no branch is pushed that nobody hears of.
        const forge = await offers.forgeOf(project);
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
        const moved = `\`${base.name}\` is \`${newest}\` by now.`;
        return await offers.offer(forge, { offer, into, title, body, moved });
      }),

    withdrawBase: (input) => beating((signal) => offers.withdraw(input, signal)),
  };
}
