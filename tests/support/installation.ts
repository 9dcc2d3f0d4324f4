import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type LocalContext, createLocalContext } from '../../src/local/context.ts';
import { down } from '../../src/local/up.ts';

/** An installation of its own, below the temporary folder and away from the ports of every other. */
export interface ScratchInstallation {
  readonly context: LocalContext;
  /** What it said while something was being done. */
  readonly said: string[];
  /** Ends what it started and removes its folder. */
  readonly remove: () => Promise<void>;
}

const ports = {
  temporal: 37233,
  'temporal-ui': 38233,
  registry: 35050,
  store: 35440,
  'application-postgres': 35540,
};

/** Its cache is the person's own, so that nothing is built again. */
export function scratchInstallation(): ScratchInstallation {
  const stateFolder = mkdtempSync(join(tmpdir(), 'slipway-local-'));
  const said: string[] = [];
  const context = createLocalContext({
    stateFolder,
    preferredPorts: ports,
    onProgress: ({ message }) => said.push(message),
  });
  return {
    context,
    said,
    remove: async () => {
      await down({ stateFolder, target: 'end' });
      rmSync(stateFolder, { recursive: true, force: true });
    },
  };
}
