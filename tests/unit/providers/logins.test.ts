import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { RegistrySpec } from '../../../src/definition/specs/image.ts';
import { createEcrLogin } from '../../../src/providers/registries/logins/ecr.ts';
import { createRegistryReader } from '../../../src/providers/registries/logins/index.ts';

/** Programs that say what they were asked and answer as the real ones do; found by the PATH of this process. */
let folder: string;
const path = process.env['PATH'] ?? '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-logins-'));
  process.env['PATH'] = `${folder}${delimiter}${path}`;
});
afterEach(() => {
  process.env['PATH'] = path;
  rmSync(folder, { recursive: true, force: true });
});

function program(name: string, script: string): void {
  writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

const registry = (more: Partial<RegistrySpec>): RegistrySpec => ({
  address: 'registry.example',
  prefix: 'shop',
  insecure: false,
  ...more,
});

function reader(environment: Readonly<Record<string, string>> = {}): ReturnType<typeof createRegistryReader> {
  return createRegistryReader({
    readSecret: (ref) => Promise.resolve(`value of ${ref.kind === 'env' ? ref.name : ref.path}`),
    environment,
  });
}

describe('a credential helper', () => {
  const spec = registry({ credentialHelper: 'vault' });

  test('is asked for the server by its protocol', async () => {
    program(
      'docker-credential-vault',
      `read server; echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"$1\\",\\"Secret\\":\\"s for $server\\"}"`,
    );
    expect(await reader()(spec)).toEqual({
      address: 'registry.example',
      insecure: false,
      credentials: { address: 'registry.example', username: 'get', password: 's for registry.example' },
    });
  });

  test.each([
    ['knows none', 'echo "credentials not found in native keychain"; exit 1', 'it knows none'],
    ['fails', 'echo "pa55word"; exit 3', 'exit code 3'],
    ['says something else', 'echo pa55word', 'answered something else'],
    ['gives an identity token', `echo '{"Username":"<token>","Secret":"pa55word"}'`, 'identity token'],
  ])('that %s is told of, without what it printed', async (_, script, said) => {
    program('docker-credential-vault', script);
    const error: unknown = await reader()(spec).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ type: 'RegistryRefused', message: expect.stringContaining(said) });
    expect(JSON.stringify([error, String(error)])).not.toContain('pa55word');
  });

  test('that is not there is told of', async () => {
    await expect(reader()(spec)).rejects.toMatchObject({ type: 'ToolMissing' });
  });
});

describe('ECR', () => {
  const counting = `echo x >> $COUNT; echo "token $(wc -l < $COUNT | tr -d ' ') $*"`;
  const aws = (): Record<string, string> => ({ COUNT: join(folder, 'count') });

  test('is asked once for a token, and again long before it ends', async () => {
    program('aws', counting);
    let now = 0;
    const login = createEcrLogin({
      address: 'a.dkr.ecr.eu-central-1.amazonaws.com',
      region: 'eu-central-1',
      environment: () => Promise.resolve(aws()),
      now: () => now,
    });
    const [first, second] = await Promise.all([login.read(), login.read()]);
    expect(first).toMatchObject({ username: 'AWS', password: 'token 1 ecr get-login-password --region eu-central-1' });
    expect(second).toEqual(first);
    now = 6 * 3_600_000 - 1;
    expect(await login.read()).toEqual(first);
    now += 1;
    expect((await login.read()).password).toContain('token 2');
  });

  test('that refused once is asked again', async () => {
    program(
      'aws',
      `[ -e "$COUNT" ] && { echo good; exit 0; }; touch "$COUNT"; echo "An error occurred (AccessDenied)" >&2; exit 254`,
    );
    const login = createEcrLogin({ address: 'a', region: 'eu-central-1', environment: () => Promise.resolve(aws()) });
    await expect(login.read()).rejects.toMatchObject({
      type: 'RegistryRefused',
      message: expect.stringContaining('AccessDenied'),
    });
    expect((await login.read()).password).toBe('good');
  });

  test('that cannot be reached may be tried again', async () => {
    program('aws', 'echo "Could not connect to the endpoint URL: \\"https://api.ecr\\"" >&2; exit 255');
    const login = createEcrLogin({ address: 'a', region: 'eu-central-1', environment: () => Promise.resolve({}) });
    await expect(login.read()).rejects.toMatchObject({ type: 'RegistryUnavailable', retryable: true });
  });

  test('gets the key of the project instead of that of the worker, and nothing else of the environment', async () => {
    program('aws', 'env | sort | grep -v -e ^PWD -e ^_ -e ^SHLVL -e ^OLDPWD | tr "\\n" " "');
    const worker = {
      HOME: '/home/w',
      AWS_PROFILE: 'p',
      AWS_SESSION_TOKEN: 't',
      AWS_ENDPOINT_URL: 'http://x',
      SECRET: 'no',
    };
    const own = await reader(worker)(registry({ ecr: { region: 'eu-central-1' } }));
    expect(own.credentials?.password).toContain('AWS_PROFILE=p AWS_SESSION_TOKEN=t HOME=/home/w');
    expect(own.credentials?.password).not.toContain('SECRET');
    const accessKey = { id: { kind: 'env', name: 'ID' }, secret: { kind: 'env', name: 'KEY' } } as const;
    const { credentials } = await reader(worker)(registry({ ecr: { region: 'eu-central-1', accessKey } }));
    expect(credentials?.password).toContain('AWS_ACCESS_KEY_ID=value of ID');
    expect(credentials?.password).toContain('AWS_SECRET_ACCESS_KEY=value of KEY');
    expect(credentials?.password).not.toContain('AWS_SESSION_TOKEN');
    expect(credentials?.password).toContain('AWS_ENDPOINT_URL=http://x');
  });
});
