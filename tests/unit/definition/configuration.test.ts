import { describe, expect, test } from '@jest/globals';
import { changedKeys, environmentFiles, readConfiguration } from '../../../src/definition/configuration.ts';
import { pairOf, projectText, repositoryText } from './documents.ts';

const pair = pairOf({
  repository: repositoryText.replace('port: 8080', 'port: 8080\n  env: { FROM_REPOSITORY: 1, SHARED: repository }'),
  project: projectText.replace(
    '  production:\n',
    '  production:\n    env: { SHARED: project }\n    secrets: { DATABASE_URL: { env: DB } }\n',
  ),
});

function problemsOf(text: string, environment = 'production'): string {
  try {
    readConfiguration({ [`.env.${environment}`]: text }, environment, pair);
    return '';
  } catch (error) {
    expect(error).toMatchObject({ type: 'EnvironmentFileInvalid' });
    return (error as Error).message;
  }
}

describe('the configuration of an environment', () => {
  test('is that of the repository, under its file, under the project', () => {
    const files = {
      '.env.production': 'FROM_FILE=2\nSHARED=file\nLOG_LEVEL=WARNING\nENVIRONMENT=production\n',
      '.env.staging': 'X=1',
    };
    const { env, file } = readConfiguration(files, 'production', pair);
    expect(env).toEqual({
      FROM_REPOSITORY: '1',
      FROM_FILE: '2',
      SHARED: 'project',
      LOG_LEVEL: 'WARNING',
      ENVIRONMENT: 'production',
    });
    expect(file).toBe('.env.production');
  });

  test('takes the traditional names of files too, and needs none', () => {
    expect(environmentFiles('development')).toEqual(['.env.development', '.env.dev']);
    expect(readConfiguration({ '.env.dev': 'A=1\n' }, 'development', pair).env).toMatchObject({ A: '1' });
    expect(readConfiguration({}, 'staging', pair).file).toBeUndefined();
  });

  test('has a hash that changes with every value, and names what changed without holding it', () => {
    const before = readConfiguration({ '.env.staging': 'A=1\nB=hunter2\nC=3\n' }, 'staging', pair);
    const after = readConfiguration({ '.env.staging': 'B=hunter3\nC=3\nA=1\nD=4\n' }, 'staging', pair);
    const same = readConfiguration({ '.env.staging': '# moved\nC=3\nB="hunter2"\nA=1\n' }, 'staging', pair);
    expect(before.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(after.hash).not.toBe(before.hash);
    expect(same.hash).toBe(before.hash);
    expect(changedKeys(before.keys, after.keys)).toEqual(['B', 'D']);
    expect(changedKeys(after.keys, before.keys)).toEqual(['B', 'D']);
    expect(JSON.stringify(before.keys)).not.toContain('hunter2');
  });

  test('reads quotes, comments, exports and values over several lines', () => {
    const text = '\uFEFFexport A="1 # no comment"\r\nB=2 # comment\r\n\r\nC="first\nsecond"\nD=\'x\'\n';
    const { env } = readConfiguration({ '.env.staging': text }, 'staging', pair);
    expect(env).toMatchObject({ A: '1 # no comment', B: '2', C: 'first\nsecond', D: 'x' });
  });
});

describe('what is wrong with a file', () => {
  test('is said all at once, with lines and without values', () => {
    const message = problemsOf(
      'lower=hunter2\nno assignment hunter2\n=x\nLOG_LEVEL=loud\nENVIRONMENT=staging\nDOCKER_REGISTRY=https://x y\n',
    );
    expect(message.split('\n').slice(1)).toEqual([
      '.env.production:2: is no `NAME=value`',
      '.env.production:3: is no `NAME=value`',
      '.env.production: "lower" is no name of a variable; use capital letters, digits and _',
      '.env.production: ENVIRONMENT names another environment than production or prod',
      '.env.production: LOG_LEVEL is none of DEBUG, INFO, WARNING, ERROR, CRITICAL',
      '.env.production: DOCKER_REGISTRY is no address of a registry, such as docker.io/team',
    ]);
    expect(message).not.toContain('hunter2');
  });

  test('a secret of the environment cannot stand in a file', () => {
    expect(problemsOf('DATABASE_URL=postgres://u:hunter2@h/d\n')).toMatch(/DATABASE_URL is a secret of production/);
    expect(problemsOf('DATABASE_URL=postgres://u:hunter2@h/d\n')).not.toContain('hunter2');
  });

  test('a quote that never closes is noticed', () => {
    expect(problemsOf('A="open\nB=2\n')).toContain('.env.production:1: is no `NAME=value`');
  });

  test('too much is refused', () => {
    expect(problemsOf(`A=${'x'.repeat(70_000)}\n`)).toContain('is larger than the 65536 bytes it may have');
  });

  test('what is required must come from somewhere', () => {
    const strict = pairOf({
      repository: `${repositoryText}configuration: { required: [GREETING, DATABASE_URL] }\n`,
      project: projectText.replace('  production:\n', '  production:\n    secrets: { DATABASE_URL: { env: DB } }\n'),
    });
    expect(() => readConfiguration({}, 'production', strict)).toThrow(
      'GREETING is required and given neither by .env.production nor by the project',
    );
    expect(() => readConfiguration({ '.env.production': 'GREETING=\n' }, 'production', strict)).toThrow(
      'GREETING is required',
    );
    expect(readConfiguration({ '.env.production': 'GREETING=hi\n' }, 'production', strict).env).toEqual({
      GREETING: 'hi',
    });
  });
});
