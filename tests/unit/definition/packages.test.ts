import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { resolvePipeline } from '../../../src/definition/pipeline.ts';
import { packageProblem, packageUrl } from '../../../src/domain/packages.ts';
import { pairOf, problemsOf, projectText, repositoryText } from './documents.ts';

const index = 'npm: { kind: npm, url: "https://npm.example/", token: { env: NPM }, allow: [{ name: "@shop/*" }] }';
const wheels = 'wheels: { kind: python, url: "https://pypi.example", token: { env: PYPI }, allow: [{ name: shop }] }';

function project(indexes = `${index}, ${wheels}`, routes = '{ on: push, ref: main, publish: [npm] }'): string {
  return `${projectText}packageIndexes: { ${indexes} }\nroutes: [${routes}]\n`;
}

function repository(...packages: readonly string[]): string {
  return `${repositoryText}packages: [${packages.join(', ')}]\n`;
}

const client = '{ name: client, kind: npm, index: npm, files: ["dist/*.tgz"] }';

test('the two documents of the page fit together', () => {
  const page = readFileSync(join(import.meta.dirname, '../../../docs/packages.md'), 'utf8');
  const [repository, project] = [...page.matchAll(/^```yaml\n([^]*?)^```$/gm)].map(([, yaml = '']) => yaml);
  const least = projectText.replace(/^environments:[^]*/m, '');
  expect(
    problemsOf({
      repository: `version: 1\nimage: python:3.12\n${repository ?? ''}`,
      project: `${least}${project ?? ''}`,
    }),
  ).toEqual([]);
});

describe('packages', () => {
  test('go where the project says, by the name that it has for that', () => {
    const wheel = '{ name: wheel, kind: python, index: wheels, files: ["dist/*.whl", "dist/*.tar.gz"] }';
    const { packages } = resolvePipeline(pairOf({ repository: repository(client, wheel), project: project() }));
    expect(packages).toEqual([
      {
        ...{ name: 'client', files: ['dist/*.tgz'] },
        index: {
          ...{ name: 'npm', kind: 'npm', url: 'https://npm.example/', access: 'restricted' },
          ...{ token: { kind: 'env', name: 'NPM' }, largestBytes: 100 * 2 ** 20 },
          allow: [{ name: '@shop/*', versions: ['*'] }],
        },
      },
      expect.objectContaining({
        name: 'wheel',
        index: expect.objectContaining({ url: 'https://pypi.example', simple: 'https://pypi.example/simple/' }),
      }),
    ]);
  });

  test('are none unless a document says so', () => {
    expect(resolvePipeline(pairOf()).packages).toEqual([]);
  });

  test.each([
    [
      'an index that is not known',
      '{ name: a, kind: npm, index: npmjs, files: ["*.tgz"] }',
      'packages[0].index is `npmjs`, which the project does not know',
    ],
    [
      'an index of another kind',
      '{ name: a, kind: python, index: npm, files: ["*.whl"] }',
      'packages[0].index is `npm`, which takes packages of the kind `npm` only',
    ],
    ['no files', '{ name: a, kind: npm, index: npm, files: [] }', 'packages[0].files must name at least one pattern'],
    ['files outside', '{ name: a, kind: npm, index: npm, files: ["../*.tgz"] }', 'packages[0].files[0]'],
    [
      'an address of its own',
      '{ name: a, kind: npm, index: npm, files: ["*.tgz"], url: "https://evil.example" }',
      'packages[0].url',
    ],
    [
      'a secret of its own',
      '{ name: a, kind: npm, index: npm, files: ["*.tgz"], token: { env: OTHER } }',
      'packages[0].token',
    ],
    ['another kind', '{ name: a, kind: gem, index: npm, files: ["*.gem"] }', 'packages[0].kind'],
  ])('of a repository with %s are a problem', (_, one, problem) => {
    expect(problemsOf({ repository: repository(one), project: project() })).toContainEqual(
      expect.stringContaining(problem),
    );
  });

  test('have names of their own', () => {
    expect(problemsOf({ repository: repository(client, client), project: project() })).toHaveLength(1);
  });
});

describe('an index', () => {
  test.each([
    ['plain http', index.replace('https', 'http'), 'packageIndexes.npm.url is plain `http`'],
    [
      'a password in its address',
      index.replace('https://', 'https://a:b@'),
      'packageIndexes.npm.url must hold no name or password',
    ],
    [
      'a question in its address',
      index.replace('npm.example/', 'npm.example/?a=b'),
      'packageIndexes.npm.url must end with its path',
    ],
    [
      'two logins',
      index.replace('token', 'credentials: { username: a, password: { env: B } }, token'),
      'packageIndexes.npm.credentials stands beside `token`',
    ],
    ['a token itself', index.replace('{ env: NPM }', 'npm_abc'), 'packageIndexes.npm.token'],
    [
      'nothing that is allowed',
      index.replace('[{ name: "@shop/*" }]', '[]'),
      'packageIndexes.npm.allow must allow at least one package',
    ],
    ['no word on what is allowed', index.replace(', allow: [{ name: "@shop/*" }]', ''), 'packageIndexes.npm.allow'],
    ['a name that is none', index.replace('@shop/*', '../x'), 'packageIndexes.npm.allow[0].name'],
    [
      'a version of nothing',
      index.replace('"@shop/*" }', '"@shop/*", versions: ["{branch}"] }'),
      'names `{branch}`, which stands for nothing',
    ],
    [
      'files without end',
      index.replace('allow', 'largest: 1Gi, allow'),
      'packageIndexes.npm.largest must be at most `256Mi`',
    ],
    [
      'only its way in',
      'wheels: { kind: python, url: "https://upload.pypi.org/legacy/", allow: [{ name: shop }] }',
      'packageIndexes.wheels.url ends in `legacy/`',
    ],
    ['another kind', index.replace('kind: npm', 'kind: gem'), 'packageIndexes.npm.kind'],
  ])('with %s is a problem', (_, indexes, problem) => {
    const routes = '{ on: push, ref: main }';
    expect(problemsOf({ project: project(indexes, routes) })).toContainEqual(expect.stringContaining(problem));
  });

  test('on this machine may be plain http where that is said', () => {
    expect(
      problemsOf({ project: project(index.replace('https', 'http').replace('allow', 'insecure: true, allow')) }),
    ).toEqual([]);
  });

  test.each([
    [
      'an index that is not there',
      '{ on: push, ref: main, publish: [pypi] }',
      'routes[0].publish[0] is `pypi`, which is none of the `packageIndexes`',
    ],
    ['pull requests', '{ on: pull-request, publish: [npm] }', 'routes[0].publish is on a route of pull requests'],
  ])('is not published to by a route of %s', (_, routes, problem) => {
    expect(problemsOf({ project: project(index, routes) })).toEqual([expect.stringContaining(problem)]);
  });
});

describe('what may be published', () => {
  const onBranch = { ref: 'refs/heads/main', number: 12 };
  const onTag = { ref: 'refs/tags/v1.2.0', number: 12 };
  const npm = (name: string, version = '1.2.0') => ({ kind: 'npm', name, version }) as const;

  test.each([
    [npm('@shop/client'), ['@shop/*'], ['*'], onBranch],
    [npm('shop'), ['shop'], ['1.*'], onBranch],
    [npm('shop'), ['shop'], ['{tag}'], onTag],
    [npm('shop', '1.2.0-dev.12'), ['shop'], ['*-dev.{run}'], onBranch],
    [{ kind: 'python', name: 'Shop_Client', version: '1.0' } as const, ['shop.client'], ['*'], onBranch],
  ])('%j is by %j, %j', (found, names, versions, run) => {
    expect(
      packageProblem(
        found,
        names.map((name) => ({ name, versions })),
        run,
      ),
    ).toBeUndefined();
  });

  test.each([
    [npm('@other/client'), ['@shop/*'], ['*'], onBranch, /is a package @other\/client/],
    [npm('@shop/a/b'), ['@shop/*'], ['*'], onBranch, /is a package/],
    [npm('shop-x'), ['shop'], ['*'], onBranch, /is a package/],
    [npm('Shop'), ['shop'], ['*'], onBranch, /is a package/],
    [npm('shop', '2.0.0'), ['shop'], ['1.*'], onBranch, /has the version 2\.0\.0/],
    [npm('shop'), ['shop'], ['{tag}'], onBranch, /this run is of no tag/],
    [npm('shop', '1.2.1'), ['shop'], ['{tag}'], onTag, /has the version 1\.2\.1/],
    [npm('shop'), ['shop'], ['{tag}'], { ref: 'refs/tags/v*', number: 1 }, /this run is of no tag/],
    [npm('shop', '1.0.0-dev.1'), ['shop'], ['*-dev.{run}'], onBranch, /has the version/],
  ])('%j is not by %j, %j', (found, names, versions, run, problem) => {
    expect(
      packageProblem(
        found,
        names.map((name) => ({ name, versions })),
        run,
      ),
    ).toMatch(problem);
  });

  test('is named elsewhere by its address of its kind', () => {
    expect(packageUrl(npm('@shop/client', '1.0.0+a'))).toBe('pkg:npm/%40shop/client@1.0.0%2Ba');
    expect(packageUrl({ kind: 'python', name: 'Shop_Client', version: '1.0' })).toBe('pkg:pypi/shop-client@1.0');
  });
});
