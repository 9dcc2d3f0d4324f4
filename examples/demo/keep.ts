import { type ChildProcess, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Stage } from './stage.ts';
import { project } from './story.ts';

const bin = fileURLToPath(new URL('../../bin', import.meta.url));
const cli = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
/** As long as `slipway up` itself waits for its processes, ms. */
const readyTimeoutMs = 60_000;

/**
 * Hands the installation over to `slipway up`, which goes on when this process ends.
 *
 * @returns where everything is, and how it is ended.
 * @throws Error - it ended, or did not answer within a minute; its log is named.
 */
export async function handOver(stage: Stage): Promise<string> {
  const { url } = stage.system;
  await stage.system.stop();
  const logFile = join(stage.stateFolder, 'log/up.log');
  const log = openSync(logFile, 'a');
  const keeper = spawn(process.execPath, [cli, 'up', '--state', stage.stateFolder, '--port', new URL(url).port], {
    detached: true,
    stdio: ['ignore', log, log],
  });
  keeper.unref();
  await untilReady(url, keeper, logFile);
  const tokenFile = join(stage.stateFolder, 'secrets/admin-token');
  return [
    'Everything goes on running, until it is ended or the next demo begins:',
    `  ${stage.scene.addresses.staging}     staging`,
    `  ${stage.scene.addresses.production}     production`,
    '  in a shell, for this and whatever else a page says to type:',
    `    export PATH="${bin}:$PATH" SLIPWAY_URL=${url} SLIPWAY_TOKEN_FILE=${tokenFile}`,
    '    slipway status',
    `    slipway down --state ${stage.stateFolder} --everything     ends it`,
    ...(stage.components.docker.how === 'started'
      ? []
      : [`  docker rm -f $(docker ps -aq --filter label=slipway.project=${project})     removes the two releases too`]),
  ].join('\n');
}

async function untilReady(url: string, keeper: ChildProcess, logFile: string): Promise<void> {
  const deadline = Date.now() + readyTimeoutMs;
  while (Date.now() < deadline) {
    if (keeper.exitCode !== null) {
      throw new Error(`slipway up ended with exit code ${String(keeper.exitCode)}; its log is ${logFile}`);
    }
    const ready = await fetch(`${url}/ready`, { signal: AbortSignal.timeout(2_000) }).then(
      ({ ok }) => ok,
      () => false,
    );
    if (ready) return;
    await delay(100);
  }
  throw new Error(
    `slipway up did not answer at ${url} within ${String(readyTimeoutMs / 1_000)} s; its log is ${logFile}`,
  );
}
