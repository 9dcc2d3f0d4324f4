import { describe, expect, test } from '@jest/globals';
import { resolvePipeline } from '../../../src/definition/pipeline.ts';
import { reportKinds } from '../../../src/domain/report.ts';
import { breakages, changesOf, exampleFile } from '../../support/python-service.ts';
import { pairOf, problemsOf } from './documents.ts';

const project = exampleFile('project.yaml');
const repository = exampleFile('slipway.yaml');
const readme = exampleFile('README.md');

/** Kinds of report that the table below a heading names. */
function kindsBelow(heading: string): readonly string[] {
  const section = new RegExp(`^## ${heading}\\n([^]*?)^## `, 'm').exec(readme)?.[1] ?? '';
  const rows = section.split('\n').filter((line) => line.startsWith('|'));
  const named = [...rows.join('\n').matchAll(/`([a-z0-9-]+)`/g)].map(([, name = '']) => name);
  return named.filter((name) => (reportKinds as readonly string[]).includes(name)).sort();
}

describe('the example in Python', () => {
  test('has two documents that fit together', () => {
    expect(problemsOf({ repository, project })).toEqual([]);
  });

  test('says of each kind of report whether its tool runs or was recorded', () => {
    const specs = resolvePipeline(pairOf({ repository, project })).stages.flatMap(({ reports = [] }) => reports);
    const run: readonly string[] = [...new Set(specs.map(({ kind }) => kind))].filter((kind) => kind !== 'html');
    expect(kindsBelow('Tools that run for real')).toEqual([...run].sort());
    expect(kindsBelow('Readers that are tested on recorded reports only')).toEqual(
      reportKinds.filter((kind) => !run.includes(kind)).sort(),
    );
  });

  test.each(breakages.map((breakage) => [breakage.name, breakage] as const))(
    'can be broken by %s, which leaves two documents that fit together',
    (_, breakage) => {
      const files = changesOf(breakage);
      expect(Object.keys(files)).not.toHaveLength(0);
      expect(problemsOf({ repository: files['slipway.yaml'] ?? repository, project })).toEqual([]);
    },
  );
});
