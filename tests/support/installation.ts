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

/** A different row of ports for each process, since two test runs may share the machine. */
const row = (process.pid % 40) * 40;
const ports = {
  temporal: 20_000 + row,
  'temporal-ui': 22_000 + row,
  registry: 24_000 + row,
  store: 28_000 + row,
  'application-postgres': 30_000 + row,
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
