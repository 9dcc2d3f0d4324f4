import { processContainment, runProcess } from '../../../src/effects/process.ts';

/** A worker with one process, there to be killed. Says how its processes are held, then hands on what they say. */
export const markVariable = 'SLIPWAY_FAULT_MARK';

const [mark, script] = process.argv.slice(2);
if (import.meta.main && mark !== undefined && script !== undefined) {
  process.stdout.write(`${(await processContainment()).kind}\n`);
  await runProcess({
    command: ['bash', '-c', script],
    env: { [markVariable]: mark },
    timeoutMs: 60_000,
    onLine: (line) => process.stdout.write(`${line}\n`),
  });
}
