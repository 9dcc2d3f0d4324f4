import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createGitOrigin, type GitOrigin } from '../tests/support/git-origin.ts';
import type { Bench } from './bench.ts';
import { expectRight } from './bench.ts';
import { type Forge, nowhere, preciseNow } from './forge.ts';
import { type Installation, startInstallation } from './installation.ts';
import { projectYaml } from './projects.ts';
import { activitiesOnPath, runSucceeded } from './runs.ts';
import { median, rounded } from './statistics.ts';

const count = 20;
const rounds = 11;
const commands = Array.from({ length: count }, (_, index) => `echo step ${index + 1} && test -f README`);

/** What Slipway itself costs: one stage of trivial steps. */
export const steps: Bench = {
  summary: `one stage of ${count} trivial shell steps, from the signed webhook to succeeded`,
  async run(options) {
    const origin = createGitOrigin();
    options.onEnd(() => origin.remove());
    origin.commit({ 'slipway.yaml': definition(), README: 'x\n', '.github/workflows/steps.yml': workflowOfAct() });
    const installation = await startInstallation(options, ['toolsImage']);
    const host = await addProject(installation, 'bench-steps-host', origin, 'executor: host');
    const image = installation.components.toolsImage.image;
    const contained = await addProject(installation, 'bench-steps-container', origin, `image: "${image}"`);
    options.onEnd(() => Promise.all([host.close(), contained.close()]).then(() => undefined));

    const measured = { slipway: [] as number[], container: [] as number[], bash: [] as number[], act: [] as number[] };
    let path = 0;
    // The first round warms what a running installation has warm: the workflow in the cache, the layers, the file system.
    for (let round = 0; round <= (options.n ?? rounds); round += 1) {
      const keep = round > 0;
      const slipway = await timeRun(installation, host, origin);
      const container = await timeRun(installation, contained, origin);
      const bash = timeBash(origin);
      const act = timeAct(origin);
      if (keep) {
        measured.slipway.push(slipway.ms);
        measured.container.push(container.ms);
        measured.bash.push(bash);
        if (act !== undefined) measured.act.push(act);
      }
      if (round === 1) path = await activitiesOnPath(installation, slipway.workflowId);
    }
    const slipwayMs = median(measured.slipway);
    const bashMs = median(measured.bash);
    return {
      figures: {
        slipwayMs: rounded(slipwayMs),
        containerMs: rounded(median(measured.container)),
        bashMs: rounded(bashMs),
        actMs: measured.act.length === 0 ? null : rounded(median(measured.act)),
        overBashMs: rounded(slipwayMs - bashMs),
        activitiesOnPath: path,
      },
      ratios: { overBash: rounded(slipwayMs / bashMs) },
      notes: [
        `medians of ${measured.slipway.length} interleaved rounds after one to warm up; Temporal keeps its state in a file`,
        ...(measured.act.length === 0 ? ['act is not on PATH'] : []),
        'Buildbot is not measured here',
      ],
    };
  },
};

function definition(): string {
  const lines = commands.map((command, index) => `      - { name: step-${index + 1}, shell: "${command}" }`);
  return ['version: 1', 'stages:', '  - name: trivial', '    steps:', ...lines, ''].join('\n');
}

function workflowOfAct(): string {
  const lines = commands.map((command) => `      - run: ${command}`);
  return ['on: push', 'jobs:', '  trivial:', '    runs-on: ubuntu-latest', '    steps:', ...lines, ''].join('\n');
}

async function addProject(installation: Installation, name: string, origin: GitOrigin, where: string): Promise<Forge> {
  return installation.addProject(name, (webhookSecretFile) =>
    projectYaml({ name, repositoryUrl: `file://${origin.path}`, webhookSecretFile, steps: [where] }),
  );
}

async function timeRun(
  installation: Installation,
  forge: Forge,
  origin: GitOrigin,
): Promise<{ readonly ms: number; readonly workflowId: string }> {
  const after = origin.commit({}, `a change for ${forge.project}`);
  const { status, sentMs, workflowId } = await forge.push({ ref: 'refs/heads/main', before: nowhere, after });
  expectRight(status === 202, `a signed push was answered with ${status}`);
  await runSucceeded(installation, workflowId);
  return { ms: preciseNow() - sentMs, workflowId };
}

/** The same commands, each in a shell of its own as every system runs its steps, one after the other. */
function timeBash(origin: GitOrigin): number {
  const script = ['set -e', ...commands.map((command) => `sh -e -c '${command}'`)].join('\n');
  const began = performance.now();
  const { status } = spawnSync('bash', ['-c', script], { cwd: origin.path, stdio: ['ignore', 'pipe', 'pipe'] });
  expectRight(status === 0, 'the same commands failed in bash');
  return performance.now() - began;
}

/** Runs the steps by act in its host mode, where it is installed. */
function timeAct(origin: GitOrigin): number | undefined {
  const home = join(origin.path, '.git', 'act');
  mkdirSync(join(home, '.config', 'act'), { recursive: true });
  writeFileSync(join(home, '.config', 'act', 'actrc'), '-P ubuntu-latest=-self-hosted\n');
  const began = performance.now();
  const { status, error } = spawnSync('act', ['push', '--pull=false'], {
    cwd: origin.path,
    env: { PATH: process.env['PATH'] ?? '', HOME: home },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (error !== undefined || status !== 0) return undefined;
  return performance.now() - began;
}
