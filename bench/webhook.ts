import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createGitOrigin } from '../tests/support/git-origin.ts';
import { expectRight, type Bench, type BenchOptions } from './bench.ts';
import { makeCommits } from './commits.ts';
import { nowhere, type Acknowledged, type Forge } from './forge.ts';
import { startInstallation, type Installation } from './installation.ts';
import { projectYaml } from './projects.ts';
import { runSucceeded } from './runs.ts';
import { percentile, rounded } from './statistics.ts';

const project = 'bench-webhook';
const connections = 50;
/** All of a burst must have been run by then, ms for each of them. */
const patiencePerRunMs = 2_000;

/** From a signed push to the first process of its first step; and a burst of pushes. */
export const webhook: Bench = {
  summary: 'signed pushes one after the other, to the first process of the first step; and a burst over 50 connections',
  async run(options) {
    const count = options.n ?? 1_000;
    const origin = createGitOrigin();
    options.onEnd(() => origin.remove());
    origin.commit({ 'slipway.yaml': definition, README: 'x\n' });
    const installation = await startInstallation(options);
    const out = join(options.stateFolder, 'scratch', 'started');
    mkdirSync(out, { recursive: true });
    const forge = await installation.addProject(project, (webhookSecretFile) =>
      projectYaml({
        name: project,
        repositoryUrl: `file://${origin.path}`,
        webhookSecretFile,
        steps: ['executor: host', `env: { BENCH_OUT: "${out}" }`],
      }),
    );
    options.onEnd(() => forge.close());
    const alone = await oneByOne(options, installation, forge, makeCommits(origin, 'main', count + 1), out);
    const burst = await allAtOnce(
      options,
      installation,
      `file://${origin.path}`,
      makeCommits(origin, 'burst', count),
      out,
    );
    return {
      figures: {
        startP50Ms: rounded(percentile(alone.starts, 0.5)),
        startP99Ms: rounded(percentile(alone.starts, 0.99)),
        ackAloneP99Ms: rounded(percentile(alone.acks, 0.99)),
        ackP99Ms: rounded(percentile(burst.acks, 0.99)),
        ackP50Ms: rounded(percentile(burst.acks, 0.5)),
        deliveries: count,
        accepted: burst.accepted,
        runs: burst.runs,
        lost: burst.lost,
        burstMs: rounded(burst.totalMs),
      },
      notes: [
        'startP50Ms, startP99Ms, ackAloneP99Ms: one after the other; checkout included; the step itself says when it began',
        `ackP50Ms, ackP99Ms: ${count} at once over ${connections} connections; burstMs until the last of their runs had ended`,
      ],
    };
  },
};

const definition = `version: 1
stages:
  - name: first
    steps:
      - { name: began, shell: 'date +%s%N > "$BENCH_OUT/$SLIPWAY_COMMIT"' }
`;

async function oneByOne(
  { say }: BenchOptions,
  installation: Installation,
  forge: Forge,
  commits: readonly string[],
  out: string,
): Promise<{ readonly starts: readonly number[]; readonly acks: readonly number[] }> {
  const starts: number[] = [];
  const acks: number[] = [];
  let before = nowhere;
  for (const [index, after] of commits.entries()) {
    const { status, sentMs, durationMs, workflowId } = await forge.push({ ref: 'refs/heads/main', before, after });
    expectRight(status === 202, `push ${index} was answered with ${status}`);
    await runSucceeded(installation, workflowId);
    before = after;
    // The first one makes the mirror and warms the workflow's code.
    if (index === 0) continue;
    acks.push(durationMs);
    starts.push(Number(readFileSync(join(out, after), 'utf8')) / 1e6 - sentMs);
    if (index % 100 === 0) say(`${index} pushes, start p50 ${rounded(percentile(starts, 0.5))} ms`);
  }
  return { starts, acks };
}

interface Burst {
  readonly acks: readonly number[];
  readonly accepted: number;
  readonly runs: number;
  readonly lost: number;
  readonly totalMs: number;
}

async function allAtOnce(
  { say, onEnd }: BenchOptions,
  installation: Installation,
  repositoryUrl: string,
  commits: readonly string[],
  out: string,
): Promise<Burst> {
  const name = 'bench-webhook-burst';
  const forge = await installation.addProject(
    name,
    (webhookSecretFile) =>
      projectYaml({
        name,
        repositoryUrl,
        webhookSecretFile,
        steps: ['executor: host', `env: { BENCH_OUT: "${out}" }`],
      }),
    connections,
  );
  onEnd(() => forge.close());
  const began = performance.now();
  const answers: Acknowledged[] = [];
  const waiting = commits.map((after, index) => ({ ref: `refs/heads/burst-${index}`, before: nowhere, after }));
  async function deliver(): Promise<void> {
    for (let push = waiting.shift(); push !== undefined; push = waiting.shift()) answers.push(await forge.push(push));
  }
  await Promise.all(Array.from({ length: connections }, deliver));
  say(`${answers.length} deliveries answered after ${Math.round(performance.now() - began)} ms`);

  const accepted = answers.filter(({ status }) => status === 202);
  const query = `WorkflowType = 'runPipeline' AND SlipwayProject = '${name}'`;
  const deadline = performance.now() + commits.length * patiencePerRunMs;
  let open = commits.length;
  while (open > 0 && performance.now() < deadline) {
    await delay(500);
    const [all, running] = await Promise.all(
      [query, `${query} AND ExecutionStatus = 'Running'`].map(
        async (each) => (await installation.temporal.workflow.count(each)).count,
      ),
    );
    open = Math.max(0, accepted.length - ((all ?? 0) - (running ?? 0)));
  }
  const totalMs = performance.now() - began;
  // Told by the store, where each accepted push is a row, and by Temporal, where each is a workflow: both must have every one, once.
  let lost = 0;
  for (const { workflowId } of accepted) {
    try {
      await runSucceeded(installation, workflowId);
    } catch (error) {
      lost += 1;
      say(error instanceof Error ? error.message : String(error));
    }
  }
  const { count: runs } = await installation.temporal.workflow.count(query);
  expectRight(runs <= accepted.length, `${accepted.length} pushes made ${runs} runs`);
  return { acks: answers.map(({ durationMs }) => durationMs), accepted: accepted.length, runs, lost, totalMs };
}
