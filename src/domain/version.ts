/** MAJOR.MINOR.PATCH with the optional parts of semantic versioning 2.0.0, its own expression. */
const semantic =
  /^(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-(?:0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][\da-zA-Z-]*))*)?(?:\+[\da-zA-Z-]+(?:\.[\da-zA-Z-]+)*)?$/;

/** Characters of a commit that people read. */
export const shortCommitLength = 7;

export function shortCommit(commit: string): string {
  return commit.slice(0, shortCommitLength);
}

/** As a version is named everywhere: `v1.2.0` and `1.2.0` are the same. Anything else stays as it is. */
export function normaliseVersion(version: string): string {
  const trimmed = version.trim();
  const bare = trimmed.startsWith('v') ? trimmed.slice(1) : trimmed;
  return /^\d/.test(bare) ? bare : trimmed;
}

/** The version of what a run makes: the semantic version of the tag where there is one, otherwise `{build}-{short commit}`. */
export function versionOf(input: { readonly ref: string; readonly build: number; readonly commit: string }): string {
  const tag = input.ref.startsWith('refs/tags/') ? semanticVersion(input.ref.slice('refs/tags/'.length)) : undefined;
  return tag ?? `${input.build}-${shortCommit(input.commit)}`;
}

/** A tag's semantic version without the leading `v`; undefined where it is none. */
export function semanticVersion(tag: string): string | undefined {
  const version = normaliseVersion(tag);
  return semantic.test(version) ? version : undefined;
}
