import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createGitOrigin } from '../tests/support/git-origin.ts';
import { until } from '../tests/support/until.ts';
import { expectRight, type Bench, type BenchOptions } from './bench.ts';
import { nowhere } from './forge.ts';
import { startInstallation, type Installation } from './installation.ts';
import { rssBytes } from './machine.ts';
import { projectYaml } from './projects.ts';
import { runSucceeded } from './runs.ts';
import { median, rounded } from './statistics.ts';

const secret = 'S3cr3tOfTheBench';
const lineBytes = 100;
const rounds = 3;
/** Less would be work for what is measured. */
const askedEveryMs = 10;

/** A step that says 100 MB, on the worker's machine and in a container, beside the same program writing into a file. */
export const logs: Bench = {
  summary: 'a step that prints 100 MB with secrets in it, until all of it can be read from the API',
  async run(options) {
    const lines = (options.n ?? 100) * 10_000;
    const installation = await startInstallation(options, ['nodeImage']);
    const printer = readFileSync(new URL('printer.mjs', import.meta.url), 'utf8');
    const scratch = join(options.stateFolder, 'scratch');
    mkdirSync(scratch, { recursive: true });
    const program = join(scratch, 'printer.mjs');
    writeFileSync(program, printer);
    const { image } = installation.components.nodeImage;
    const bare: number[] = [];
    const host = await openPlace(options, installation, printer, 'executor: host', [process.execPath, '.', lines]);
    const container = await openPlace(options, installation, printer, `image: "${image}"`, ['node', '.', lines]);
    for (let round = 0; round <= rounds; round += 1) {
      bare.push(timeBare([process.execPath, program, String(lines)], join(scratch, 'bare'), lines));
      await host.print();
      await container.print();
    }
    const complete = [await host.isRight(), await container.isRight()].every(Boolean);
    // The first round fills caches on both sides.
    const bareMs = median(bare.slice(1));
    const slipwayMs = median(host.tookMs.slice(1));
    const containerMs = median(container.tookMs.slice(1));
    const megabytes = (lines * lineBytes) / 1e6;
    const grown = [...host.grewBytes, ...container.grewBytes];
    return {
      figures: {
        slipwayMs: rounded(slipwayMs),
        containerMs: rounded(containerMs),
        bareMs: rounded(bareMs),
        mbPerS: rounded(megabytes / (slipwayMs / 1_000)),
        containerMbPerS: rounded(megabytes / (containerMs / 1_000)),
        complete,
        workerRssGrowthMb: rounded(Math.max(...grown) / 1_048_576),
      },
      ratios: { overBare: rounded(slipwayMs / bareMs), containerOverBare: rounded(containerMs / bareMs) },
      notes: [
        `medians of ${rounds} rounds after one to warm up; from the start of the step until the API, asked every ${askedEveryMs} ms, said that it has the whole log`,
      ],
    };
  },
};

interface Place {
  /** Runs the step once. */
  print(): Promise<void>;
  /** Whether the API gives all of the last log, and the secret nowhere. */
  isRight(): Promise<boolean>;
  readonly tookMs: readonly number[];
  readonly grewBytes: readonly number[];
}

/** A project whose only step prints. */
async function openPlace(
  options: BenchOptions,
  installation: Installation,
  printer: string,
  setting: string,
  [node, folder, lines]: readonly [node: string, folder: string, lines: number],
): Promise<Place> {
  const project = setting.startsWith('executor') ? 'bench-logs' : 'bench-logs-container';
  const origin = createGitOrigin();
  options.onEnd(() => origin.remove());
  const command = [node, `${folder}/printer.mjs`, String(lines)];
  const step = `{ name: print, run: ${JSON.stringify(command)}, secrets: [BENCH_SECRET] }`;
  // Steps of a stage share their container, whose start says nothing of logs.
  const first = '{ name: first, run: ["true"] }';
  const definition = `version: 1\nstages: [{ name: say, steps: [${first}, ${step}] }]\n`;
  const secretFile = installation.secretFile(project, secret);
  const forge = await installation.addProject(project, (webhookSecretFile) =>
    projectYaml({
      name: project,
      repositoryUrl: `file://${origin.path}`,
      webhookSecretFile,
      steps: [setting, `secrets: { BENCH_SECRET: { file: "${secretFile}" } }`],
    }),
  );
  options.onEnd(() => forge.close());
  const worker = installation.system.process('worker')?.pid ?? 0;
  const tookMs: number[] = [];
  const grewBytes: number[] = [];
  let number = 0;
  let last = '';
  return {
    tookMs,
    grewBytes,
    async print() {
      const before = rssBytes(worker);
      let most = before;
      const watching = setInterval(() => (most = Math.max(most, rssBytes(worker))), 50);
      const after = origin.commit({ 'slipway.yaml': definition, 'printer.mjs': printer });
      const push = await forge.push({ ref: 'refs/heads/main', before: nowhere, after });
      number += 1;
      const [found] = await Promise.all([
        readable(installation, { project, number }, lines),
        runSucceeded(installation, push.workflowId),
      ]);
      clearInterval(watching);
      tookMs.push(found.readableAt - (await startOf(installation, { project, number })));
      grewBytes.push(most - before);
      last = found.log;
    },
    async isRight() {
      const text = await installation.client.readLog(last);
      const got = text.split('\n');
      const said = got.length - 1;
      const complete = said === lines && got.at(-1) === '' && got[1]?.length === lineBytes - 1;
      expectRight(complete, `the log of ${project} has ${said} lines of ${lines}`);
      expectRight(!text.includes(secret), `the log of ${project} shows the secret`);
      const masked = got.filter((line) => line.startsWith('token=***')).length;
      expectRight(masked === lines / 10, `${masked} lines of ${lines / 10} are masked`);
      return true;
    },
  };
}

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

interface RunNumber {
  readonly project: string;
  readonly number: number;
}

/** Asks until the API has the whole log, from before the run is there, and says when that was: as whoever asks knows it, and not as the worker says. */
async function readable(
  { client }: Pick<Installation, 'client'>,
  run: RunNumber,
  lines: number,
): Promise<{ readonly log: string; readonly readableAt: number }> {
  // Lines with the secret are shorter by what the mask hides.
  const expected = lines * lineBytes - (lines / 10) * (secret.length - 3);
  const { log } = await until(
    async () => {
      const streams = await client.listLogs(run);
      return streams.find(
        ({ step, closedAt, sizeBytes }) => step === 'print' && closedAt !== null && sizeBytes >= expected,
      );
    },
    { everyMs: askedEveryMs, what: 'the whole log' },
  );
  return { log, readableAt: Date.now() };
}

async function startOf({ client }: Pick<Installation, 'client'>, number: RunNumber): Promise<number> {
  const run = await client.readRun(number);
  const step = run.stages.flatMap(({ steps }) => steps).find(({ name }) => name === 'print');
  expectRight(step !== undefined, 'the run has no step');
  return new Date(step.startedAt).getTime();
}
