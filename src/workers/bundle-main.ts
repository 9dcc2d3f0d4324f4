import { ensureWorkflowBundle } from './bundle.ts';

/** `node src/workers/bundle-main.ts FOLDER`: makes the bundle in a process of its own and prints its path. */
const folder = process.argv[2];
if (folder === undefined) {
  process.stderr.write('Usage: bundle-main FOLDER, the folder for workflow bundles.\n');
  process.exitCode = 2;
} else {
  process.stdout.write(`${await ensureWorkflowBundle(folder)}\n`);
}
