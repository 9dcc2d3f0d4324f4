import { Readable } from 'node:stream';
import { describe, expect, test } from '@jest/globals';
import { buildKey, type BuildInputs } from '../../../src/providers/builders/build-key.ts';
import { needsBuildKit } from '../../../src/providers/builders/buildkit.ts';
import { labelDockerfile } from '../../../src/providers/builders/labels.ts';
import { baseImages } from '../../../src/providers/builders/dockerfile.ts';
import { readDockerignore } from '../../../src/providers/builders/dockerignore.ts';
import { readEvents, type EngineEvent } from '../../../src/providers/builders/engine.ts';

async function events(...chunks: readonly string[]): Promise<EngineEvent[]> {
  const found: EngineEvent[] = [];
  for await (const event of readEvents(Readable.from(chunks.map((chunk) => Buffer.from(chunk))))) found.push(event);
  return found;
}

describe('the events of an engine', () => {
  test('are whole whatever the pieces they come in', async () => {
    const text = '{"stream":"é1"}\r\n{"stream":"2"}\n';
    const bytes = Buffer.from(text);
    const pieces = Array.from(bytes, (_, index) => bytes.subarray(index, index + 1));
    const found: EngineEvent[] = [];
    for await (const event of readEvents(Readable.from(pieces))) found.push(event);
    expect(found).toEqual([{ stream: 'é1' }, { stream: '2' }]);
  });

  test('do not lose a last line that has no end', async () => {
    expect(await events('{"stream":"1"}\n{"aux":{"ID":"sha256:1"}}')).toEqual([
      { stream: '1' },
      { aux: { ID: 'sha256:1' } },
    ]);
  });

  test.each([
    ['{"errorDetail":{"code":2,"message":"boom"},"error":"boom"}\n'],
    ['{"error":"boom"}'],
    ['{"stream":"a"}\n{"errorDetail":{"message":"boom"}}'],
  ])('are a failure when one of them says so: %s', async (text) => {
    await expect(events(text)).rejects.toMatchObject({ name: 'EngineEventError', message: 'boom' });
  });

  test('are a failure when they are cut', async () => {
    await expect(events('{"stream":"a"}\n{"stre')).rejects.toThrow('cut in the middle');
  });
});

describe('what a Dockerfile begins from', () => {
  test.each<[string, string, Record<string, string>, string[]]>([
    ['one image', 'FROM node:24\nRUN true', {}, ['node:24']],
    ['an argument with a default', 'ARG BASE=node:24\nFROM ${BASE}', {}, ['node:24']],
    ['an argument that is given', 'ARG BASE=node:24\nFROM $BASE AS x', { BASE: 'own:1' }, ['own:1']],
    ['an argument made of another', 'ARG V=3\nARG BASE="img:${V}"\nFROM $BASE', { V: '4' }, ['img:4']],
    ['a default in place', 'ARG TAG\nFROM node:${TAG:-24}', {}, ['node:24']],
    ['stages of its own', 'FROM a AS Build\nFROM build\nCOPY --from=build /x /x\nCOPY --from=0 /y /y', {}, ['a']],
    ['nothing', 'FROM scratch\nCOPY . .', {}, []],
    ['an image to copy from', 'FROM a\nCOPY --chown=1 --from=b:2 /x /x', {}, ['a', 'b:2']],
    ['a mount', 'FROM a\nRUN --mount=type=bind,from=c,target=/c true', {}, ['a', 'c']],
    [
      'comments and continued lines',
      '# FROM no\nFROM --platform=linux/amd64 \\\n  # why\n  a:1 \\\n  AS x',
      {},
      ['a:1'],
    ],
    ['an argument after the first FROM', 'ARG B=a\nFROM $B\nARG B=c\nFROM $B', {}, ['a']],
  ])('%s', (_, dockerfile, args, expected) => {
    expect(baseImages(dockerfile, args)).toEqual(expected);
  });
});

describe('.dockerignore', () => {
  test.each([
    ['*.md\n!README.md', ['a.md'], ['README.md', 'docs/a.md']],
    ['**/*.md', ['a.md', 'docs/deep/a.md'], ['a.txt']],
    ['node_modules', ['node_modules', 'node_modules/x/y'], ['app/node_modules']],
    ['/dist/', ['dist/a'], ['src/dist']],
    ['docs\n!docs/keep', ['docs/a'], ['docs/keep', 'docs/keep/b']],
    ['*\n!src', ['a', 'b/c'], ['src/a']],
    ['# comment\n\n  .git  ', ['.git/config'], ['.gitignore']],
    ['a?c\n[xy]z', ['abc', 'xz'], ['ac', 'az', 'a/c']],
    ['**/.env', ['.env', 'a/.env'], ['.env.example']],
    ['{a,b}', [], ['a', 'b']],
    ['secret\n!secret\nsecret', ['secret'], []],
    ['docs/**/*.md', ['docs/a.md', 'docs/x/y/a.md'], ['docs/a.txt', 'a.md']],
    ['build/**', ['build/a', 'build/a/b'], ['build', 'builds/a']],
    ['a\\*b\n\\[c]', ['a*b', '[c]'], ['axb', 'c']],
    ['[^a]b\n[0-9-]x', ['cb', '7x', '-x'], ['ab', 'ax']],
    ['[a\nx[z-a]', ['[a', 'x[z-a]'], ['a', 'xa']],
    ['(x|y).$\na+', ['(x|y).$', 'a+'], ['x.', 'aa', '(x|y)z$']],
    ['ä?', ['äö', 'ä😀'], ['ä', 'ae']],
    ['.\n!\n/', [], ['a', 'a/b']],
  ])('%j', (text, out, kept) => {
    const ignored = readDockerignore(text);
    expect(out.filter((path) => !ignored(path))).toEqual([]);
    expect(kept.filter(ignored)).toEqual([]);
  });

  test('of many stars ends for a name that is made for it', () => {
    const ignored = readDockerignore(`${'*a'.repeat(60)}*b\n${'**a/'.repeat(40)}b`);
    expect(ignored('a'.repeat(255))).toBe(false);
    expect(ignored(`${'a'.repeat(255)}/`.repeat(15))).toBe(false);
    expect(ignored(`${'a'.repeat(254)}b`)).toBe(true);
  });

  test('is refused beyond 16 KiB', () => {
    expect(readDockerignore('a\n'.repeat(8_192))('a')).toBe(true);
    expect(() => readDockerignore('a\n'.repeat(8_193))).toThrow('longer than the 16384 characters');
  });
});

describe('the key of a build', () => {
  const inputs: BuildInputs = {
    files: [{ mode: '100644', object: 'a'.repeat(40), path: 'x' }],
    dockerfilePath: 'Dockerfile',
    dockerfile: 'FROM a',
    args: { A: '1', B: '2' },
    bases: { a: 'sha256:1' },
    platforms: [],
    network: 'default',
    secrets: ['npm'],
    ssh: [],
    fork: false,
  };

  test('is the same for equal inputs, in whatever order they were given', () => {
    expect(buildKey({ ...inputs, args: { B: '2', A: '1' } })).toBe(buildKey(inputs));
    expect(buildKey(inputs)).toMatch(/^[0-9a-f]{64}$/);
  });

  test.each<[string, Partial<BuildInputs>]>([
    ['a file', { files: [{ mode: '100644', object: 'b'.repeat(40), path: 'x' }] }],
    ['the rights of a file', { files: [{ mode: '100755', object: 'a'.repeat(40), path: 'x' }] }],
    ['the Dockerfile', { dockerfile: 'FROM b' }],
    ['an argument', { args: { A: '1', B: '3' } }],
    ['a base image', { bases: { a: 'sha256:2' } }],
    ['the target', { target: 'x' }],
    ['the platform', { platforms: ['linux/arm64'] }],
    ['a secret that is not given', { secrets: [] }],
    ['a key that is given', { ssh: ['npm'] }],
    ['whose pull request it is', { fork: true }],
  ])('changes with %s', (_, change) => {
    expect(buildKey({ ...inputs, ...change })).not.toBe(buildKey(inputs));
  });
});

describe('BuildKit is needed', () => {
  test.each([
    ['for a mount', 'FROM a\nRUN --mount=type=cache,target=/x make', true],
    ['for a syntax', '# syntax=docker/dockerfile:1\nFROM a', true],
    ['for a here-document', 'FROM a\nRUN <<EOF\nmake\nEOF', true],
    ['for a file written in place', 'FROM a\nCOPY <<"EOF" /x\ny\nEOF', true],
    ['for nothing else', 'FROM a\nRUN echo "--mount" && cat < /x', false],
  ])('%s', (_, dockerfile, needed) => {
    expect(needsBuildKit(dockerfile)).toBe(needed);
  });
});

describe('labels as an instruction', () => {
  test('are one line, in an order of their own, with nothing in them that means something', () => {
    expect(labelDockerfile('sha256:1', { b: 'x "y" \\ $HOME', a: '' })).toBe(
      'FROM sha256:1\nLABEL "a"="" "b"="x \\"y\\" \\\\ \\$HOME"\n',
    );
  });

  test.each([{}, { a: 'one\ntwo' }, { 'a\r': 'x' }])('are left to the engine where they are none: %j', (labels) => {
    expect(labelDockerfile('sha256:1', labels)).toBeUndefined();
  });
});
