import { posix } from 'node:path';
import pLimit from 'p-limit';
import type { ProjectDefinition } from '../definition/project.ts';
import {
  type DependencyUpdate,
  type Ecosystem,
  type KnownAdvisory,
  type PinnedDependency,
  chooseUpdate,
  dependencyBranches,
  dependencyWords,
  fixedBy,
} from '../domain/dependency-update.ts';
import { describeFailure } from '../domain/failures.ts';
import type { ManifestFiles, ManifestIndex, ManifestKind, ManifestReading } from '../providers/manifests/port.ts';
import type { FoundVersion, PackageIndexKind, PackageIndexOptions } from '../providers/package-indexes/port.ts';
import { readPackageFindings } from '../store/reports.ts';
import { beating } from './changes.ts';
import type { DependencyProblem, DependencyUpdateActivities, OutdatedReading } from './contracts.ts';
import { type OfferDependencies, createUpkeepOffers, fileModes, tooLong } from './upkeep-offers.ts';

export interface DependencyUpdateDependencies extends OfferDependencies {
  readonly manifests: readonly ManifestKind[];
  readonly indexes: Readonly<Record<Ecosystem, PackageIndexKind>>;
}

/** Judgement: a repository with more is generated. */
const mostManifests = 100;
/** Of a lock, bytes. Judgement: one of two thousand packages has about 1 MB. */
const mostLockBytes = 32 * 2 ** 20;
/** Packages that are asked for in one round. Judgement: a tree of a thousand is rarely pinned by hand. */
const mostPackages = 1_000;
/** Questions to an index at once. Judgement: each answer may be tens of megabytes. */
const questionsAtOnce = 4;
/** In a history. Judgement: nobody reviews more at once. */
const mostUpdates = 200;
const mostProblems = 30;
const mostIgnored = 10;

/** A manifest at a commit. */
interface FoundManifest {
  readonly kind: ManifestKind;
  readonly files: ManifestFiles;
  /** Modes of files, by their names beside it. */
  readonly modes: Readonly<Record<string, string>>;
}

/** Looks for newer versions of what a repository pins, and offers them. */
export function createDependencyUpdateActivities(deps: DependencyUpdateDependencies): DependencyUpdateActivities {
  const offers = createUpkeepOffers(deps);

  async function indexOptions(
    project: ProjectDefinition,
  ): Promise<Readonly<Record<Ecosystem, PackageIndexOptions & { readonly token?: string }>>> {
    const { npm, python } = project.upkeep.dependencies.indexes;
    const token = npm.token === undefined ? undefined : await deps.readSecret(npm.token);
    const password = python.password === undefined ? undefined : await deps.readSecret(python.password);
    const basic = Buffer.from(`${python.username}:${password ?? ''}`).toString('base64');
    return {
      npm: { url: npm.url, ...(token === undefined ? {} : { token, authorization: `Bearer ${token}` }) },
      python: { url: python.url, ...(password === undefined ? {} : { authorization: `Basic ${basic}` }) },
    };
  }

  /** Asks each index once for each package, whoever pins it. */
  function versionReader(
    options: Readonly<Record<Ecosystem, PackageIndexOptions>>,
    signal: AbortSignal,
  ): (ecosystem: Ecosystem, name: string) => Promise<readonly FoundVersion[] | undefined> {
    const atOnce = pLimit(questionsAtOnce);
    const asked = new Map<string, Promise<readonly FoundVersion[] | undefined>>();
    return (ecosystem, name) => {
      const key = `${ecosystem} ${name}`;
      const index = deps.indexes[ecosystem].create(options[ecosystem]);
      const asking = asked.get(key) ?? atOnce(() => index.readVersions(name, signal));
      asked.set(key, asking);
      return asking;
    };
  }

  /** Manifests of a commit, whole; what is not read is a problem. */
  async function manifestsAt(request: {
    readonly project: string;
    readonly commit: string;
    readonly wanted: (kind: ManifestKind, path: string) => boolean;
    readonly signal: AbortSignal;
  }): Promise<{ readonly found: readonly FoundManifest[]; readonly problems: readonly DependencyProblem[] }> {
    const { project, commit, wanted, signal } = request;
    const tree = (await deps.repositories.listTree({ project, commit, path: '.', signal })) ?? [];
    const modes = new Map(tree.filter(({ mode }) => fileModes.includes(mode)).map(({ path, mode }) => [path, mode]));
    const matching = [...modes.keys()].flatMap((path) => {
      const kind = deps.manifests.find((each) => each.matches(path));
      return kind === undefined || !wanted(kind, path) ? [] : [{ kind, path }];
    });
    const found: FoundManifest[] = [];
    const problems: DependencyProblem[] = matching.slice(mostManifests).map(({ kind: { ecosystem }, path }) => ({
      ecosystem,
      manifest: path,
      problem: `it was not read: the first ${mostManifests} are all that is looked at`,
    }));
    for (const { kind, path } of matching.slice(0, mostManifests)) {
      const text = await offers.readWhole({ project, commit, path, signal });
      if (text === tooLong) problems.push({ ecosystem: kind.ecosystem, manifest: path, problem: 'it is too large' });
      if (text === undefined || text === tooLong) continue;
      const beside: Record<string, string | undefined> = {};
      const own: Record<string, string> = { [posix.basename(path)]: modes.get(path) ?? '100644' };
      for (const name of [...kind.locks, ...kind.foreignLocks]) {
        const place = posix.join(posix.dirname(path), name);
        const mode = modes.get(place);
        if (mode === undefined) continue;
        own[name] = mode;
        const content = kind.locks.includes(name)
          ? await offers.readWhole({ project, commit, path: place, maxBytes: mostLockBytes, signal })
          : undefined;
        beside[name] = content === tooLong ? undefined : content;
      }
      found.push({ kind, files: { path, text, beside }, modes: own });
    }
    return { found, problems };
  }

  async function advisoriesOf(name: string, branch: string): Promise<readonly KnownAdvisory[]> {
    const found = await readPackageFindings(deps.store.db, name, `refs/heads/${branch}`);
    return found.flatMap(({ rule, component: { name: of, version, fixedIn } }) =>
      version === undefined || fixedIn === undefined ? [] : [{ id: rule, name: of, version, fixedIn }],
    );
  }

  async function readOutdated(name: string, signal: AbortSignal): Promise<OutdatedReading> {
    const { project, repository } = await offers.open(name);
    const policy = project.upkeep.dependencies;
    const { commit, at } = await offers.readBranch(project, repository, signal);
    const wanted = ({ ecosystem }: ManifestKind): boolean => policy.ecosystems.includes(ecosystem);
    const manifests = await manifestsAt({ project: name, commit, wanted, signal });
    const advisories = await advisoriesOf(name, project.repository.releaseBranch);
    const readVersions = versionReader(await indexOptions(project), signal);
    const read = manifests.found.map(({ kind, files }) => ({ kind, path: files.path, reading: kind.read(files) }));
    const problems: DependencyProblem[] = [
      ...manifests.problems,
      ...read.flatMap(({ kind: { ecosystem }, path, reading }) =>
        reading.problems.map((problem) => ({ ecosystem, manifest: path, problem })),
      ),
    ];
    const ignored = new Set<string>();
    const asked = new Set<string>();
    const updates: DependencyUpdate[] = [];
    const now = new Date().toISOString();

    /** @returns why nothing is known of it. */
    async function look(dependency: PinnedDependency, runtime: string | undefined): Promise<string | undefined> {
      const { ecosystem, name: of, version } = dependency;
      const { scheme } = deps.indexes[ecosystem];
      if (!scheme.isValid(version)) {
        return `${of} is pinned to ${JSON.stringify(version.slice(0, 80))}, which is no version`;
      }
      let versions: readonly FoundVersion[] | undefined;
      try {
        versions = await readVersions(ecosystem, of);
      } catch (error) {
        signal.throwIfAborted();
        return `${of}: ${describeFailure(error).message}`;
      }
      if (versions === undefined) return `the index has no ${of}`;
      const { level, minimumAge: minimumAgeMs } = policy;
      const limits = { level, minimumAgeMs, now, ...(runtime === undefined ? {} : { runtime }) };
      const choice = chooseUpdate(dependency, versions, scheme, limits);
      if (choice.kind === 'unknown') return choice.problem;
      if (choice.kind === 'update') {
        const fixes = fixedBy(dependency, choice.to, advisories, scheme);
        updates.push({ ...dependency, to: choice.to, level: choice.level, fixes });
      }
      return undefined;
    }

    const looking: Promise<void>[] = [];
    let unasked = 0;
    for (const { kind, path, reading } of read) {
      for (const dependency of reading.dependencies) {
        const { ecosystem, name: of } = dependency;
        const exception = policy.ignore.find(
          (each) => each.name === of && (each.ecosystem === undefined || each.ecosystem === ecosystem),
        );
        if (exception !== undefined) {
          ignored.add(`${of} is left as it is: ${exception.reason}`);
          continue;
        }
        if (!asked.has(`${ecosystem} ${of}`) && asked.size >= mostPackages) {
          unasked += 1;
          continue;
        }
        asked.add(`${ecosystem} ${of}`);
        const runtime = reading.runtime ?? runtimeBeside(path, kind, read);
        looking.push(
          look(dependency, runtime).then((problem) => {
            if (problem !== undefined) problems.push({ ecosystem, manifest: path, problem });
          }),
        );
      }
    }
    await Promise.all(looking);
    if (unasked > 0) {
      const problem = `${unasked} dependencies were not asked for: the first ${mostPackages} are all that is looked at`;
      problems.unshift(...policy.ecosystems.map((ecosystem) => ({ ecosystem, manifest: '.', problem })));
    }
    updates.sort((one, other) => Number(other.fixes.length > 0) - Number(one.fixes.length > 0) || byPlace(one, other));
    return {
      commit,
      at,
      into: project.repository.releaseBranch,
      manifests: manifests.found.length,
      dependencies: read.reduce((sum, { reading }) => sum + reading.dependencies.length, 0),
      updates: updates.slice(0, mostUpdates),
      unlisted: Math.max(0, updates.length - mostUpdates),
      problems: problems.slice(0, mostProblems),
      untold: Math.max(0, problems.length - mostProblems),
      ignored: [...ignored].sort().slice(0, mostIgnored),
      group: policy.group,
      most: policy.most,
      offered: await offers.readOffered({
        ...{ project: name, repository, kind: 'dependencies', prefix: dependencyBranches(name), signal },
      }),
    };
  }

  /** The manifests of a group with their updates, and what could not be made. */
  async function changedFiles(
    project: ProjectDefinition,
    commit: string,
    group: { readonly ecosystem: Ecosystem; readonly updates: readonly DependencyUpdate[] },
    signal: AbortSignal,
  ): Promise<{
    readonly files: readonly { readonly path: string; readonly mode: string; readonly text: string }[];
    readonly made: readonly DependencyUpdate[];
    readonly problems: readonly string[];
  }> {
    const { ecosystem, updates } = group;
    const paths = new Set(updates.map(({ manifest }) => manifest));
    const wanted = (kind: ManifestKind, path: string): boolean => kind.ecosystem === ecosystem && paths.has(path);
    const { found } = await manifestsAt({ project: project.project, commit, wanted, signal });
    const options = await indexOptions(project);
    const readVersions = versionReader(options, signal);
    const index: ManifestIndex = {
      ...options[ecosystem],
      before: new Date(Date.now() - project.upkeep.dependencies.minimumAge).toISOString(),
      signal,
      readVersion: async (name, version) =>
        (await readVersions(ecosystem, name))?.find((each) => each.version === version),
    };
    const files = [];
    const made: DependencyUpdate[] = [];
    const problems: string[] = [];
    for (const { kind, files: manifest, modes } of found) {
      const own = updates.filter(({ manifest: path }) => path === manifest.path);
      try {
        const change = await kind.update(manifest, own, index);
        const left = new Set(change.left.map(({ update }) => update));
        made.push(...own.filter((update) => !left.has(update)));
        problems.push(
          ...change.left.map(({ update, reason }) => `${manifest.path}: ${update.name} ${update.to}: ${reason}`),
        );
        for (const [name, text] of Object.entries(change.files)) {
          const before = name === posix.basename(manifest.path) ? manifest.text : manifest.beside[name];
          if (text === before) continue;
          files.push({ path: posix.join(posix.dirname(manifest.path), name), mode: modes[name] ?? '100644', text });
        }
      } catch (error) {
        signal.throwIfAborted();
        // One manifest that no tool can make anew hides nothing of the others.
        problems.push(`${manifest.path}: ${describeFailure(error).message}`);
      }
    }
    return { files, made, problems };
  }

  return {
    readOutdated: ({ project }) => beating((signal) => readOutdated(project, signal)),

    offerDependencies: ({ project: name, commit, at, into, group }) =>
      beating(async (signal) => {
        const { project, repository } = await offers.open(name);
        // First, so that no branch is pushed that nobody hears of.
        const forge = await offers.forgeOf(project);
        await deps.repositories.ensureCommit({ repository, commit, ref: `refs/heads/${into}`, signal });
        const { files, made, problems } = await changedFiles(project, commit, group, signal);
        if (files.length === 0) return { kind: 'nothing-made', problems };
        const { title, body } = dependencyWords({ ecosystem: group.ecosystem, updates: made });
        const offer = { repository, branch: group.branch, base: commit, at, message: title, files, signal };
        const answer = await offers.offer(forge, { offer, into, title, body, moved: `By now it is this.\n\n${body}` });
        return { ...answer, problems };
      }),

    withdrawDependencies: (input) => beating((signal) => offers.withdraw(input, signal)),
  };
}

/** What the project beside it, or the one at the root, promises to run on: a list of requirements promises nothing by itself. */
function runtimeBeside(
  path: string,
  { ecosystem }: ManifestKind,
  read: readonly { readonly kind: ManifestKind; readonly path: string; readonly reading: ManifestReading }[],
): string | undefined {
  const alike = read.filter(({ kind, reading }) => kind.ecosystem === ecosystem && reading.runtime !== undefined);
  const near = alike.find((each) => posix.dirname(each.path) === posix.dirname(path));
  return (near ?? alike.find((each) => posix.dirname(each.path) === '.'))?.reading.runtime;
}

function byPlace(one: DependencyUpdate, other: DependencyUpdate): number {
  const [first, second] = [one, other].map(({ ecosystem, manifest, name }) => `${ecosystem} ${manifest} ${name}`);
  return (first ?? '') < (second ?? '') ? -1 : 1;
}
