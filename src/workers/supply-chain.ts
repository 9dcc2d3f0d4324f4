import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import type { SupplyChain } from '../activities/image-work.ts';
import type { Config } from '../config.ts';
import { ProviderError } from '../domain/failures.ts';
import { createLocalContext, programsOf } from '../local/context.ts';
import { type SupplyChainTool, ensureSupplyChainTool, findSupplyChainTool } from '../local/supply-chain.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import { sbomMakers } from '../providers/sboms/index.ts';
import { scanners } from '../providers/scanners/index.ts';
import { signers } from '../providers/signers/index.ts';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** A short activity has 8 s (workflows/proxies/limits.ts). */
const patienceMs = 4_000;

/** Asks for the path of a program, which may have to be built first. */
export type FindTool = (tool: SupplyChainTool) => (signal?: AbortSignal) => Promise<string>;

/** Each program is looked for once, and built once, however many ask; a failure is asked again. */
export function createToolFinder(config: Config, logger: Logger): FindTool {
  const known = new Map<SupplyChainTool, Promise<string>>();
  return (tool) => async (signal) => {
    let finding = known.get(tool);
    if (finding === undefined) {
      const context = createLocalContext({
        stateFolder: config.stateFolder,
        env: config.environment,
        onProgress: ({ component, message }) => logger.info({ component }, message),
      });
      finding = ensureSupplyChainTool(context, tool);
      known.set(tool, finding);
      finding.catch(() => known.delete(tool));
    }
    return await untilCalledOff(tool, finding, signal);
  };
}

/** Whether a program is there already. */
export type HasTool = (tool: SupplyChainTool) => boolean;

/** Looks at each question, for a program may be installed at any time; that is a dozen names of files. */
export function createToolLook(config: Config): HasTool {
  const programs = programsOf(config.environment);
  return (tool) => findSupplyChainTool(programs, tool) !== undefined;
}

/** What finds out about images on this worker. No program is looked for before a project needs it. */
export function createSupplyChain(find: FindTool, has: HasTool, blobs: BlobStore): SupplyChain {
  return {
    sboms: sbomMakers.syft.create(find('syft'), () => has('syft')),
    scanners: { 'osv-scanner': scanners['osv-scanner'](find('osv-scanner')), trivy: scanners.trivy(find('trivy')) },
    signer: signers.cosign.create(find('cosign')),
    blobs,
    version,
  };
}

/**
 * Whoever waits may be called off; the program is built to its end for the next one. A short activity, which has no signal, does not wait for a
 * compiler: it says what goes on instead of running into its limit.
 */
async function untilCalledOff(
  tool: SupplyChainTool,
  work: Promise<string>,
  signal: AbortSignal | undefined,
): Promise<string> {
  signal?.throwIfAborted();
  const patience = signal ?? AbortSignal.timeout(patienceMs);
  let stop: (() => void) | undefined;
  const calledOff = new Promise<never>((_resolve, reject) => {
    stop = () => {
      const building = new ProviderError(
        'ToolMissing',
        `${tool} is being built on this worker, which takes minutes; try again then.`,
      );
      reject(signal === undefined ? building : (signal.reason as Error));
    };
    patience.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, calledOff]);
  } finally {
    if (stop !== undefined) patience.removeEventListener('abort', stop);
  }
}
