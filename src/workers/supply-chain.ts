import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import type { SupplyChain } from '../activities/image-work.ts';
import type { Config } from '../config.ts';
import { createLocalContext } from '../local/context.ts';
import { type SupplyChainTool, ensureSupplyChainTool } from '../local/supply-chain.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import { sbomMakers } from '../providers/sboms/index.ts';
import { scanners } from '../providers/scanners/index.ts';
import { signers } from '../providers/signers/index.ts';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

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
    return await untilAborted(finding, signal);
  };
}

/** What finds out about images on this worker. No program is looked for before a project needs it. */
export function createSupplyChain(find: FindTool, blobs: BlobStore): SupplyChain {
  return {
    sboms: sbomMakers.syft.create(find('syft')),
    scanners: { 'osv-scanner': scanners['osv-scanner'](find('osv-scanner')), trivy: scanners.trivy(find('trivy')) },
    signer: signers.cosign.create(find('cosign')),
    blobs,
    version,
  };
}

/** Whoever waits may be called off; the program is built to its end for the next one. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  signal.throwIfAborted();
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(signal.reason as Error);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop);
  }
}
