import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { CliError } from '../../../src/cli/exit.ts';
import { parseDeployment, parseEnvironment, parseName } from '../../../src/cli/names.ts';
import { findConnection, writeConnectionFile } from '../../../src/cli/settings.ts';

function thrown(work: () => unknown): CliError {
  try {
    work();
  } catch (error) {
    return error as CliError;
  }
  throw new Error('nothing was thrown');
}

describe('names', () => {
  test.each([
    ['12', { kind: 'run', project: 'hello', number: 12 }],
    ['#12', { kind: 'run', project: 'hello', number: 12 }],
    ['shop#7', { kind: 'run', project: 'shop', number: 7 }],
    ['production/3', { kind: 'deployment', project: 'hello', environment: 'production', number: 3 }],
    ['shop/staging/3', { kind: 'deployment', project: 'shop', environment: 'staging', number: 3 }],
    ['shop/staging#3', { kind: 'deployment', project: 'shop', environment: 'staging', number: 3 }],
    ['deployment/shop/staging/3', { kind: 'deployment', project: 'shop', environment: 'staging', number: 3 }],
  ])('%s', (text, named) => expect(parseName(text, 'hello')).toEqual(named));

  test.each(['production', 'a/b/c/4', 'production/0', 'production/x', '/3', '../etc/3', ''])('refuses %p', (text) => {
    expect(thrown(() => parseName(text, 'hello')).ending).toBe('usage');
  });

  test('a run is no deployment, and the refusal says how to find one', () => {
    const error = thrown(() => parseDeployment('12', 'hello'));
    expect(error.ending).toBe('usage');
    expect(error.next[0]?.command).toBe('slipway status hello#12');
  });

  test('without a project the person is told, not guessed for', () => {
    expect(thrown(() => parseName('12', undefined)).message).toContain('--project');
    expect(parseEnvironment('shop/production', undefined)).toEqual({ project: 'shop', environment: 'production' });
    expect(thrown(() => parseEnvironment('production', undefined)).ending).toBe('usage');
  });
});

describe('the connection', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'slipway-settings-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  test('is found from a folder below, and only its owner can read it', async () => {
    const file = writeConnectionFile(join(folder, '.slipway'), { url: 'http://127.0.0.1:1/', token: 't1' });
    expect((await stat(file)).mode & 0o077).toBe(0);
    const found = findConnection({ folder: join(folder, 'a/b'), env: { HOME: folder } });
    expect(found).toMatchObject({ url: 'http://127.0.0.1:1', token: 't1', source: file });
  });

  test('an option goes before the environment, the environment before a file', () => {
    writeConnectionFile(join(folder, '.slipway'), { url: 'http://file', token: 'file', project: 'file' });
    const env = { HOME: folder, SLIPWAY_URL: 'http://env', SLIPWAY_TOKEN: 'env' };
    expect(findConnection({ folder, env })).toMatchObject({ url: 'http://env', token: 'env', project: 'file' });
    expect(findConnection({ folder, env, api: 'http://option', project: 'p' })).toMatchObject({
      url: 'http://option',
      token: 'env',
      project: 'p',
    });
  });

  test('a token may be in a file that a variable names; one that cannot be read is said', async () => {
    const file = join(folder, 'token');
    await writeFile(file, 'of-a-file\n');
    const env = { HOME: folder, SLIPWAY_URL: 'http://env', SLIPWAY_TOKEN_FILE: file };
    expect(findConnection({ folder, env })).toMatchObject({ token: 'of-a-file' });
    expect(findConnection({ folder, env: { ...env, SLIPWAY_TOKEN: 'itself' } })).toMatchObject({ token: 'itself' });
    const error = thrown(() => findConnection({ folder, env: { ...env, SLIPWAY_TOKEN_FILE: `${file}s` } }));
    expect(error.message).toBe(`${file}s, given as SLIPWAY_TOKEN_FILE, cannot be read.`);
  });

  test('without one, the person is told how to get it', () => {
    const error = thrown(() => findConnection({ folder, env: { HOME: folder } }));
    expect(error.ending).toBe('not-allowed');
    expect(error.next.map(({ command }) => command)).toContain('slipway up');
  });
});
