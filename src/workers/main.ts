import { createLogger, readConfig } from '../config.ts';
import { failureType } from '../domain/failures.ts';
import { lastWords } from '../domain/last-words.ts';
import { startWorker, verifyWorker } from './runtime.ts';

/** `worker [--verify]`: polls until it is told to stop; with `--verify` only looks whether this build can go on with what is open. Ends with 1 where it cannot. */
async function main(): Promise<number> {
  const config = readConfig();
  const logger = createLogger(config, 'worker');
  if (process.argv.includes('--verify')) {
    const { accepted, text } = await verifyWorker(config, logger);
    process.stdout.write(`${text}\n`);
    return accepted ? 0 : 1;
  }
  const worker = await startWorker(config, logger);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      logger.info({ signal }, 'stopping: what runs ends or is begun again elsewhere');
      worker.stop();
    });
  }
  logger.info({ capabilities: config.worker.capabilities, pid: process.pid }, 'worker polls');
  await worker.stopped;
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(lastWords(error));
  process.exitCode = failureType(error) === 'BuildRefused' ? 1 : 3;
}
