import { createLogger, readConfig } from '../config.ts';
import { describeFailure } from '../domain/failures.ts';
import { replayOpen } from './runtime.ts';
import type { VerifyLimits } from './verify.ts';

/** `node src/workers/verify-main.ts BUNDLE LIMITS`: replays in a process of its own and prints its report as the last line. */
const [bundle, limits] = process.argv.slice(2);
if (bundle === undefined || limits === undefined) {
  process.stderr.write('Usage: verify-main BUNDLE LIMITS, a workflow bundle and limits as JSON.\n');
  process.exitCode = 2;
} else {
  try {
    const config = readConfig();
    const report = await replayOpen(config, createLogger(config, 'worker'), bundle, JSON.parse(limits) as VerifyLimits);
    process.stdout.write(`${JSON.stringify(report)}\n`);
  } catch (error) {
    process.stderr.write(`${describeFailure(error).message}\n`);
    process.exitCode = 3;
  }
}
