import { describe, expect, test } from '@jest/globals';
import type { DependencyUpdate } from '../../../src/domain/dependency-update.ts';
import { manifestKinds } from '../../../src/providers/manifests/index.ts';
import type { ManifestIndex } from '../../../src/providers/manifests/port.ts';

const index: ManifestIndex = {
  url: 'https://index.example',
  signal: new AbortController().signal,
  before: '2026-11-26T00:00:00Z',
  readVersion: (name, version) =>
    Promise.resolve({
      version,
      hashes: name === 'bare' ? [] : [`sha256:${'b'.repeat(64)}`, `sha256:${'a'.repeat(64)}`],
    }),
};
const kindOf = (path: string) => manifestKinds.find((kind) => kind.matches(path));
const read = (path: string, text: string, beside: Record<string, string> = {}) =>
  kindOf(path)!.read({ path, text, beside });
const pins = (path: string, text: string, beside?: Record<string, string>) =>
  read(path, text, beside).dependencies.map(({ name, version }) => `${name} ${version}`);
async function updated(path: string, text: string, to: Record<string, string>) {
  const updates = read(path, text).dependencies.flatMap((dependency): DependencyUpdate[] => {
    const version = to[dependency.name];
    return version === undefined ? [] : [{ ...dependency, to: version, level: 'minor', fixes: [] }];
  });
  return await kindOf(path)!.update({ path, text, beside: {} }, updates, index);
}

test.each([
  ['package.json', 'npm'],
  ['web/package.json', 'npm'],
  ['web/node_modules/x/package.json', undefined],
  ['requirements.txt', 'python'],
  ['requirements-dev.txt', 'python'],
  ['api/requirements/base.txt', 'python'],
  ['constraints.txt', 'python'],
  ['pyproject.toml', 'python'],
  ['my-requirements.md', undefined],
  ['notes.txt', undefined],
])('%s is a manifest of %s', (path, ecosystem) => {
  expect(kindOf(path)?.ecosystem).toBe(ecosystem);
});

describe('requirements', () => {
  const text = [
    '# flask==0.1',
    '-r base.txt',
    '--index-url https://evil.example/simple',
    'Flask==2.0.0  # the web',
    'requests[socks] == 2.31.0 ; python_version < "3.13"',
    'urllib3>=1.26,<3',
    'a==1.*',
    './local',
    'git+https://evil.example/x.git',
    'b @ https://evil.example/b.zip',
    'click==8.1.0 \\',
    `    --hash=sha256:${'1'.repeat(64)} \\`,
    `    --hash=sha256:${'2'.repeat(64)}`,
    '    # via flask',
    '',
  ].join('\n');

  test('what is pinned to one version is found, and nothing else', () => {
    expect(read('requirements.txt', text).problems).toEqual([]);
    expect(pins('requirements.txt', text)).toEqual(['flask 2.0.0', 'requests 2.31.0', 'click 8.1.0']);
  });

  test('another version stands in its place, with the hashes of its files, and the rest stays byte for byte', async () => {
    const { files, left } = await updated('api/requirements.txt', text, {
      flask: '2.3.0',
      requests: '2.32.0',
      click: '8.2.0',
    });
    expect(left).toEqual([]);
    expect(files).toEqual({
      'requirements.txt': text
        .replace('Flask==2.0.0', 'Flask==2.3.0')
        .replace('== 2.31.0', '== 2.32.0')
        .replace('click==8.1.0', 'click==8.2.0')
        .replace('1'.repeat(64), 'a'.repeat(64))
        .replace('2'.repeat(64), 'b'.repeat(64)),
    });
  });

  test('what is pinned by hash is left where the index has none', async () => {
    const pinned = `bare==1.0 --hash=sha256:${'1'.repeat(64)}\r\n`;
    const { files, left } = await updated('requirements.txt', pinned, { bare: '1.1' });
    expect(files['requirements.txt']).toBe(pinned);
    expect(left).toMatchObject([{ update: { name: 'bare' }, reason: 'the index gives no hashes for its files' }]);
  });

  test('a line that is no requirement is told', () => {
    expect(read('requirements.txt', 'x ==== 1\n').problems).toEqual(['"x ==== 1" is no requirement']);
  });
});

describe('pyproject.toml', () => {
  const text = [
    '[project]',
    'requires-python = ">=3.10"',
    'dependencies = ["Flask==2.0.0", \'requests==2.31.0\', "click>=8"]',
    '[project.optional-dependencies]',
    'docs = ["sphinx==7.0"]',
    '[dependency-groups]',
    'dev = ["pytest==8.0.0", { include-group = "docs" }]',
    '[build-system]',
    'requires = ["setuptools==70.0.0"]',
    'version = "2.0.0"',
    '',
  ].join('\n');

  test('what it pins is found wherever the standards have it, and changed there', async () => {
    expect(pins('pyproject.toml', text)).toEqual([
      'flask 2.0.0',
      'requests 2.31.0',
      'sphinx 7.0',
      'pytest 8.0.0',
      'setuptools 70.0.0',
    ]);
    expect(read('pyproject.toml', text).runtime).toBe('>=3.10');
    const { files, left } = await updated('pyproject.toml', text, {
      flask: '2.3.0',
      requests: '2.32.0',
      pytest: '8.1.0',
    });
    expect(left).toEqual([]);
    expect(files['pyproject.toml']).toBe(
      text
        .replace('Flask==2.0.0', 'Flask==2.3.0')
        .replace('requests==2.31.0', 'requests==2.32.0')
        .replace('pytest==8.0.0', 'pytest==8.1.0'),
    );
  });

  test('what is written in another way is left and told', async () => {
    const odd = '[project]\ndependencies = ["fl\\u0061sk==2.0.0"]\n';
    const { files, left } = await updated('pyproject.toml', odd, { flask: '2.3.0' });
    expect(files['pyproject.toml']).toBe(odd);
    expect(left).toHaveLength(1);
  });

  test.each([
    ['[project', {}, 'it is no TOML that the standards know'],
    ['project = 1', {}, 'it is no TOML that the standards know'],
    [text, { 'uv.lock': '' }, 'uv.lock lies beside it, which Slipway cannot make anew'],
  ])('%j is a problem', (toml, beside, problem) => {
    expect(read('pyproject.toml', toml, beside)).toEqual({ dependencies: [], problems: [problem] });
  });
});

describe('package.json', () => {
  const lock = (packages: object) => ({ 'package-lock.json': JSON.stringify({ lockfileVersion: 3, packages }) });

  test('what is locked counts, else what is written', () => {
    const text = JSON.stringify({
      dependencies: { a: '^1.0.0', b: '~2.0.0', c: '3.0.0', d: '>=1 <3', e: 'github:x/y', '@s/f': '^1.0.0' },
      devDependencies: { g: '^1.2.3' },
      peerDependencies: { h: '^1.0.0' },
    });
    expect(pins('package.json', text)).toEqual(['a 1.0.0', 'b 2.0.0', 'c 3.0.0', '@s/f 1.0.0', 'g 1.2.3']);
    expect(pins('package.json', text, lock({ 'node_modules/a': { version: '1.4.0' } }))).toEqual(['a 1.4.0']);
  });

  test('a version is changed with what stands before it, in the indentation of the file', async () => {
    const text = '{\n\t"name": "x",\n\t"dependencies": {\n\t\t"a": "^1.0.0",\n\t\t"b": "2.0.0"\n\t}\n}';
    const { files } = await updated('web/package.json', text, { a: '1.5.0', b: '2.1.0' });
    expect(files).toEqual({ 'package.json': text.replace('^1.0.0', '^1.5.0').replace('2.0.0', '2.1.0') });
  });

  test.each([
    ['{', {}, 'it is no JSON that npm would take'],
    ['{"dependencies":{"a":1}}', {}, 'it is no JSON that npm would take'],
    ['{"workspaces":["x"],"dependencies":{"a":"1.0.0"}}', {}, 'it has workspaces, which are not looked after'],
    ['{"dependencies":{"a":"file:/etc"}}', {}, '"a" is a folder, which npm would read from this machine'],
    ['{"dependencies":{"a":"../x"}}', {}, '"a" is a folder, which npm would read from this machine'],
    ['{"dependencies":{"a":"1.0.0"}}', { 'yarn.lock': '' }, 'yarn.lock lies beside it, which Slipway cannot make anew'],
    [
      '{"dependencies":{"a":"1.0.0"}}',
      { 'package-lock.json': '{' },
      'package-lock.json cannot be read, or is larger than what is read',
    ],
    [
      '{"dependencies":{"a":"1.0.0"}}',
      { 'package-lock.json': '{"lockfileVersion":1,"packages":{}}' },
      'package-lock.json is of a version before 2, which npm 7 and later replace',
    ],
    ...[
      { '../../etc': { version: '1.0.0' } },
      { 'node_modules/a': { link: true } },
      { 'node_modules/a/../../../etc': {} },
      { 'node_modules/a': { resolved: 'file:///etc/x.tgz' } },
    ].map(
      (packages) =>
        [
          '{"dependencies":{"a":"1.0.0"}}',
          lock(packages),
          expect.stringContaining('which npm would read from this machine'),
        ] as const,
    ),
  ])('%s with %j is a problem', (text, beside, problem) => {
    expect(read('package.json', text, beside)).toEqual({ dependencies: [], problems: [problem] });
  });

  test('a manifest without dependencies complains of nothing', () => {
    expect(read('package.json', '{"workspaces":["x"]}')).toEqual({ dependencies: [], problems: [] });
  });
});
