import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pLimit from 'p-limit';
import { createGitOrigin, type GitOrigin } from '../tests/support/git-origin.ts';
import { type Bench, type BenchOptions, expectRight } from './bench.ts';
import { makeCommits } from './commits.ts';
import { type Forge, nowhere } from './forge.ts';
import { type Installation, startInstallation } from './installation.ts';
import { rssBytes } from './machine.ts';
import { projectYaml } from './projects.ts';
import { runEnded } from './runs.ts';
import { rounded } from './statistics.ts';

const project = 'bench-parallel';

/** How many are under way at a time, and how many runs each level makes: at least twice as many, so that its beginning and its end weigh little. */
const levels = [
  { atOnce: 1, runs: 5 },
  { atOnce: 10, runs: 40 },
  { atOnce: 50, runs: 100 },
] as const;

/**
 * What each run does, by its steps. The second waits a second as a test does that waits for a service: with nothing but work for the
 * processor, two cores would do as much with two runs as with fifty. It and the next stage read what the run has left in its files,
 * which must be its own.
 */
const steps = {
  began: 'date +%s%N > "$BENCH_OUT/$SLIPWAY_COMMIT.began"',
  waits: 'cat change > left; sleep 1; cmp change left',
  ended: 'cat left > "$BENCH_OUT/$SLIPWAY_COMMIT.change"; date +%s%N > "$BENCH_OUT/$SLIPWAY_COMMIT.ended"',
} as const;

const definition = `version: 1
stages:
  - name: work
    steps:
      - { name: began, shell: '${steps.began}' }
      - { name: waits, shell: '${steps.waits}' }
  - name: leave
    steps:
      - { name: ended, shell: '${steps.ended}' }
`;

/** Many runs at once, beside as many shells that do the same. */
export const parallel: Bench = {
  summary: '1, 10 and 50 runs at once, each two stages with a second of waiting: runs per minute, beside bare bash',
  async run(options) {
    const origin = createGitOrigin();
    options.onEnd(() => origin.remove());
    origin.commit({ 'slipway.yaml': definition, README: 'x\n' });
    const installation = await startInstallation(options);
    const out = join(options.stateFolder, 'scratch', 'parallel');
    rmSync(out, { recursive: true, force: true });
    mkdirSync(out, { recursive: true });
    const forge = await installation.addProject(
      project,
      (webhookSecretFile) =>
        projectYaml({
          name: project,
          repositoryUrl: `file://${origin.path}`,
          webhookSecretFile,
          steps: ['executor: host', `env: { BENCH_OUT: "${out}" }`],
        }),
      Math.max(...levels.map(({ atOnce }) => atOnce)),
    );
    options.onEnd(() => forge.close());
    const place: Place = { options, installation, forge, origin, out };
    // The first makes the mirror and warms the workflow's code.
    await runAll(place, { name: 'warm', atOnce: 1, runs: 1 });

    const worker = installation.system.process('worker')?.pid ?? 0;
    let mostBytes = rssBytes(worker);
    const watching = setInterval(() => (mostBytes = Math.max(mostBytes, rssBytes(worker))), 100);
    options.onEnd(() => clearInterval(watching));
    const measured = new Map<number, Measured>();
    const bare = new Map<number, number>();
    for (const { atOnce, runs } of levels) {
      const level = { atOnce, runs: options.n ?? runs };
      bare.set(atOnce, await shellAll(place, { ...level, name: `bash-${atOnce}` }));
      measured.set(atOnce, await runAll(place, { ...level, name: `runs-${atOnce}` }));
      options.say(`${atOnce} at once: ${JSON.stringify(measured.get(atOnce))}, bash ${bare.get(atOnce) ?? 0} a minute`);
    }
    clearInterval(watching);

    const problems = [...measured.values()].flatMap((level) => level.problems);
    for (const problem of problems.slice(0, 10)) options.say(problem);
    expectRight(problems.length === 0, `${problems.length} runs were not as they should be: ${problems[0] ?? ''}`);
    const figures: Record<string, number> = {};
    const ratios: Record<string, number> = {};
    for (const { atOnce } of levels) {
      const { perMinute = Number.NaN, together = 0 } = measured.get(atOnce) ?? {};
      const bashPerMinute = bare.get(atOnce) ?? Number.NaN;
      figures[`runsPerMinute${atOnce}`] = perMinute;
      figures[`bashPerMinute${atOnce}`] = bashPerMinute;
      figures[`together${atOnce}`] = together;
      ratios[`ofBash${atOnce}`] = rounded(perMinute / bashPerMinute);
    }
    return {
      figures: { ...figures, failed: problems.length, workerRssMb: rounded(mostBytes / 1_048_576) },
      ratios,
      notes: [
        'each level keeps as many runs under way as its name says: from the first signed push to the end of the last run',
        'together: how many of them were between their first and their last step in the same moment, the most',
        'bash: a clone, a checkout and the same commands, as many at once; workerRssMb counts shared pages too',
      ],
    };
  },
};

interface Place {
  readonly options: BenchOptions;
  readonly installation: Installation;
  readonly forge: Forge;
  readonly origin: GitOrigin;
  readonly out: string;
}

interface Level {
  /** Of its branch, and so of its commits. */
  readonly name: string;
  readonly atOnce: number;
  readonly runs: number;
}

interface Measured {
  readonly perMinute: number;
  readonly together: number;
  /** A line for each run that did not succeed, or did not see its own commit. */
  readonly problems: readonly string[];
}

/** Pushes, each as soon as one before it has ended. */
async function runAll({ installation, forge, origin, out }: Place, level: Level): Promise<Measured> {
  const commits = makeCommits(origin, level.name, level.runs);
  const limit = pLimit(level.atOnce);
  const problems: string[] = [];
  const began = performance.now();
  await Promise.all(
    commits.map((after, index) =>
      limit(async () => {
        const ref = `refs/heads/${level.name}-${index}`;
        const { status, workflowId } = await forge.push({ ref, before: nowhere, after });
        expectRight(status === 202, `the push of ${ref} was answered with ${status}`);
        const { outcome, reason } = await runEnded(installation, workflowId);
        if (outcome !== 'succeeded') problems.push(`${ref} ended ${outcome}: ${reason}`);
      }),
    ),
  );
  const tookMs = performance.now() - began;
  if (problems.length === 0) problems.push(...strangers(out, level, commits));
  return { perMinute: rounded((level.runs * 60_000) / tookMs), together: mostTogether(out, commits), problems };
}

/** The same by shells: what a person would have a loop do. */
async function shellAll({ options, origin, out }: Place, level: Level): Promise<number> {
  const commits = makeCommits(origin, level.name, level.runs);
  const folder = join(options.stateFolder, 'scratch', level.name);
  mkdirSync(folder, { recursive: true });
  const script = [
    'set -e',
    `git clone --quiet --no-checkout 'file://${origin.path}' "$SLIPWAY_COMMIT"`,
    'cd "$SLIPWAY_COMMIT"',
    'git checkout --quiet "$SLIPWAY_COMMIT"',
    ...Object.values(steps).map((command) => `sh -e -c '${command}'`),
    'cd .. && rm -rf "$SLIPWAY_COMMIT"',
  ].join('\n');
  const limit = pLimit(level.atOnce);
  const began = performance.now();
  await Promise.all(
    commits.map((commit) =>
      limit(() =>
        promisify(execFile)('bash', ['-c', script], {
          cwd: folder,
          env: { PATH: process.env['PATH'] ?? '', HOME: folder, BENCH_OUT: out, SLIPWAY_COMMIT: commit },
        }),
      ),
    ),
  );
  const tookMs = performance.now() - began;
  const [problem] = strangers(out, level, commits);
  expectRight(problem === undefined, `the same commands in bash: ${problem ?? ''}`);
  return rounded((level.runs * 60_000) / tookMs);
}

/** Runs that have seen something else than the files of their own commit. */
function strangers(out: string, { name }: Level, commits: readonly string[]): readonly string[] {
  return commits.flatMap((commit, index) => {
    const seen = readFileSync(join(out, `${commit}.change`), 'utf8').trim();
    return seen === `${name} ${index}` ? [] : [`${commit.slice(0, 10)} of ${name} has seen "${seen}"`];
  });
}

/** How many were between their first and their last step in the same moment, the most. */
function mostTogether(out: string, commits: readonly string[]): number {
  const read = (commit: string, what: string): bigint => {
    try {
      return BigInt(readFileSync(join(out, `${commit}.${what}`), 'utf8').trim());
    } catch {
      // It did not get there, and is a problem of its own.
      return 0n;
    }
  };
  const moves = commits
    .map((commit) => ({ from: read(commit, 'began'), to: read(commit, 'ended') }))
    .filter(({ from, to }) => from > 0n && to > from)
    .flatMap(({ from, to }) => [
      { at: from, by: 1 },
      { at: to, by: -1 },
    ])
    .sort((a, b) => (a.at < b.at ? -1 : 1));
  let now = 0;
  let most = 0;
  for (const { by } of moves) {
    now += by;
    most = Math.max(most, now);
  }
  return most;
}
