import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { format, inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { SecretRef } from '../../../src/definition/specs/secret.ts';
import { createSecrets } from '../../../src/providers/secrets/index.ts';
import type { Secrets } from '../../../src/providers/secrets/port.ts';

let folder = '';
const environment: Record<string, string | undefined> = {};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'slipway-secrets-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

function open(versionKey = 'key of this installation'): Secrets {
  return createSecrets({ environment, folder, versionKey });
}

/** What every kind of secret does, and how a test gives it a value. */
const kinds: readonly {
  readonly kind: string;
  readonly ref: SecretRef;
  readonly give: (value?: string) => Promise<void>;
}[] = [
  {
    kind: 'env',
    ref: { kind: 'env', name: 'SHOP_PASSWORD' },
    give: (value) => {
      environment['SHOP_PASSWORD'] = value;
      return Promise.resolve();
    },
  },
  {
    kind: 'file',
    ref: { kind: 'file', path: 'shop-password' },
    give: async (value) => {
      if (value === undefined) await rm(join(folder, 'shop-password'), { force: true });
      else await writeFile(join(folder, 'shop-password'), value);
    },
  },
];

describe.each(kinds)('a secret of kind $kind', ({ ref, give }) => {
  test('gives its value as it is now', async () => {
    await give('hunter2');
    expect((await open().read(ref)).reveal()).toBe('hunter2');
    await give('hunter3');
    expect((await open().read(ref)).reveal()).toBe('hunter3');
  });

  test('has a version that changes with the value and with the installation, and nothing else', async () => {
    await give('hunter2');
    const { version } = await open().read(ref);
    expect(version).toMatch(/^[0-9a-f]{16}$/);
    expect((await open().read(ref)).version).toBe(version);
    expect((await open('another key').read(ref)).version).not.toBe(version);
    expect(await open().versions({ A: ref })).toEqual({ A: version });
    await give('hunter3');
    expect((await open().read(ref)).version).not.toBe(version);
  });

  test('does not get out by being printed, logged or serialised', async () => {
    await give('hunter2');
    const secret = await open().read(ref);
    const printed = [
      JSON.stringify({ secret }),
      inspect({ secret }, { depth: 9, showHidden: true }),
      format('%s %o %j', secret, secret, secret),
      JSON.stringify(Object.entries(secret)),
    ];
    for (const text of printed) expect(text).not.toContain('hunter2');
  });

  test.each([
    ['missing', undefined],
    ['empty', ''],
  ])('that is %s is refused by its place', async (_name, value) => {
    await give(value);
    await expect(open().read(ref)).rejects.toMatchObject({
      type: 'SecretMissing',
      retryable: false,
      message: expect.stringContaining(ref.kind === 'env' ? ref.name : ref.path),
    });
  });
});

test('a file loses the line break at its end and nothing else', async () => {
  await writeFile(join(folder, 'broken'), ' a\nb \r\n');
  expect((await open().read({ kind: 'file', path: 'broken' })).reveal()).toBe(' a\nb ');
  expect((await open().read({ kind: 'file', path: join(folder, 'broken') })).reveal()).toBe(' a\nb ');
});

test('something else than a secret is refused', async () => {
  await writeFile(join(folder, 'huge'), 'x'.repeat(70_000));
  await expect(open().read({ kind: 'file', path: 'huge' })).rejects.toMatchObject({ type: 'SecretMissing' });
  await expect(open().read({ kind: 'file', path: '.' })).rejects.toThrow('cannot be read (EISDIR)');
});

test('everything that is missing is said at once', async () => {
  environment['GIVEN'] = 'x';
  const refs = {
    A: { kind: 'env', name: 'NOWHERE' },
    B: { kind: 'env', name: 'GIVEN' },
    C: { kind: 'file', path: 'nowhere' },
  } as const;
  await expect(open().readAll(refs)).rejects.toMatchObject({
    type: 'SecretMissing',
    message: 'A: Variable NOWHERE of the worker is not set.\nC: Secret file nowhere is not there.',
  });
  const { B } = await open().readAll({ B: refs.B });
  expect(B?.reveal()).toBe('x');
});
