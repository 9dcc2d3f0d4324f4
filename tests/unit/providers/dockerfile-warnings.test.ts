import { describe, expect, test } from '@jest/globals';
import { dockerfileWarnings, sizeWarnings } from '../../../src/providers/builders/dockerfile-warnings.ts';

const good = [
  'FROM node:24 AS build',
  'RUN npm ci && \\',
  '  npm run build',
  'FROM node:24-slim',
  'COPY --from=build /app /app',
  'USER 1000',
].join('\n');

describe('a Dockerfile', () => {
  test('of several stages and a user gives no warning', () => {
    expect(dockerfileWarnings(good)).toEqual([]);
    const mounts = '--mount=type=secret,id=npm,required=true --mount=type=ssh,required --mount=type=cache,target=/c';
    expect(dockerfileWarnings(good.replace('RUN npm ci', `RUN ${mounts} npm ci`))).toEqual([]);
  });

  test.each([
    ['no user', good.replace('USER 1000', ''), ['it names no USER']],
    ['root', good.replace('USER 1000', 'USER root:root'), ['it runs as root']],
    ['a number that is root', good.replace('USER 1000', 'USER 0'), ['it runs as root']],
    ['one stage with a build in it', 'FROM node:24\nRUN npm ci\nUSER node', ['one stage only']],
    [
      'a secret that may be missing',
      good.replace('RUN npm ci', 'RUN --mount=type=secret,id=npm --mount=type=ssh,required=true npm ci'),
      ['the secret npm may be missing'],
    ],
    [
      'a key that may be missing',
      good.replace('RUN npm ci', 'RUN --mount=type=ssh npm ci'),
      ['the ssh default may be'],
    ],
    ['a base without a version', good.replace('node:24-slim', 'node'), ['node is named without a version']],
    [
      'a base that moves',
      good.replace('node:24-slim', 'reg:5000/node:latest'),
      ['reg:5000/node:latest is named without'],
    ],
  ])('with %s does', (_, dockerfile, said) => {
    const warnings = dockerfileWarnings(dockerfile);
    expect(warnings).toHaveLength(said.length);
    for (const [index, text] of said.entries()) expect(warnings[index]).toContain(text);
  });

  test('is looked at from the stage that is built, which has the user of the one it begins from', () => {
    const dockerfile = 'FROM a:1 AS base\nUSER app\nFROM base AS web\nFROM a:1 AS jobs\nUSER root';
    expect(dockerfileWarnings(dockerfile, 'web')).toEqual([]);
    expect(dockerfileWarnings(dockerfile, 'jobs')).toEqual(['it runs as root']);
    expect(dockerfileWarnings(dockerfile)).toEqual(['it runs as root']);
  });

  test('that comes as an argument or is a stage is none without a version', () => {
    expect(dockerfileWarnings('ARG B=x\nFROM $B AS one\nUSER a\nFROM one\nFROM scratch\nUSER a')).toEqual([]);
  });
});

test('a large image is told with its size', () => {
  expect(sizeWarnings(10 * 2 ** 20, 10 * 2 ** 20)).toEqual([]);
  expect(sizeWarnings(11 * 2 ** 20, 10 * 2 ** 20)).toEqual(['it has 11 MiB, more than 10 MiB']);
});
