import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { scratchFolder } from '../../../src/effects/scratch.ts';
import { createCosignSigner } from '../../../src/providers/signers/cosign.ts';
import type { ImageSigner, SignedImage } from '../../../src/providers/signers/port.ts';

/** How cosign is asked and what is made of its words, by a program that says what it was given; the real one is in tests/supply-chain. */
let folder: string;
const key = { privateKey: 'PRIVATE-KEY-TEXT', password: 'key-pa55word' };
const image: SignedImage = {
  registry: {
    address: 'reg.example',
    insecure: false,
    credentials: { address: 'reg.example', username: 'bot', password: 'registry-pa55' },
  },
  repository: 'reg.example/shop/app',
  digest: `sha256:${'a'.repeat(64)}`,
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'slipway-cosign-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
  expect(readdirSync(scratchFolder()).filter((name) => name.startsWith('cosign-'))).toEqual([]);
});

function signer(script: string): ImageSigner {
  const path = join(folder, 'cosign');
  writeFileSync(path, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return createCosignSigner(() => Promise.resolve(path));
}

const recorded = (name: string): string => readFileSync(join(folder, name), 'utf8');
const keyFile = `while [ "$1" != --key ]; do shift; done; key=$2`;

describe('cosign', () => {
  test('is given the key as a file that nobody else can read, the password apart, and the login', async () => {
    const script = [
      `echo "$@" > ${folder}/args`,
      `echo "$COSIGN_PASSWORD" > ${folder}/password`,
      `cat "$DOCKER_CONFIG/config.json" > ${folder}/login`,
      `stat -c %a "$DOCKER_CONFIG/config.json" > ${folder}/modes`,
      keyFile,
      `cat "$key" > ${folder}/key; stat -c %a "$key" >> ${folder}/modes`,
    ].join('\n');
    await signer(script).sign(image, key);
    expect(recorded('args')).toMatch(/^sign .*--tlog-upload=false .*reg\.example\/shop\/app@sha256:a{64}\n$/);
    expect(recorded('args')).not.toMatch(/PRIVATE|pa55|insecure/);
    expect(recorded('key')).toBe(key.privateKey);
    expect(recorded('password')).toBe('key-pa55word\n');
    expect(recorded('modes')).toBe('600\n600\n');
    expect(JSON.parse(recorded('login'))).toEqual({
      auths: { 'reg.example': { auth: Buffer.from('bot:registry-pa55').toString('base64') } },
    });
  });

  test('verifies by each trusted key until one holds, and asks nobody else', async () => {
    const script = `echo "$@" >> ${folder}/args\n${keyFile}\ngrep -q GOOD "$key" || { echo "Error: no matching signatures: invalid signature" >&2; exit 12; }`;
    await signer(script).verifySignature(image, ['BAD', 'GOOD', 'NEVER']);
    const calls = recorded('args').trim().split('\n');
    expect(calls).toHaveLength(2);
    for (const call of calls) expect(call).toMatch(/^verify .*--trusted-root .*--insecure-ignore-tlog=true --offline/);
    await expect(signer(script).verifySignature(image, ['BAD'])).rejects.toMatchObject({ type: 'ImageNotSigned' });
    await expect(signer(script).verifySignature(image, [])).rejects.toMatchObject({ type: 'ImageNotSigned' });
  });

  test('asks for statements by every trusted key, and knows nothing where one of them could not be asked', async () => {
    const envelope = (what: string): string => {
      const statement = { subject: [], predicateType: 't', predicate: what };
      return JSON.stringify({ payload: Buffer.from(JSON.stringify(statement)).toString('base64') });
    };
    const script = [
      keyFile,
      `case $(cat "$key") in`,
      `OLD) echo '${envelope('both')}'; echo '${envelope('old')}';;`,
      `NEW) echo '${envelope('new')}'; echo '${envelope('both')}';;`,
      `AWAY) echo 'Error: connection refused' >&2; exit 1;;`,
      `*) echo 'Error: no matching attestations: accepted signatures do not match threshold' >&2; exit 1;;`,
      `esac`,
    ].join('\n');
    const read = async (...keys: readonly string[]): Promise<readonly unknown[]> =>
      (await signer(script).readAttestations(image, keys, 'provenance')).map(({ predicate }) => predicate);
    expect(await read('OLD', 'OTHER', 'NEW')).toEqual(['both', 'old', 'new']);
    expect(await read('OTHER', 'OLD')).toEqual(['both', 'old']);
    await expect(read('OTHER', 'ANOTHER')).rejects.toMatchObject({ type: 'AttestationInvalid' });
    await expect(read('OLD', 'AWAY')).rejects.toMatchObject({ type: 'RegistryUnavailable', retryable: true });
  });

  test.each([
    ['Error: no signatures found', 'ImageNotSigned'],
    ['Error: no matching attestations: ', 'ImageNotSigned'],
    ['Error: none of the attestations matched the predicate type: vuln, found: x', 'ImageNotSigned'],
    [
      'Error: no matching attestations: accepted signatures do not match threshold, Found: 0, Expected 1',
      'AttestationInvalid',
    ],
    ['Error: something never seen', 'AttestationInvalid'],
    ['Error: GET https://reg/v2/: UNAUTHORIZED: authentication required', 'RegistryRefused'],
    ['Error: Get "https://reg/v2/": dial tcp 127.0.0.1:1: connect: connection refused', 'RegistryUnavailable'],
    ['Error: GET https://reg/v2/: unexpected status code 503 Service Unavailable', 'RegistryUnavailable'],
  ])('that says %j means %s', async (words, type) => {
    // The warning names the network too, and decides nothing.
    const script = `echo 'WARNING: lookup tuf-repo-cdn.sigstore.dev: no such host' >&2; echo '${words}' >&2; exit 1`;
    await expect(signer(script).readAttestations(image, ['K'], 'provenance')).rejects.toMatchObject({ type });
  });

  test('that cannot sign is told of without its secrets', async () => {
    const script = `${keyFile}\necho "Error: key $(cat "$key") with $COSIGN_PASSWORD and registry-pa55" >&2; exit 1`;
    const error: unknown = await signer(script)
      .sign(image, key)
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({ type: 'SignerFailed', retryable: true });
    expect(JSON.stringify([error, String(error)])).not.toMatch(/PRIVATE-KEY|pa55/);
  });

  test.each([
    ['no envelope', 'echo nonsense'],
    ['an envelope of something else', `echo '{"payload":"${Buffer.from('{"a":1}').toString('base64')}"}'`],
  ])('whose answer is %s has verified nothing', async (_, script) => {
    await expect(signer(script).readAttestations(image, ['K'], 'provenance')).rejects.toMatchObject({
      type: 'AttestationInvalid',
    });
  });
});
