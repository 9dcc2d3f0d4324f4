import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ProviderError } from '../../domain/failures.ts';
import { runTool } from '../../effects/process.ts';
import { withScratch } from '../../effects/scratch-folder.ts';
import type { SbomMaker } from './port.ts';

/** A large image on a small machine. Judgement; the time limit of all images holds besides. */
const callMs = 600_000;

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
    async make({ image, name, version, folder, signal }) {
      const syft = await program(signal);
      const spdx = join(folder, 'sbom.spdx.json');
      const cyclonedx = join(folder, 'sbom.cdx.json');
      const { exitCode, stderr, timedOut } = await withScratch('syft', (scratch) =>
        runTool({
          command: [
            ...([syft, 'scan', `${image.form}:${image.path}`, '--quiet'] as const),
            // Of version 1.6, for osv-scanner 2.2 calls the 1.7 that syft would write an invalid one.
            ...['--output', `spdx-json=${spdx}`, '--output', `cyclonedx-json@1.6=${cyclonedx}`],
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

function errored(name: string, why: string, cause?: unknown): ProviderError {
  return new ProviderError('ScanErrored', `what is in ${name} could not be listed: ${why}`, {
    details: { image: name },
    ...(cause === undefined ? {} : { cause }),
  });
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.slice(0, 1_000) ?? 'it gave no reason';
}
