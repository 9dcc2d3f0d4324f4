import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ProviderError } from '../../domain/failures.ts';
import { runTool } from '../../effects/process.ts';
import { withScratch } from '../../effects/scratch-folder.ts';
import type { SbomMaker } from './port.ts';

/** A large image on a small machine. Judgement; the time limit of all images holds besides. */
const callMs = 600_000;

/** To say which one it is. Judgement: it reads nothing but itself. */
const askMs = 30_000;

/** Of version 1.6, for osv-scanner 2.2 calls the 1.7 that syft would write an invalid one. */
const cyclonedxForm = 'cyclonedx-json@1.6';

/** A word for how lists are made here beside the version of syft: another one whenever the same syft would be asked for something else. */
const forms = `spdx-json,${cyclonedxForm}`;

/**
 * Lists by syft, from the saved image alone: neither the engine nor the network is asked.
 *
 * @param program - path of syft; asked at each use, and may take long the first time.
 * @param isHere - whether it is there without being built.
 */
export function createSyftSbomMaker(
  program: (signal?: AbortSignal) => Promise<string>,
  isHere: () => boolean,
): SbomMaker {
  return {
    name: 'syft',
    isHere,
    async readMethod(signal) {
      const syft = await program(signal);
      const { exitCode, stdout } = await withScratch('syft', (scratch) =>
        runTool({
          command: [syft, 'version', '--output', 'json'],
          env: { SYFT_CHECK_FOR_APP_UPDATE: 'false', TMPDIR: scratch, XDG_CACHE_HOME: scratch },
          cwd: scratch,
          home: scratch,
          timeoutMs: askMs,
          signal,
        }),
      );
      const version = exitCode === 0 ? versionOf(stdout) : undefined;
      return version === undefined ? undefined : `syft-${version}:${forms}`;
    },
    async make({ image, name, version, folder, signal }) {
      const syft = await program(signal);
      const spdx = join(folder, 'sbom.spdx.json');
      const cyclonedx = join(folder, 'sbom.cdx.json');
      const { exitCode, stderr, timedOut } = await withScratch('syft', (scratch) =>
        runTool({
          command: [
            ...([syft, 'scan', `${image.form}:${image.path}`, '--quiet'] as const),
            ...['--output', `spdx-json=${spdx}`, '--output', `${cyclonedxForm}=${cyclonedx}`],
            ...['--source-name', name, '--source-version', version],
          ],
          env: { SYFT_CHECK_FOR_APP_UPDATE: 'false', TMPDIR: scratch, XDG_CACHE_HOME: scratch },
          cwd: scratch,
          home: scratch,
          timeoutMs: callMs,
          signal,
        }),
      );
      if (exitCode !== 0) throw errored(name, timedOut ? 'syft took too long' : lastLine(stderr));
      return { spdx, cyclonedx, ...(await readHeader(spdx, name)) };
    },
    async renew({ list: { spdx, cyclonedx }, name, version }) {
      await rewrite(spdx, name, (document) => renewSpdx(document, name, version));
      await rewrite(cyclonedx, name, (document) => renewCyclonedx(document, name, version));
      return { spdx, cyclonedx, ...(await readHeader(spdx, name)) };
    },
  };
}

interface Spdx {
  readonly spdxVersion?: unknown;
  readonly creationInfo?: { readonly creators?: readonly string[] };
  readonly packages?: readonly { readonly primaryPackagePurpose?: string }[];
}

async function readHeader(
  spdx: string,
  name: string,
): Promise<{ readonly packages: number; readonly tool: { readonly name: string; readonly version: string } }> {
  let document: Spdx;
  try {
    document = JSON.parse(await readFile(spdx, 'utf8')) as Spdx;
  } catch (error) {
    throw errored(name, 'syft wrote no list that can be read', error);
  }
  if (typeof document.spdxVersion !== 'string' || !Array.isArray(document.packages)) {
    throw errored(name, 'what syft wrote is no SPDX list');
  }
  // The image itself is one of them.
  const packages = document.packages.filter(
    ({ primaryPackagePurpose }) => primaryPackagePurpose !== 'CONTAINER',
  ).length;
  const creator = document.creationInfo?.creators?.find((each) => each.startsWith('Tool: syft-'));
  return { packages, tool: { name: 'syft', version: creator?.slice('Tool: syft-'.length) ?? 'unknown' } };
}

/** Undefined of a syft that somebody has built without a version: two of those may differ. */
function versionOf(stdout: string): string | undefined {
  try {
    const { version } = JSON.parse(stdout) as { readonly version?: unknown };
    return typeof version === 'string' && /^\d+\.\d+\.\d+[\w.+-]*$/.test(version) ? version : undefined;
  } catch {
    return undefined;
  }
}

type Json = Record<string, unknown>;

async function rewrite(path: string, name: string, renewed: (document: Json) => Json | undefined): Promise<void> {
  let document: Json | undefined;
  try {
    document = renewed(JSON.parse(await readFile(path, 'utf8')) as Json);
  } catch (error) {
    throw errored(name, 'the list of before cannot be read', error);
  }
  if (document === undefined) throw errored(name, 'the list of before is of something else');
  await writeFile(path, JSON.stringify(document));
}

/** Beside the times, these are all that differs between two lists of one image (syft 1.57). */
function renewSpdx(document: Json, name: string, version: string): Json | undefined {
  const { name: of, documentNamespace: space, packages } = document;
  if (of !== name || typeof space !== 'string' || !uuid.test(space) || !Array.isArray(packages)) return undefined;
  return {
    ...document,
    documentNamespace: space.replace(uuid, randomUUID()),
    packages: (packages as readonly Json[]).map((each) =>
      each['primaryPackagePurpose'] === 'CONTAINER' ? { ...each, versionInfo: version } : each,
    ),
  };
}

function renewCyclonedx(document: Json, name: string, version: string): Json | undefined {
  const { serialNumber, metadata } = document as {
    readonly serialNumber?: unknown;
    readonly metadata?: { readonly component?: { readonly name?: unknown } };
  };
  if (metadata?.component?.name !== name || typeof serialNumber !== 'string' || !uuid.test(serialNumber))
    return undefined;
  return {
    ...document,
    serialNumber: serialNumber.replace(uuid, randomUUID()),
    metadata: { ...metadata, component: { ...metadata.component, version } },
  };
}

/** The last part of the address of a document. */
const uuid = /[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/;

function errored(name: string, why: string, cause?: unknown): ProviderError {
  return new ProviderError('ScanErrored', `what is in ${name} could not be listed: ${why}`, {
    details: { image: name },
    ...(cause === undefined ? {} : { cause }),
  });
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.slice(0, 1_000) ?? 'it gave no reason';
}
