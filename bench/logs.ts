import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createGitOrigin } from '../tests/support/git-origin.ts';
import { until } from '../tests/support/until.ts';
import { expectRight, type Bench } from './bench.ts';
import { nowhere } from './forge.ts';
import { startInstallation, type Installation } from './installation.ts';
import { rssBytes } from './machine.ts';
import { projectYaml } from './projects.ts';
import { runSucceeded } from './runs.ts';
import { median, rounded } from './statistics.ts';

const project = 'bench-logs';
const secret = 'S3cr3tOfTheBench';
const lineBytes = 100;
const rounds = 3;

/** A step that says 100 MB, beside the same program writing into a file. */
export const logs: Bench = {
  summary: 'a step that prints 100 MB with secrets in it, until all of it can be read from the API',
  async run(options) {
    const lines = (options.n ?? 100) * 10_000;
    const printer = fileURLToPath(new URL('printer.mjs', import.meta.url));
    const command = [process.execPath, printer, String(lines)];
    const origin = createGitOrigin();
    options.onEnd(() => origin.remove());
    const step = `{ name: print, run: ${JSON.stringify(command)}, secrets: [BENCH_SECRET] }`;
    origin.commit({ 'slipway.yaml': `version: 1\nstages: [{ name: say, steps: [${step}] }]\n` });
    const installation = await startInstallation(options);
    const secretFile = installation.secretFile('bench-logs', secret);
    const forge = await installation.addProject(project, (webhookSecretFile) =>
      projectYaml({
        name: project,
        repositoryUrl: `file://${origin.path}`,
        webhookSecretFile,
        steps: ['executor: host', `secrets: { BENCH_SECRET: { file: "${secretFile}" } }`],
      }),
    );
    options.onEnd(() => forge.close());

    const worker = installation.system.process('worker')?.pid ?? 0;
    const scratch = join(options.stateFolder, 'scratch');
    mkdirSync(scratch, { recursive: true });
    const slipway: number[] = [];
    const bare: number[] = [];
    const growth: number[] = [];
    let last = '';
    for (let round = 0; round <= rounds; round += 1) {
      bare.push(timeBare(command, join(scratch, 'bare'), lines));
      const before = rssBytes(worker);
      let most = before;
      const watching = setInterval(() => (most = Math.max(most, rssBytes(worker))), 50);
      const push = await forge.push({ ref: 'refs/heads/main', before: nowhere, after: origin.commit({}) });
      await runSucceeded(installation, push.workflowId);
      const { number, log, startedAt, readableAt } = await readable(installation, lines);
      clearInterval(watching);
      expectRight(number > 0, 'the run has no number');
      slipway.push(readableAt - startedAt);
      growth.push(most - before);
      last = log;
    }
    const text = await installation.client.readLog(last);
    const got = text.split('\n');
    const complete = got.length === lines + 1 && got.at(-1) === '' && got[1]?.length === lineBytes - 1;
    const masked = got.filter((line) => line.startsWith('token=***')).length;
    expectRight(complete, `the log has ${got.length - 1} lines of ${lines}`);
    expectRight(!text.includes(secret), 'the log shows the secret');
    // The first round fills caches on both sides.
    const slipwayMs = median(slipway.slice(1));
    const bareMs = median(bare.slice(1));
    return {
      figures: {
        slipwayMs: rounded(slipwayMs),
        bareMs: rounded(bareMs),
        mbPerS: rounded((lines * lineBytes) / 1e6 / (slipwayMs / 1_000)),
        complete,
        redacted: masked === lines / 10,
        workerRssGrowthMb: rounded(Math.max(...growth) / 1_048_576),
      },
      ratios: { overBare: rounded(slipwayMs / bareMs) },
      notes: [
        `medians of ${rounds} rounds after one to warm up; from the start of the step until the API knows its whole log`,
      ],
    };
  },
};

function timeBare(command: readonly string[], file: string, lines: number): number {
  const out = openSync(file, 'w');
  const [program = '', ...args] = command;
  const began = performance.now();
  const { status } = spawnSync(program, args, { stdio: ['ignore', out, 'ignore'], env: { BENCH_SECRET: secret } });
  const tookMs = performance.now() - began;
  closeSync(out);
  expectRight(status === 0 && statSync(file).size === lines * lineBytes, 'the printer did not print');
  return tookMs;
}

/** Waits until the API has the whole log, and says when that was. */
async function readable(
  { client }: Pick<Installation, 'client'>,
  lines: number,
): Promise<{ readonly number: number; readonly log: string; readonly startedAt: number; readonly readableAt: number }> {
  const { items } = await client.listRuns({ project, limit: 1 });
  const number = items[0]?.number ?? 0;
  // Lines with the secret are shorter by what the mask hides.
  const expected = lines * lineBytes - (lines / 10) * (secret.length - 3);
  const found = await until(
    async () => {
      const streams = await client.listLogs({ project, number });
      return streams.find(
        ({ step, closedAt, sizeBytes }) => step === 'print' && closedAt !== null && sizeBytes >= expected,
      );
    },
    { everyMs: 5, what: 'the whole log' },
  );
  const run = await client.readRun({ project, number });
  const step = run.stages.flatMap(({ steps }) => steps).find(({ name }) => name === 'print');
  expectRight(step !== undefined, 'the run has no step');
  // Whichever is later: the log was closed, or we could have asked for it.
  const readableAt = new Date(found.closedAt ?? '').getTime();
  return { number, log: found.log, startedAt: new Date(step.startedAt).getTime(), readableAt };
}
