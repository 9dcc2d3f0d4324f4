import { shortCommit, versionOf } from './version.ts';

/** Longest tag that a registry takes. */
const longestTag = 128;

/**
 * The tags of an image, the identifying one first: `{build}-{commit}`; the version too where a tag was pushed; `latest` only from the
 * release branch. Tags are for people: everything that deploys names the digest.
 */
export function imageTags(input: {
  readonly ref: string;
  readonly build: number;
  readonly commit: string;
  readonly releaseBranch: string;
}): readonly string[] {
  const tags = [`${input.build}-${shortCommit(input.commit)}`];
  const version = sanitiseTag(versionOf(input));
  if (!tags.includes(version)) tags.push(version);
  if (input.ref === `refs/heads/${input.releaseBranch}`) tags.push('latest');
  return tags;
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
