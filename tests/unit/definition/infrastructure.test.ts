import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { resolveEnvironment } from '../../../src/definition/environment.ts';
import { pairOf, problemsOf, projectText, repositoryText } from './documents.ts';

const repository = `${repositoryText}infrastructure: { variables: { size: small, zones: [a, b], environment: none } }\n`;
/** With this for the infrastructure of production. */
function project(yaml: string): string {
  return projectText.replace('  production:\n', `  production:\n    infrastructure: ${yaml}\n`);
}
const least = '{ kind: terraform, executor: host, backend: { kind: pg }, planKey: { env: KEY } }';

describe('infrastructure', () => {
  test('is what the repository says, with the rights and over it the variables of the project', () => {
    const text = project(
      '{ kind: opentofu, executor: host, backend: { kind: s3, config: { bucket: b, use_lockfile: true, endpoints: { s3: "http://x" } } }, variables: { environment: production }, secretVariables: { db_password: { env: DB } }, env: { AWS_REGION: eu }, secrets: { AWS_SECRET_ACCESS_KEY: { env: AWS } }, planKey: { file: /k }, lockTimeout: 5s, timeout: 10m }',
    );
    expect(resolveEnvironment(pairOf({ repository, project: text }), 'production').infrastructure).toEqual({
      tool: {
        kind: 'opentofu',
        backend: { kind: 's3', config: { bucket: 'b', use_lockfile: true, endpoints: { s3: 'http://x' } } },
      },
      folder: 'infrastructure',
      variables: { size: 'small', zones: ['a', 'b'], environment: 'production' },
      secretVariables: { db_password: { kind: 'env', name: 'DB' } },
      env: { AWS_REGION: 'eu' },
      secrets: { AWS_SECRET_ACCESS_KEY: { kind: 'env', name: 'AWS' } },
      planKey: { kind: 'file', path: '/k' },
      lockTimeoutMs: 5_000,
      timeoutMs: 600_000,
    });
  });

  test('waits two minutes for a lock and has half an hour', () => {
    const spec = resolveEnvironment(pairOf({ repository, project: project(least) }), 'production');
    expect(spec.infrastructure).toMatchObject({ lockTimeoutMs: 120_000, timeoutMs: 1_800_000 });
  });

  test('is none where only one of the two documents has it', () => {
    expect(resolveEnvironment(pairOf({ repository }), 'production').infrastructure).toBeUndefined();
    expect(resolveEnvironment(pairOf({ project: project(least) }), 'production').infrastructure).toBeUndefined();
    expect(
      resolveEnvironment(pairOf({ repository, project: project(least) }), 'staging').infrastructure,
    ).toBeUndefined();
  });

  test.each([
    ['without the word that it runs on the worker', least.replace('executor: host, ', ''), 'executor'],
    ['in a container', least.replace('host', 'container'), 'must be `host`'],
    ['without a key for its plans', least.replace(', planKey: { env: KEY }', ''), 'planKey'],
    ['with a state nowhere', least.replace('backend: { kind: pg }, ', ''), 'backend'],
    ['with a backend of no kind', least.replace('pg', 'floppy'), 'backend.kind'],
    ['with more time than its activity has', least.replace('}, planKey', '}, timeout: 56m, planKey'), 'timeout'],
    [
      'with a lock waited for longer than it has',
      least.replace('}, planKey', '}, lockTimeout: 31m, planKey'),
      'lockTimeout',
    ],
    [
      'of commands without a state',
      '{ kind: exec, executor: host, plan: [a], apply: [b], planKey: { env: KEY } }',
      'state',
    ],
  ])('%s is refused', (_what, yaml, about) => {
    const problems = problemsOf({ repository, project: project(yaml) });
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.join('\n')).toContain(about);
  });

  test('in the page is a valid definition', () => {
    const page = readFileSync(join(import.meta.dirname, '../../../docs/infrastructure.md'), 'utf8');
    const examples = [...page.matchAll(/^```yaml\n([^]*?)^```$/gm)].map(([, yaml = '']) => yaml);
    expect(examples).toHaveLength(3);
    const [inRepository = '', inProject = '', checkov = ''] = examples;
    const block = inProject.slice(inProject.indexOf('    infrastructure:'));
    const text = projectText.replace('  production:\n', `  production:\n${block}`);
    expect(problemsOf({ repository: `${repositoryText}${inRepository}`, project: text })).toEqual([]);
    expect(
      resolveEnvironment(pairOf({ repository: `${repositoryText}${inRepository}`, project: text }), 'production')
        .infrastructure?.folder,
    ).toBe('infrastructure');
    expect(
      problemsOf({ repository: `version: 1\n${checkov}images: [{ name: app }]\nservice: { image: app, port: 80 }\n` }),
    ).toEqual([]);
  });
});
