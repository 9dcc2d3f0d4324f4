import { describe, expect, test } from '@jest/globals';
import { resolveEnvironmentGates, resolveGates } from '../../../src/definition/gates.ts';
import { resolvePipeline } from '../../../src/definition/pipeline.ts';
import type { GateName, GatePolicy } from '../../../src/domain/gate.ts';
import { pairOf, problemsOf, projectText, repositoryText } from './documents.ts';

const of = (policies: readonly GatePolicy[], gate: GateName): GatePolicy => policies.find((one) => one.gate === gate)!;

describe('gates of a pair of documents', () => {
  test('are the defaults where no document names them, and are not asked for', () => {
    const policies = resolveGates(pairOf());
    expect(policies.map(({ demanded }) => demanded)).not.toContain(true);
    expect(of(policies, 'coverage')).toMatchObject({ mode: 'warn', coverage: { min: 0.7, critical: 0.5 } });
    expect(of(policies, 'tests').mode).toBe('block');
    expect(of(policies, 'quality')).toMatchObject({ least: 'low', score: 7 });
    expect(of(resolveEnvironmentGates(pairOf(), 'production'), 'compliance').mode).toBe('block');
    expect(of(resolveEnvironmentGates(pairOf(), 'staging'), 'compliance').mode).toBe('warn');
  });

  test('the environment goes over the project, and the repository only upwards', () => {
    const pair = pairOf({
      repository: `${repositoryText}gates: { coverage: { min: 75%, mode: block }, quality: { score: 9 } }\n`,
      project: projectText
        .replace('  production:\n', '  production:\n    gates: { coverage: { min: 80% } }\n')
        .replace(
          '  staging:\n',
          '  staging:\n    gates: { coverage: { min: 50%, mode: off }, container: { imageAge: 30d } }\n',
        )
        .concat('gates: { coverage: { critical: 40% } }\n'),
    });
    expect(of(resolveGates(pair), 'coverage')).toMatchObject({
      mode: 'block',
      demanded: true,
      coverage: { min: 0.75, critical: 0.4 },
    });
    expect(of(resolveEnvironmentGates(pair, 'production'), 'coverage').coverage.min).toBe(0.8);
    expect(of(resolveEnvironmentGates(pair, 'staging'), 'coverage')).toMatchObject({
      mode: 'block',
      coverage: { min: 0.75 },
    });
    expect(of(resolveEnvironmentGates(pair, 'staging'), 'container').imageAgeDays).toBe(30);
    expect(of(resolveGates(pair), 'quality').score).toBe(9);
  });

  test('what the project says of scans holds for the gate of images too', () => {
    const scan =
      'images: { scan: { database: /db, severities: [critical], exceptions: [{ id: CVE-2026-1, package: zlib, reason: is not reached, until: "2027-01-01" }] } }\n';
    const excepted = { rule: 'CVE-2026-1', component: 'zlib', reason: 'is not reached', expires: '2027-01-01' };
    const plain = of(resolveGates(pairOf({ project: `${projectText}${scan}` })), 'container');
    expect(plain).toMatchObject({ demanded: false, mode: 'warn', least: 'critical', suppressions: [excepted] });
    const own =
      'gates: { container: { severity: high, suppressions: [{ rule: layers, reason: it is a monolith, expires: 2027-01-01 }] } }\n';
    expect(of(resolveGates(pairOf({ project: `${projectText}${scan}${own}` })), 'container')).toMatchObject({
      least: 'high',
      suppressions: [excepted, { rule: 'layers' }],
    });
  });

  test.each([
    // Of the project, of the repository, and what comes of both.
    ['allow: [MIT]', 'deny: [X11]', undefined],
    ['allow: [MIT], images: libraries', 'deny: [X11]', 'libraries'],
    ['allow: [MIT], images: libraries', 'images: off', 'libraries'],
    ['allow: [MIT], images: libraries', 'images: all', 'all'],
    ['allow: [MIT]', 'images: off', 'all'],
    ['allow: [MIT], images: off', 'images: libraries', 'libraries'],
    // Who asks for no licence has not said of what.
    ['deny: []', 'deny: [X11], images: off', 'off'],
  ])('of images licences are asked as widely as either says: %s and %s', (project, repository, images) => {
    const gates = (licences: string): string => `gates: { dependencies: { licences: { ${licences} } } }\n`;
    const pair = pairOf({
      project: `${projectText}${gates(project)}`,
      repository: `${repositoryText}${gates(repository)}`,
    });
    expect(of(resolveGates(pair), 'dependencies').licences.images).toBe(images);
    expect(of(resolveEnvironmentGates(pair, 'production'), 'dependencies').licences.images).toBe(images);
  });

  test('suppressions of the repository hold only where the project lets them', () => {
    const repository = `${repositoryText}gates: { code-security: { suppressions: [{ rule: B602, reason: it is a tool, expires: 2027-01-01 }] } }\n`;
    const pair = pairOf({ repository, project: `${projectText}suppressions: repository\n` });
    expect(of(resolveGates(pair), 'code-security').suppressions).toHaveLength(1);
    // A pair that was stored under another project document is revived without its rules.
    const kept = { ...pair, project: { ...pair.project, suppressions: 'project' as const } };
    expect(of(resolveGates(kept), 'code-security').suppressions).toEqual([]);
  });

  test('reports of steps and stages go to their gates', () => {
    const repository = repositoryText.replace(
      'image: node:24-slim',
      `image: node:24-slim
        workdir: service
        reports:
          - { kind: junit, path: service/junit.xml }
          - { kind: html, path: service/htmlcov }
    reports:
      - { kind: sarif, path: "out/*.sarif", gate: dependencies }`,
    );
    expect(resolvePipeline(pairOf({ repository })).stages[0]?.reports).toEqual([
      { kind: 'junit', path: 'service/junit.xml', gate: 'tests', step: 'unit', base: 'service' },
      { kind: 'html', path: 'service/htmlcov', step: 'unit', base: 'service' },
      { kind: 'sarif', path: 'out/*.sarif', gate: 'dependencies', base: '.' },
    ]);
    expect(resolvePipeline(pairOf()).stages[0]).not.toHaveProperty('reports');
  });

  test.each([
    [
      '{ kind: junit, path: ../../etc/passwd }',
      'stages[0].steps[0].reports[0].path must not leave the repository with `..`',
    ],
    [
      '{ kind: junit, path: /etc/passwd }',
      'stages[0].steps[0].reports[0].path must be relative to the root of the repository, with `/` between its parts',
    ],
    [
      '{ kind: junit, path: "+(a|aa)+(a|aa)x" }',
      'stages[0].steps[0].reports[0].path may hold `*`, `**`, `?` and `{a,b}` only',
    ],
    [
      '{ kind: junit, path: "*a*a*a*a*a*a*a*a*a" }',
      'stages[0].steps[0].reports[0].path has too many `*`, `**/` or `{…}`; write several reports',
    ],
  ])('%s is refused', (report, problem) => {
    const repository = repositoryText.replace(
      'image: node:24-slim',
      `image: node:24-slim\n        reports: [${report}]`,
    );
    expect(problemsOf({ repository })).toEqual([problem]);
  });

  test.each([
    [
      'dependencies: { licences: { deny: [GPLv3] } }',
      'gates.dependencies.licences.deny[0] `GPLv3` is no SPDX id; write `MIT` or `GPL-3.0-only`',
    ],
    [
      'code-security: { suppressions: [{ rule: B602, reason: because, expires: 2027-01-01 }] }',
      'gates.code-security.suppressions[0].reason must say why, in at least 10 characters',
    ],
    [
      'code-security: { suppressions: [{ rule: B602, reason: it is a tool, expires: 2027-02-30 }] }',
      'gates.code-security.suppressions[0].expires must be a day such as `2026-12-31`',
    ],
  ])('%s is refused', (gate, problem) => {
    expect(problemsOf({ project: `${projectText}gates: { ${gate} }\n` })).toEqual([problem]);
  });
});
