import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FailureType } from '../../domain/failure-kinds.ts';
import { ProviderError } from '../../domain/failures.ts';
import type { Statement } from '../../domain/provenance.ts';
import { runTool, type ToolResult } from '../../effects/process.ts';
import { createRedactor } from '../../effects/redact.ts';
import { withScratch } from '../../effects/scratch-folder.ts';
import { writeDockerConfig } from '../registries/docker-config.ts';
import { forgetAttestations, listAttestations, typeNames } from './cosign-attachment.ts';
import type { AttestationType, ImageSigner, SignedImage, SigningKey } from './port.ts';

/** Of one call: a signature and a manifest are a few requests to the registry. Judgement. */
const callMs = 60_000;
/** All provenance of an image is in one answer, of which there may be 900 statements. Judgement. */
const maxOutputBytes = 64 * 1024 * 1024;

/** How cosign 2.6 says it, in the order in which it is looked for; its last line only, for warnings name the network too. */
const complaints: readonly (readonly [RegExp, FailureType])[] = [
  [
    /no signatures found|no attestations found|no matching attestations:\s*$|none of the attestations matched/i,
    'ImageNotSigned',
  ],
  [/UNAUTHORIZED|DENIED|status code 40[13]/i, 'RegistryRefused'],
  [/MANIFEST_UNKNOWN|NAME_UNKNOWN|manifest unknown|status code 404/i, 'ImageNotFound'],
  [
    /connection refused|no such host|i\/o timeout|TLS handshake|connection reset|\bEOF$|context deadline exceeded|status code (?:429|5\d\d)/i,
    'RegistryUnavailable',
  ],
];

/** Of nobody: without one cosign asks the public instance of sigstore for its own, although a key is all that is looked at. */
const noTrustedRoot = '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}';

/**
 * Signs by cosign 2 with a key of the project.
 *
 * The private key reaches it as a file in scratch that nobody else can read and that is gone when cosign has ended, the password by its own
 * environment.
 *
 * @param program - path of cosign; asked at each use, and may take long the first time.
 */
export function createCosignSigner(program: (signal?: AbortSignal) => Promise<string>): ImageSigner {
  interface Call {
    readonly image: SignedImage;
    readonly key?: SigningKey | undefined;
    readonly publicKey?: string;
    readonly signal: AbortSignal | undefined;
    /** Words before the key and the name of the image. */
    readonly args: readonly string[];
    readonly doing: string;
  }

  async function run(call: Call): Promise<{ readonly result: ToolResult; readonly said: string }> {
    const { image, key, publicKey, signal, args } = call;
    const cosign = await program(signal);
    const redactor = createRedactor(
      [key?.privateKey, key?.password, image.registry.credentials?.password].flatMap((text) => text || []),
    );
    return await withScratch('cosign', async (folder) => {
      const keyFile = join(folder, key === undefined ? 'key.pub' : 'key');
      await writeFile(keyFile, key?.privateKey ?? publicKey ?? '', { mode: 0o600 });
      const rootFile = join(folder, 'trusted-root.json');
      if (key === undefined) await writeFile(rootFile, noTrustedRoot);
      const result = await runTool({
        command: [
          cosign,
          ...args,
          ...['--key', keyFile],
          ...(key === undefined
            ? ['--trusted-root', rootFile, '--insecure-ignore-tlog=true', '--offline', '--output', 'json']
            : ['--yes', '--tlog-upload=false']),
          ...(image.registry.insecure ? ['--allow-insecure-registry', '--allow-http-registry'] : []),
          `${image.repository}@${image.digest}`,
        ],
        env: { ...(await writeDockerConfig(folder, image.registry)), COSIGN_PASSWORD: key?.password ?? '' },
        home: folder,
        cwd: folder,
        timeoutMs: callMs,
        maxOutputBytes,
        ...(signal === undefined ? {} : { signal }),
      });
      if (result.truncated) throw failed('SignerFailed', call, 'it said more than can be read');
      return { result, said: redactor.text(lastLine(result.stderr)) };
    });
  }

  /** @param refused - what it means when cosign said no for none of the reasons known. */
  async function must(call: Call, refused: FailureType): Promise<string> {
    const { result, said } = await run(call);
    if (result.exitCode === 0) return result.stdout;
    if (result.timedOut) throw failed('RegistryUnavailable', call, `it took longer than ${callMs / 1_000} s`);
    const [, type = refused] = complaints.find(([pattern]) => pattern.test(said)) ?? [];
    throw failed(type, call, said);
  }

  /**
   * What cosign says by each of the keys for which it verifies anything.
   *
   * @param most - keys that are enough.
   * @throws what the last key was refused for, where none verifies anything.
   */
  async function byKeys(
    call: Omit<Call, 'publicKey'>,
    keys: readonly string[],
    refused: FailureType,
    most: number,
  ): Promise<readonly string[]> {
    let refusal: unknown = failed('ImageNotSigned', call, 'no key is trusted');
    const outputs: string[] = [];
    for (const publicKey of new Set(keys)) {
      try {
        outputs.push(await must({ ...call, publicKey }, refused));
        if (outputs.length === most) break;
      } catch (error) {
        // Only another key can make something else of these two.
        const type = error instanceof ProviderError ? error.type : undefined;
        if (type !== 'ImageNotSigned' && type !== 'AttestationInvalid') throw error;
        refusal = error;
      }
    }
    if (outputs.length === 0) throw refusal;
    return outputs;
  }

  return {
    async sign(image, key, signal) {
      const args = ['sign', '--record-creation-timestamp=false'];
      await must({ image, key, signal, args, doing: 'sign' }, 'SignerFailed');
    },

    async attest(image, key, { type, predicateFile, replace }, signal) {
      const args = [
        ...['attest', '--type', typeNames[type], '--predicate', predicateFile],
        ...(replace ? ['--replace'] : []),
      ];
      await must({ image, key, signal, args, doing: `attest the ${nameOf(type)} of` }, 'SignerFailed');
    },

    async verifySignature(image, keys, signal) {
      await byKeys({ image, signal, args: ['verify'], doing: 'verify the signature of' }, keys, 'ImageNotSigned', 1);
    },

    async readAttestations(image, keys, type, signal) {
      const args = ['verify-attestation', '--type', typeNames[type]];
      const call = { image, signal, args, doing: `verify the ${nameOf(type)} of` };
      // Cosign gives what the one key has signed: while keys are exchanged some runs have signed with the old one and some with the new one.
      const outputs = await byKeys(call, keys, 'AttestationInvalid', Infinity);
      const lines = outputs.flatMap((output) => output.split('\n')).filter((line) => line.trim() !== '');
      return [...new Set(lines)].map((line) => readEnvelope(line, call));
    },

    listAttested: listAttestations,
    forget: forgetAttestations,

    async ready() {
      await program();
    },
  };
}

/** The statement in a DSSE envelope whose signature cosign has verified. */
function readEnvelope(line: string, call: { readonly image: SignedImage; readonly doing: string }): Statement {
  try {
    const { payload } = JSON.parse(line) as { readonly payload: string };
    const statement = JSON.parse(Buffer.from(payload, 'base64').toString()) as Statement;
    if (Array.isArray(statement.subject) && typeof statement.predicateType === 'string') return statement;
  } catch {
    // Said below.
  }
  throw failed('AttestationInvalid', call, 'it is no in-toto statement');
}

function nameOf(type: AttestationType): string {
  return { provenance: 'provenance', spdx: 'SPDX list', cyclonedx: 'CycloneDX list', scan: 'scan' }[type];
}

function lastLine(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('WARNING'));
  return (lines.at(-1) ?? 'it gave no reason')
    .replace(/^(?:main\.go:\d+: )?[Ee]rror(?: during command execution)?: /, '')
    .slice(0, 1_000);
}

function failed(
  type: FailureType,
  { image, doing }: { readonly image: SignedImage; readonly doing: string },
  why: string,
): ProviderError {
  const name = `${image.repository}@${image.digest}`;
  return new ProviderError(type, `could not ${doing} ${name}: ${why}`, {
    details: { repository: image.repository, digest: image.digest },
  });
}
