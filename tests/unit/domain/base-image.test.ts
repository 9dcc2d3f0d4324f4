import { expect, test } from '@jest/globals';
import { baseBranch, pinnedBases, withDigest } from '../../../src/domain/base-image.ts';

const a = `sha256:${'a'.repeat(64)}`;
const b = `sha256:${'b'.repeat(64)}`;
const file = [
  `# node:1@${a} is not built on`,
  `ARG BASE=registry.example.com:5000/team/base:2@${a}`,
  `FROM node:24-slim@${a} AS build`,
  `COPY --from=localhost/tools:1@${a} /x /x`,
  'FROM debian:bookworm',
  `FROM node@${a}`,
  `RUN --mount=type=bind,from=grafana/grafana:11@${b} true`,
  '',
].join('\n');

test('what is pinned by tag and digest is found wherever it is built on, and nothing else', () => {
  expect(pinnedBases(file).map(({ registry, repository, tag, name }) => [registry, repository, tag, name])).toEqual([
    ['registry.example.com:5000', 'team/base', '2', 'registry.example.com:5000/team/base:2'],
    ['docker.io', 'library/node', '24-slim', 'node:24-slim'],
    ['localhost', 'tools', '1', 'localhost/tools:1'],
    ['docker.io', 'grafana/grafana', '11', 'grafana/grafana:11'],
  ]);
});

test('another digest stands in the place of the old one, and the rest stays byte for byte', () => {
  const [, node] = pinnedBases(file);
  const changed = withDigest(file, node!, b);
  expect(changed).toBe(file.replace(`node:24-slim@${a}`, `node:24-slim@${b}`));
  // Names that end like it are others.
  const other = `FROM mynode:24-slim@${a}\nFROM x/node:24-slim@${a}\n`;
  expect(withDigest(other, node!, b)).toBe(other);
});

test('a branch is one of Git, the same whatever the digest', () => {
  expect(baseBranch('hello', 'registry.example.com:5000/team/base:2')).toBe(
    'slipway/upkeep/hello/base-registry.example.com-5000-team-base-2',
  );
  expect(baseBranch('hello', 'a..b:1.lock')).toBe('slipway/upkeep/hello/base-a-b-1-');
});
