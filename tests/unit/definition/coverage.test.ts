import { expect, test } from '@jest/globals';
import { pairOf, problemsOf, projectText } from './documents.ts';

const withCoverage = (coverage: string): string =>
  projectText.replace(/^repository:\n/m, `repository:\n  coverage: ${coverage}\n`);
const least = '{ kind: codecov, service: github, token: { env: CODECOV } }';

test('coverage goes nowhere unless it is asked for', () => {
  expect(pairOf().project.repository.coverage).toBeUndefined();
  expect(pairOf({ project: withCoverage(least) }).project.repository.coverage).toMatchObject({
    ...{ kind: 'codecov', url: 'https://api.codecov.io', service: 'github', flags: [] },
  });
});

test("a Codecov of one's own has an address, without a slash at its end", () => {
  const project = withCoverage(least.replace('service', 'url: "https://codecov.example.com/", flags: [unit], service'));
  expect(pairOf({ project }).project.repository.coverage).toMatchObject({
    ...{ url: 'https://codecov.example.com', flags: ['unit'] },
  });
});

test.each([
  ['another service', least.replace('codecov,', 'coveralls,'), 'repository.coverage.kind'],
  ['no forge', least.replace('service: github, ', ''), 'repository.coverage.service'],
  ['no token', least.replace(', token: { env: CODECOV }', ''), 'repository.coverage.token'],
  ['a token itself', least.replace('{ env: CODECOV }', 'abc'), 'repository.coverage.token'],
  ['a password in its address', least.replace('service', 'url: "https://a:b@c.example", service'), 'coverage.url'],
  ['no web address', least.replace('service', 'url: "ftp://c.example", service'), 'repository.coverage.url'],
  ['a flag that is none', least.replace('service', 'flags: ["a b"], service'), 'repository.coverage.flags[0]'],
  ['what is not known', least.replace('service', 'name: x, service'), 'repository.coverage.name'],
])('%s is a problem', (_, coverage, path) => {
  expect(problemsOf({ project: withCoverage(coverage) })).toEqual([expect.stringContaining(path)]);
});
