import { describe, expect, test } from '@jest/globals';
import { resolvePipeline } from '../../../src/definition/pipeline.ts';
import type { ImageSpec } from '../../../src/definition/specs/image.ts';
import { pairOf, problemsOf, projectText, repositoryText } from './documents.ts';

const withImage = (image: string): string => repositoryText.replace('  - name: app\n', `  - { name: app, ${image} }\n`);
const withBuilds = (builds: string): string => `${projectText}builds: { ${builds} }\n`;
const daemon = 'builder: { kind: buildkit, address: "unix:///run/buildkit/buildkitd.sock" }';
const place = 'registry.example:5000/shop/cache:app';

function imageOf(image: string, builds: string, fork = false): ImageSpec {
  const pair = pairOf({ repository: withImage(image), project: withBuilds(builds) });
  return resolvePipeline(pair, { fork }).images[0]!;
}

describe('what builds images', () => {
  test("is the worker's engine, unless the project says otherwise", () => {
    expect(resolvePipeline(pairOf()).builds.builder).toEqual({ kind: 'docker' });
    const tls = 'tls: { ca: { file: /ca }, certificate: { file: /crt }, key: { env: KEY } }';
    const pair = pairOf({
      project: withBuilds(`builder: { kind: buildkit, address: "tcp://builder.example:1234", ${tls} }`),
    });
    expect(resolvePipeline(pair).builds.builder).toEqual({
      kind: 'buildkit',
      address: 'tcp://builder.example:1234',
      tls: {
        ca: { kind: 'file', path: '/ca' },
        certificate: { kind: 'file', path: '/crt' },
        key: { kind: 'env', name: 'KEY' },
      },
    });
  });

  test('builds for several platforms, whose order says nothing', () => {
    expect(imageOf('platforms: [linux/arm64, linux/amd64]', daemon).platforms).toEqual(['linux/amd64', 'linux/arm64']);
  });

  test.each([
    [
      'an address without a scheme',
      '',
      'builder: { kind: buildkit, address: "builder:1234" }',
      'is no address of a daemon',
    ],
    ['no address', '', 'builder: { kind: buildkit }', 'builds.builder.address'],
    ['an address of the engine', '', 'builder: { kind: docker, address: "unix:///x" }', 'builds.builder'],
    [
      'a network without keys',
      '',
      'builder: { kind: buildkit, address: "tcp://builder.example:1234" }',
      'is reached over a network without `tls`',
    ],
    ['several platforms on an engine', 'platforms: [linux/amd64, linux/arm64]', '', 'images[0].platforms are several'],
    ['a platform twice', 'platforms: [linux/amd64, linux/amd64]', daemon, 'names a platform twice'],
    ['no platform', 'platforms: [amd64]', daemon, 'must look like `linux/amd64`'],
    [
      'a cache that an engine keeps to itself',
      `cache: { export: "${place}" }`,
      'caches: [registry.example:5000/shop/cache]',
      'images[0].cache.export goes to a registry',
    ],
    ['a cache that nobody offers', `cache: { export: "${place}" }`, daemon, 'does not offer to builds'],
    [
      'a cache beside the one offered',
      'cache: { import: ["registry.example:5000/shop/cached:app"] }',
      `${daemon}, caches: [registry.example:5000/shop/cache]`,
      'images[0].cache.import[0] lies in',
    ],
    [
      'a cache where an image is',
      'cache: { export: "registry.example:5000/shop/app:latest" }',
      `${daemon}, caches: [registry.example:5000/shop/app]`,
      'lies where one of the images does',
    ],
    ['a place with an option in it', 'cache: { export: "r.example/c:x,push=true" }', daemon, 'is no place for a cache'],
    ['a place without a tag', 'cache: { import: ["r.example/c"] }', daemon, 'is no place for a cache'],
    ['a key that nobody offers', 'ssh: [deploy]', daemon, 'images[0].ssh[0] is `deploy`'],
    ['no key', 'ssh: true', daemon, 'the project has no key for builds'],
    ['a key that is both', '', 'ssh: { deploy: { key: { env: K }, agent: /a } }', 'must have either `key` or `agent`'],
    ['a key that is neither', '', 'ssh: { deploy: {} }', 'must have either `key` or `agent`'],
    ['an agent that is no path', '', 'ssh: { deploy: { agent: a } }', 'must be a path from the root'],
  ])('is not %s', (_, image, builds, problem) => {
    const repository = image === '' ? repositoryText : withImage(image);
    const problems = problemsOf({ repository, project: builds === '' ? projectText : withBuilds(builds) });
    expect(problems.join('\n')).toContain(problem);
  });

  test('reads a cache of the project, and writes to it unless the commit comes from a fork', () => {
    const image = `cache: { import: ["${place}"], export: "${place}", mode: max }`;
    const builds = `${daemon}, caches: [registry.example:5000/shop/cache]`;
    expect(imageOf(image, builds).cache).toEqual({ import: [place], export: { place }, mode: 'max' });
    expect(imageOf(image, builds, true).cache).toEqual({ import: [place], mode: 'max' });
    expect(imageOf('cache: { export: inline }', '').cache).toEqual({ import: [], export: 'inline', mode: 'min' });
  });

  test('gives keys by name, and none to a fork', () => {
    const builds = 'sshKey: { env: OWN }, ssh: { deploy: { key: { env: K } }, people: { agent: /run/agent.sock } }';
    expect(imageOf('ssh: true', builds).ssh).toEqual({ default: { kind: 'key', key: { kind: 'env', name: 'OWN' } } });
    expect(imageOf('ssh: [people, deploy]', builds).ssh).toEqual({
      people: { kind: 'agent', socket: '/run/agent.sock' },
      deploy: { kind: 'key', key: { kind: 'env', name: 'K' } },
    });
    expect(imageOf('ssh: [people]', builds, true).ssh).toEqual({});
    expect(imageOf('context: .', builds).ssh).toEqual({});
  });
});
