/** Dependencies that a manifest pins, and what may come after them. */

/** What a dependency is installed from. */
export const ecosystems = ['npm', 'python'] as const;
export type Ecosystem = (typeof ecosystems)[number];

/** How far a version is from another, by the first of its numbers that differs. In the order of their size. */
export const updateLevels = ['patch', 'minor', 'major'] as const;
export type UpdateLevel = (typeof updateLevels)[number];

/** One dependency as a manifest has it. */
export interface PinnedDependency {
  readonly ecosystem: Ecosystem;
  /** Path of the manifest in the repository. */
  readonly manifest: string;
  /** As the index knows it. */
  readonly name: string;
  /** The one that is installed: pinned, or locked. */
  readonly version: string;
}

/** A version that an index has and that may be used. */
export interface IndexedVersion {
  readonly version: string;
  /** ISO 8601; absent where the index does not say. */
  readonly publishedAt?: string;
  /** Range of the language or runtime that it asks for. */
  readonly requires?: string;
}

export interface DependencyUpdate extends PinnedDependency {
  readonly to: string;
  readonly level: UpdateLevel;
  /** Advisories of the present version that it is free of, as the newest run of the release branch reported them. */
  readonly fixes: readonly string[];
}

/** Order and form of versions in an ecosystem. */
export interface VersionScheme {
  isValid(version: string): boolean;
  compare(one: string, other: string): number;
  isPrerelease(version: string): boolean;
  levelOf(from: string, to: string): UpdateLevel;
  /** Whether what a version asks for takes the oldest of a range that a project promises to run on. */
  takesRuntime(requires: string, promised: string): boolean;
}

/** What a project wants of updates: `upkeep.dependencies` of its project.yaml. */
export interface UpdatePolicy {
  readonly level: UpdateLevel;
  /** Nothing younger is offered. */
  readonly minimumAgeMs: number;
  /** ISO 8601. */
  readonly now: string;
}

/** An advisory about a package of the release branch. */
export interface KnownAdvisory {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly fixedIn: readonly string[];
}

export type Choice =
  | { readonly kind: 'current' }
  | { readonly kind: 'update'; readonly to: string; readonly level: UpdateLevel }
  /** Something newer is there that may not be judged. */
  | { readonly kind: 'unknown'; readonly problem: string };

/** The newest version that the policy lets through. */
export function chooseUpdate(
  { name, version }: Pick<PinnedDependency, 'name' | 'version'>,
  known: readonly IndexedVersion[],
  scheme: VersionScheme,
  policy: UpdatePolicy & { readonly runtime?: string },
): Choice {
  const permitted = updateLevels.indexOf(policy.level);
  const newer = known.filter(
    (each) =>
      scheme.isValid(each.version) &&
      !scheme.isPrerelease(each.version) &&
      scheme.compare(each.version, version) > 0 &&
      updateLevels.indexOf(scheme.levelOf(version, each.version)) <= permitted &&
      (each.requires === undefined ||
        policy.runtime === undefined ||
        scheme.takesRuntime(each.requires, policy.runtime)),
  );
  if (newer.length === 0) return { kind: 'current' };
  const latest = Date.parse(policy.now) - policy.minimumAgeMs;
  const old = newer.filter(
    ({ publishedAt }) => policy.minimumAgeMs === 0 || (publishedAt !== undefined && Date.parse(publishedAt) <= latest),
  );
  const [first, ...rest] = old;
  if (first === undefined) {
    if (newer.some(({ publishedAt }) => publishedAt !== undefined)) return { kind: 'current' };
    return {
      kind: 'unknown',
      problem: `the index does not say when versions of ${name} were published, so \`minimumAge\` cannot be held`,
    };
  }
  const newest = rest.reduce((best, each) => (scheme.compare(each.version, best.version) > 0 ? each : best), first);
  return { kind: 'update', to: newest.version, level: scheme.levelOf(version, newest.version) };
}

/** Advisories of the present version that a newer one is free of. */
export function fixedBy(
  { name, version }: Pick<PinnedDependency, 'name' | 'version'>,
  to: string,
  advisories: readonly KnownAdvisory[],
  scheme: VersionScheme,
): readonly string[] {
  const fixed = advisories.filter(
    (each) =>
      each.name === name &&
      each.version === version &&
      each.fixedIn.some((fix) => scheme.isValid(fix) && scheme.compare(fix, to) <= 0),
  );
  return [...new Set(fixed.map(({ id }) => id))].sort();
}

/** What one pull request brings. */
export interface DependencyGroup {
  readonly branch: string;
  readonly ecosystem: Ecosystem;
  /** Those that fix an advisory first, then by name. */
  readonly updates: readonly DependencyUpdate[];
}

/** Pull requests for updates: one for each ecosystem, or one for each dependency. Those that fix an advisory first. */
export function dependencyGroups(
  project: string,
  updates: readonly DependencyUpdate[],
  by: 'ecosystem' | 'dependency',
): readonly DependencyGroup[] {
  const groups = new Map<string, DependencyUpdate[]>();
  for (const update of updates) {
    const branch = dependencyBranch(project, update.ecosystem, by === 'dependency' ? update.name : undefined);
    groups.set(branch, [...(groups.get(branch) ?? []), update]);
  }
  return [...groups]
    .map(([branch, all]) => ({ branch, ecosystem: all[0]?.ecosystem ?? 'npm', updates: inOrder(all) }))
    .sort((one, other) => fixesOf(other) - fixesOf(one) || (one.branch < other.branch ? -1 : 1));
}

function inOrder(updates: readonly DependencyUpdate[]): readonly DependencyUpdate[] {
  return updates.toSorted(
    (one, other) =>
      Number(other.fixes.length > 0) - Number(one.fixes.length > 0) ||
      (one.name < other.name ? -1 : one.name > other.name ? 1 : one.manifest < other.manifest ? -1 : 1),
  );
}

function fixesOf({ updates }: DependencyGroup): number {
  return updates.filter(({ fixes }) => fixes.length > 0).length;
}

/** Branches of a project's pull requests for dependencies begin with it; another project of the same repository has its own. */
export function dependencyBranches(project: string, ecosystem?: Ecosystem): string {
  return `slipway/upkeep/${project}/deps-${ecosystem ?? ''}`;
}

/** Branch of the pull request for an ecosystem, or for one dependency of it: the same whatever the version. */
export function dependencyBranch(project: string, ecosystem: Ecosystem, name?: string): string {
  const prefix = dependencyBranches(project, ecosystem);
  if (name === undefined) return prefix;
  // `@scope/name` and `scope-name` are two packages.
  const words = name.replace('@', 'at.').replaceAll('/', '..').replaceAll('..', '.of.');
  return `${prefix}-${words.replaceAll(/[^a-zA-Z0-9._-]+/g, '-').replaceAll(/\.\.+|\.$|\.lock$/g, '-')}`;
}

/** Title and text of a pull request for dependencies. */
export function dependencyWords({ ecosystem, updates }: Omit<DependencyGroup, 'branch'>): {
  readonly title: string;
  readonly body: string;
} {
  const [only] = updates;
  const fixing = updates.filter(({ fixes }) => fixes.length > 0);
  const names = new Set(updates.map(({ name }) => name));
  const title =
    names.size === 1 && only !== undefined
      ? `Update ${only.name} to ${only.to}`
      : `Update ${names.size} dependencies (${ecosystem})`;
  const rows = updates.map(
    ({ name, version, to, level, manifest, fixes }) =>
      `| ${code(name)} | ${code(version)} | ${code(to)} | ${level} | ${code(manifest)} | ${fixes.map(code).join(', ')} |`,
  );
  const body = [
    `${updates.length === 1 ? 'One dependency has' : `${updates.length} dependencies have`} a newer version.`,
    ...(fixing.length === 0
      ? []
      : [`${fixing.length === 1 ? 'The first one fixes' : `The first ${fixing.length} fix`} known advisories.`]),
    '',
    '| dependency | before | now | step | in | fixes |',
    '| --- | --- | --- | --- | --- | --- |',
    ...rows,
    '',
    'Opened by the upkeep of Slipway. It follows the index for as long as nobody else puts commits on its branch, and is closed when there is nothing left to do.',
  ].join('\n');
  return { title, body };
}

function code(text: string): string {
  return `\`${text.replaceAll(/[`|\r\n]/g, '')}\``;
}
