import { semanticVersion, shortCommit, versionOf } from './version.ts';

/** Longest tag that a registry takes. */
const longestTag = 128;

/** What a template may name, and what each stands for. */
export const tagPlaceholders = {
  build: 'number of the run',
  commit: 'short commit',
  sha: 'the same as `commit`',
  branch: 'name of the branch; nothing for tags and pull requests',
  n: 'number of the pull request; nothing for others',
  version: 'version of the release',
  semver: 'semantic version of the pushed tag; nothing for others',
  major: 'its first number; nothing for others and for pre-releases',
  minor: 'its first two numbers; nothing for others and for pre-releases',
} as const;
export type TagPlaceholder = keyof typeof tagPlaceholders;

/** As S0, S3 and S4 have it together: what was built, its version where there is one, and `latest`. */
export const defaultTagTemplates: readonly string[] = ['{build}-{commit}', '{version}', 'latest'];

export interface TagInput {
  readonly ref: string;
  readonly build: number;
  readonly commit: string;
  readonly releaseBranch: string;
  readonly pullRequest?: number | undefined;
  /** Default: {@link defaultTagTemplates}. */
  readonly templates?: readonly string[] | undefined;
}

/** A tag, and whether it may name something else some day. */
export interface ImageTag {
  readonly name: string;
  /** True for what names one build or one version for ever; pushing another image under it is refused. */
  readonly immutable: boolean;
}

/**
 * The tags of an image, the identifying one first. A template with a placeholder that stands for nothing in this event gives no tag; `latest`
 * is only given from the release branch. Tags are for people: everything that deploys names the digest.
 */
export function imageTags(input: TagInput): readonly ImageTag[] {
  const values = placeholdersOf(input);
  const tags: ImageTag[] = [];
  const add = (name: string, immutable: boolean): void => {
    if (!tags.some((tag) => tag.name === name)) tags.push({ name, immutable });
  };
  for (const template of input.templates ?? defaultTagTemplates) {
    if (template === 'latest') {
      if (input.ref === `refs/heads/${input.releaseBranch}`) add('latest', false);
      continue;
    }
    const text = fill(template, values);
    if (text !== undefined) add(sanitiseTag(text), isImmutable(template));
  }
  // Whatever the templates are: what was pushed can be found by its run.
  if (tags.length === 0 || tags.every(({ name }) => name === 'latest')) {
    return [{ name: runTag(input.build, input.commit), immutable: true }, ...tags];
  }
  return tags;
}

/** The tag by which retention knows a run that took an image which another one had built. */
export function runTag(build: number, commit: string): string {
  return `${build}-${shortCommit(commit)}`;
}

/** Placeholders of a template that do not exist. */
export function unknownPlaceholders(template: string): readonly string[] {
  return [...template.matchAll(/\{([^{}]*)\}/g)]
    .map(([, name = '']) => name)
    .filter((name) => !Object.hasOwn(tagPlaceholders, name));
}

/** Of one build or one version: by its number there will never be another image. A commit may be built again on a newer base. */
function isImmutable(template: string): boolean {
  return /\{(?:build|version|semver)\}/.test(template);
}

function placeholdersOf(input: TagInput): Readonly<Record<TagPlaceholder, string | undefined>> {
  const { ref, build, commit, pullRequest } = input;
  const semver = ref.startsWith('refs/tags/') ? semanticVersion(ref.slice('refs/tags/'.length)) : undefined;
  const [major = '', minor = ''] = semver?.split('.') ?? [];
  const released = semver !== undefined && !semver.includes('-');
  return {
    build: String(build),
    commit: shortCommit(commit),
    sha: shortCommit(commit),
    branch: ref.startsWith('refs/heads/') ? ref.slice('refs/heads/'.length) : undefined,
    n: pullRequest === undefined ? undefined : String(pullRequest),
    version: versionOf(input),
    semver,
    major: released ? major : undefined,
    minor: released ? `${major}.${minor}` : undefined,
  };
}

function fill(template: string, values: Readonly<Record<string, string | undefined>>): string | undefined {
  const names = [...template.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
  if (names.some((name) => values[name] === undefined)) return undefined;
  return template.replaceAll(/\{(\w+)\}/g, (_, name: string) => values[name] ?? '');
}

/** Makes any text a tag: small letters, everything a tag cannot hold becomes `-`, and it begins with a letter, digit or `_`. */
export function sanitiseTag(text: string): string {
  const tag = text
    .toLowerCase()
    .replaceAll(/[^a-z0-9_.-]+/g, '-')
    .replace(/^[.-]+/, '')
    .slice(0, longestTag)
    .replace(/[.-]+$/, '');
  return tag === '' ? 'untagged' : tag;
}
