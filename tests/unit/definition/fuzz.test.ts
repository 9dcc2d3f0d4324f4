import { expect, test } from '@jest/globals';
import { fc } from '../../support/property.ts';
import { parse as parseYaml, stringify } from 'yaml';
import { loadPair, loadRepository } from '../../../src/definition/load.ts';
import { renderProblems } from '../../../src/definition/render.ts';
import { projectText, repositoryText } from './documents.ts';

/** All places of a document, as paths. */
function placesOf(value: unknown, path: readonly (string | number)[] = []): readonly (readonly (string | number)[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  const entries = Array.isArray(value) ? [...value.entries()] : Object.entries(value);
  return [path, ...entries.flatMap(([name, inner]) => placesOf(inner, [...path, name]))];
}

function replaced(value: unknown, path: readonly (string | number)[], by: unknown): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return by;
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string | number, unknown>;
  copy[step] = replaced(copy[step], rest, by);
  return copy;
}

const full = {
  repository: parseYaml(`${repositoryText}migrations: {}
probes: [{ name: front, kind: http }]
watch: { warn: { p95: 1s }, rollback: { errors: 1% }, logPatterns: [x] }
configuration: { required: [A] }
tools: { docker: '>=20' }
`) as unknown,
  project: parseYaml(`${projectText}routes: [{ on: push, ref: main, environments: [production] }]
steps: { secrets: { A: { env: A } }, env: { B: 1 } }
probes: [{ name: back, kind: tcp }]
notifications: [{ kind: slack, url: { env: A }, environments: [staging] }]
`) as unknown,
};

const junk = fc.oneof(
  fc.constantFrom(null, '', 'x', 0, -1, 1e300, true, [], {}, [[]], [null], { kind: 'x' }, { kind: null }, '__proto__'),
  fc.jsonValue({ maxDepth: 2 }),
);

test('whatever stands anywhere in a definition, it is answered with problems that have a place', () => {
  const documents = fc.constantFrom<'repository' | 'project'>('repository', 'project');
  let refused = 0;
  fc.assert(
    fc.property(documents, fc.array(fc.tuple(fc.nat(), junk), { minLength: 1, maxLength: 4 }), (which, changes) => {
      let changed: unknown = full[which];
      for (const [where, by] of changes) {
        const places = placesOf(changed);
        changed = replaced(changed, places[where % places.length] ?? [], by);
      }
      const texts = { ...full, [which]: changed };
      const sources = {
        repository: { file: 'slipway.yaml', text: stringify(texts.repository) },
        project: { file: 'project.yaml', text: stringify(texts.project) },
      };
      const loaded = loadPair(sources);
      if (loaded.ok) return;
      refused += 1;
      expect(loaded.problems.length).toBeGreaterThan(0);
      for (const problem of loaded.problems) {
        const { text } = problem.file === 'slipway.yaml' ? sources.repository : sources.project;
        const line = text.split('\n')[problem.line - 1];
        expect(line).toBeDefined();
        expect(problem.column).toBeGreaterThanOrEqual(1);
        expect(problem.column).toBeLessThanOrEqual((line ?? '').length + 1);
        expect(problem.message).toMatch(/\S/);
      }
      expect(renderProblems(loaded.problems, { color: false })).toContain('problem');
    }),
    { numRuns: 500 },
  );
  expect(refused).toBeGreaterThan(200);
});

test('no text at all makes the reader fall over', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
      const loaded = loadRepository({ file: 'slipway.yaml', text });
      if (!loaded.ok) expect(loaded.problems.length).toBeGreaterThan(0);
    }),
    { numRuns: 1_500 },
  );
});
