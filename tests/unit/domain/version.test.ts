import { describe, expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { imageTags, sanitiseTag } from '../../../src/domain/image-tags.ts';
import { normaliseVersion, versionOf } from '../../../src/domain/version.ts';

const commit = 'a3f4b2c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3';
const at = (ref: string): { ref: string; build: number; commit: string } => ({ ref, build: 42, commit });

describe('versions', () => {
  test.each([
    ['refs/tags/v1.2.0', '1.2.0'],
    ['refs/tags/1.2.0', '1.2.0'],
    ['refs/tags/v1.2.0-rc.1+build.5', '1.2.0-rc.1+build.5'],
    ['refs/tags/v1.2', '42-a3f4b2c'],
    ['refs/tags/v01.2.0', '42-a3f4b2c'],
    ['refs/tags/nightly', '42-a3f4b2c'],
    ['refs/heads/v1.2.0', '42-a3f4b2c'],
    ['refs/heads/main', '42-a3f4b2c'],
    ['refs/pull/7/head', '42-a3f4b2c'],
  ])('of %s: %s', (ref, version) => {
    expect(versionOf(at(ref))).toBe(version);
  });

  test.each([
    ['v2.0.4', '2.0.4'],
    ['2.0.4', '2.0.4'],
    [' v42-a3f4b2c\n', '42-a3f4b2c'],
    ['vienna', 'vienna'],
    ['v', 'v'],
  ])('%j is named %j', (written, version) => {
    expect(normaliseVersion(written)).toBe(version);
  });
});

describe('tags of images', () => {
  const tagsOf = (ref: string): readonly string[] =>
    imageTags({ ...at(ref), releaseBranch: 'main' }).map(({ name }) => name);

  test('name build and commit, and are `latest` from the release branch only', () => {
    expect(tagsOf('refs/heads/main')).toEqual(['42-a3f4b2c', 'latest']);
    expect(tagsOf('refs/heads/develop')).toEqual(['42-a3f4b2c']);
    expect(tagsOf('refs/heads/feature/main')).toEqual(['42-a3f4b2c']);
    expect(tagsOf('refs/pull/7/head')).toEqual(['42-a3f4b2c']);
    expect(tagsOf('refs/tags/main')).toEqual(['42-a3f4b2c']);
  });

  test('name the version too where a tag was pushed, in a form that a registry takes', () => {
    expect(tagsOf('refs/tags/v1.2.0')).toEqual(['42-a3f4b2c', '1.2.0']);
    expect(tagsOf('refs/tags/v1.2.0+build.5')).toEqual(['42-a3f4b2c', '1.2.0-build.5']);
  });

  const templates = ['{branch}-{sha}', '{sha}', 'pr-{n}', '{semver}', '{major}', '{minor}', 'latest'];
  const named = (ref: string, pullRequest?: number): readonly string[] =>
    imageTags({ ...at(ref), releaseBranch: 'main', templates, pullRequest }).map(({ name }) => name);

  test('are made by templates, of which those without a value give none', () => {
    expect(named('refs/heads/main')).toEqual(['main-a3f4b2c', 'a3f4b2c', 'latest']);
    expect(named('refs/heads/feature/Login')).toEqual(['feature-login-a3f4b2c', 'a3f4b2c']);
    expect(named('refs/pull/7/head', 7)).toEqual(['a3f4b2c', 'pr-7']);
    expect(named('refs/tags/v1.2.3')).toEqual(['a3f4b2c', '1.2.3', '1', '1.2']);
    // A pre-release must not become what people get who ask for 1.
    expect(named('refs/tags/v1.2.3-rc.1')).toEqual(['a3f4b2c', '1.2.3-rc.1']);
  });

  test('are never none: the run can be found by one', () => {
    const only = (...wanted: string[]): readonly string[] =>
      imageTags({ ...at('refs/heads/main'), releaseBranch: 'main', templates: wanted }).map(({ name }) => name);
    expect(only('pr-{n}')).toEqual(['42-a3f4b2c']);
    expect(only('latest')).toEqual(['42-a3f4b2c', 'latest']);
  });

  test('of a build or a version stay what they are, others move', () => {
    const tags = imageTags({
      ...at('refs/tags/v1.2.3'),
      releaseBranch: 'main',
      templates: ['{build}-{commit}', '{version}', '{sha}', '{major}'],
    });
    expect(tags).toEqual([
      { name: '42-a3f4b2c', immutable: true },
      { name: '1.2.3', immutable: true },
      { name: 'a3f4b2c', immutable: false },
      { name: '1', immutable: false },
    ]);
  });

  test.each([
    ['feature/Login Form', 'feature-login-form'],
    ['-.x-.', 'x'],
    ['ÄÖ', 'untagged'],
  ])('%j becomes %j', (text, tag) => {
    expect(sanitiseTag(text)).toBe(tag);
  });

  test('are always tags, whatever they are made of', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        expect(sanitiseTag(text)).toMatch(/^[a-z0-9_][a-z0-9_.-]{0,127}$/);
        expect(sanitiseTag(sanitiseTag(text))).toBe(sanitiseTag(text));
      }),
    );
  });
});
