import { matchesRef } from './glob.ts';
import { sentences } from './sentences.ts';

export const packageKinds = ['npm', 'python'] as const;
export type PackageKind = (typeof packageKinds)[number];

/** A file of a package that an index holds. */
export interface PublishedPackage {
  /** What slipway.yaml calls it. */
  readonly package: string;
  /** Its name there, without a folder. */
  readonly file: string;
  readonly kind: PackageKind;
  /** What project.yaml calls it. */
  readonly index: string;
  /** As its own metadata have them. */
  readonly name: string;
  readonly version: string;
  /** 64 hexadecimal digits. */
  readonly sha256: string;
  readonly sizeBytes: number;
  /** Where the index shows it. */
  readonly address: string;
  /** The index had the very same file before: from an earlier attempt or run. */
  readonly alreadyThere: boolean;
  readonly at: string;
}

/** What an index may be given. */
export interface AllowedPackage {
  /** Pattern: `*` is anything but `/`. */
  readonly name: string;
  /** Patterns; `{tag}` is the version of the tag that the run is of, `{run}` its number. */
  readonly versions: readonly string[];
}

/** For looking through, publishing and checking all packages of a run, ms. Judgement. */
export const publishTimeoutMs = 900_000;

/** What stands in braces in a pattern of versions. */
export const versionPlaceholders = ['tag', 'run'] as const;

/**
 * Looks whether a project lets its runs publish a package under this name and version.
 *
 * @returns what is wrong, as it reads after the name of the file; undefined when nothing is.
 */
export function packageProblem(
  found: { readonly kind: PackageKind; readonly name: string; readonly version: string },
  allowed: readonly AllowedPackage[],
  run: { readonly ref: string; readonly number: number },
): string | undefined {
  const name = nameIn(found.kind, found.name);
  const fits = allowed.filter((one) => matchesRef(nameIn(found.kind, one.name), name));
  if (fits.length === 0) {
    return `is a package ${found.name}; the project lets ${allowed.map((one) => one.name).join(', ')} be published there`;
  }
  const patterns = fits.flatMap(({ versions }) => versions);
  if (patterns.some((pattern) => matchesVersion(pattern, found.version, run))) return undefined;
  const onTag = tagVersion(run.ref) === undefined && patterns.some((pattern) => pattern.includes('{tag}'));
  return `has the version ${found.version} of ${found.name}; the project lets ${patterns.join(', ')} be published${onTag ? ', and this run is of no tag' : ''}`;
}

/** One form for the names that a Python index takes for the same. @see https://packaging.python.org/en/latest/specifications/name-normalization/ */
export function nameIn(kind: PackageKind, name: string): string {
  return kind === 'python' ? name.toLowerCase().replace(/[-_.]+/g, '-') : name;
}

function matchesVersion(pattern: string, version: string, { ref, number }: { ref: string; number: number }): boolean {
  const tag = tagVersion(ref);
  if (tag === undefined && pattern.includes('{tag}')) return false;
  return matchesRef(pattern.replaceAll('{tag}', tag ?? '').replaceAll('{run}', String(number)), version);
}

/** `refs/tags/v1.2.0` → `1.2.0`. A tag with what could be part of a pattern is none of a version. */
function tagVersion(ref: string): string | undefined {
  return /^refs\/tags\/v?(\d[A-Za-z0-9.+_-]*)$/.exec(ref)?.[1];
}

/** @see https://github.com/package-url/purl-spec */
export function packageUrl({ kind, name, version }: Pick<PublishedPackage, 'kind' | 'name' | 'version'>): string {
  const of = kind === 'npm' ? `npm/${name.replace('@', '%40')}` : `pypi/${nameIn(kind, name)}`;
  return `pkg:${of}@${encodeURIComponent(version)}`;
}

/** Files named in one sentence; the lists of the run have all of them. Judgement. */
const mostNamed = 10;

/** Why publishing ended, with what had left by then and stays, and what had not: nothing of it can be taken back. */
export function partlyPublished(
  why: string,
  published: readonly Pick<PublishedPackage, 'file' | 'index'>[],
  unpublished: readonly string[],
): string {
  const some = (names: readonly string[]): string =>
    names.length <= mostNamed
      ? names.join(', ')
      : `${names.slice(0, mostNamed).join(', ')} and ${names.length - mostNamed} more`;
  return sentences(
    why,
    published.length === 0
      ? 'Nothing was published before that'
      : `Published before that, and staying there: ${some(published.map(({ file, index }) => `${file} at ${index}`))}`,
    unpublished.length === 0 ? undefined : `Not known to be published: ${some(unpublished)}`,
  );
}

/** One line for people, wherever a published file is named. */
export function packageLine({ name, version, file, index, alreadyThere }: PublishedPackage): string {
  return `package ${name} ${version} (${file}) at ${index}${alreadyThere ? ', there before' : ''}`;
}
