import { describe, expect, test } from '@jest/globals';
import {
  type DependencyUpdate,
  chooseUpdate,
  dependencyBranch,
  dependencyGroups,
  dependencyWords,
  fixedBy,
} from '../../../src/domain/dependency-update.ts';
import { packageIndexes } from '../../../src/providers/package-indexes/index.ts';

const npm = packageIndexes.npm.scheme;
const python = packageIndexes.python.scheme;
const day = 86_400_000;
const policy = { level: 'minor', minimumAgeMs: 3 * day, now: '2026-11-26T00:00:00Z' } as const;
const old = '2026-01-01T00:00:00Z';
const dependency = { name: 'left', version: '1.2.3' };
const versions = (...all: string[]) => all.map((version) => ({ version, publishedAt: old }));

describe('which version is offered', () => {
  test.each([
    ['patch', '1.2.9'],
    ['minor', '1.9.0'],
    ['major', '3.0.0'],
  ] as const)('the newest that a level of %s lets through', (level, to) => {
    const known = versions('1.2.9', '0.9.0', '1.9.0', '1.10.0-rc.1', '3.0.0', '2.0.0', 'latest');
    expect(chooseUpdate(dependency, known, npm, { ...policy, level })).toEqual({ kind: 'update', to, level });
  });

  test('nothing younger than the minimum age, to the millisecond', () => {
    const at = (publishedAt: string) => chooseUpdate(dependency, [{ version: '1.3.0', publishedAt }], npm, policy).kind;
    expect(at('2026-11-23T00:00:00.000Z')).toBe('update');
    expect(at('2026-11-23T00:00:00.001Z')).toBe('current');
  });

  test('an index that does not say when is told, and matters to nobody who asks for no age', () => {
    const known = [{ version: '1.3.0' }];
    expect(chooseUpdate(dependency, known, npm, policy)).toMatchObject({ kind: 'unknown' });
    expect(chooseUpdate(dependency, known, npm, { ...policy, minimumAgeMs: 0 })).toMatchObject({ to: '1.3.0' });
  });

  test('nothing that the promised runtime is too old for', () => {
    const known = [
      { version: '1.3.0', publishedAt: old, requires: '>=18' },
      { version: '1.4.0', publishedAt: old, requires: '>=24' },
    ];
    expect(chooseUpdate(dependency, known, npm, { ...policy, runtime: '>=20.1' })).toMatchObject({ to: '1.3.0' });
    expect(chooseUpdate(dependency, known, npm, policy)).toMatchObject({ to: '1.4.0' });
    const wheels = known.map((each) => ({
      ...each,
      requires: each.requires.replace('18', '3.9').replace('24', '3.12'),
    }));
    expect(chooseUpdate(dependency, wheels, python, { ...policy, runtime: '>=3.10,<4' })).toMatchObject({
      to: '1.3.0',
    });
  });

  test('versions of Python have an order of their own', () => {
    const known = versions('1.2.3.post1', '1.2.10', '1.3rc1', '1.3.dev2', '1.4+local');
    expect(chooseUpdate(dependency, known, python, policy)).toEqual({ kind: 'update', to: '1.2.10', level: 'patch' });
    expect(python.levelOf('2024.1', '2025.1')).toBe('major');
    expect(python.levelOf('1.2', '1!1.2')).toBe('major');
  });
});

test('an advisory counts where the present version has it and the next one does not', () => {
  const known = [
    { id: 'A', name: 'left', version: '1.2.3', fixedIn: ['1.3.0'] },
    { id: 'B', name: 'left', version: '1.2.3', fixedIn: ['2.0.0'] },
    { id: 'C', name: 'left', version: '1.2.2', fixedIn: ['1.3.0'] },
    { id: 'D', name: 'left', version: '1.2.3', fixedIn: [] },
  ];
  expect(fixedBy(dependency, '1.4.0', known, npm)).toEqual(['A']);
});

const update = (name: string, rest: Partial<DependencyUpdate> = {}): DependencyUpdate => ({
  ...{ ecosystem: 'npm', manifest: 'package.json', name, version: '1.0.0', to: '1.1.0', level: 'minor', fixes: [] },
  ...rest,
});

test('one pull request for each ecosystem or dependency, with what fixes an advisory first', () => {
  const updates = [update('b'), update('a'), update('z', { fixes: ['CVE-1'] }), update('r', { ecosystem: 'python' })];
  expect(
    dependencyGroups('shop', updates, 'ecosystem').map(({ branch, updates: own }) => [
      branch,
      own.map(({ name }) => name),
    ]),
  ).toEqual([
    ['slipway/upkeep/shop/deps-npm', ['z', 'a', 'b']],
    ['slipway/upkeep/shop/deps-python', ['r']],
  ]);
  expect(dependencyGroups('shop', updates, 'dependency').map(({ branch }) => branch.split('/').at(-1))).toEqual([
    'deps-npm-z',
    'deps-npm-a',
    'deps-npm-b',
    'deps-python-r',
  ]);
});

test('names of branches tell packages apart and are names that Git takes', () => {
  const names = ['@a/b', 'a-b', 'a.b', 'at.a.of.b', 'x.lock', 'x.'].map((name) =>
    dependencyBranch('shop', 'npm', name),
  );
  expect(names[0]).not.toBe(names[1]);
  for (const name of names) expect(name).not.toMatch(/\.\.|\.lock$|\.$|[@ ~^:?*[\\]/);
});

test('the words of a pull request hold nothing that is more than words', () => {
  const { title, body } = dependencyWords({
    ecosystem: 'npm',
    updates: [update('a', { fixes: ['CVE-1'] }), update('b', { manifest: 'x`|\n|/package.json' })],
  });
  expect(title).toBe('Update 2 dependencies (npm)');
  expect(body).toContain('The first one fixes known advisories.');
  expect(body).toContain('| `a` | `1.0.0` | `1.1.0` | minor | `package.json` | `CVE-1` |');
  expect(body).toContain('| `x/package.json` |');
  expect(dependencyWords({ ecosystem: 'npm', updates: [update('a')] }).title).toBe('Update a to 1.1.0');
});
