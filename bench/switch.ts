import { createConnection } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { connectDocker } from '../src/local/docker.ts';
import { createGitOrigin, type GitOrigin } from '../tests/support/git-origin.ts';
import { until } from '../tests/support/until.ts';
import { expectRight, type Bench, type BenchOptions } from './bench.ts';
import { deploymentEnded, deploymentSucceeded, turnEnded, versionAt } from './deployments.ts';
import { nowhere, preciseNow, type Forge } from './forge.ts';
import { startInstallation, type Installation } from './installation.ts';
import { startLoad, type LoadRecord } from './load.ts';
import { projectYaml } from './projects.ts';
import { runSucceeded } from './runs.ts';
import { serviceFiles, siteYaml } from './service.ts';
import { rounded } from './statistics.ts';

const project = 'bench-switch';
const environment = 'live';
const ports = { listen: 21_700, blue: 21_701, green: 21_702 };
const address = `http://127.0.0.1:${ports.listen}`;
const ratesPerS = { fresh: 260, kept: 150, post: 100, slow: 10 };
const rounds = 3;
/** For so long after a move nothing else is done under the load. */
const certainMs = 1_500;
/** A release that reports itself broken does so this long after its first user came, while its watch runs. */
const brokenAfterMs = 2_500;
const watch = '8s';

/** Forward and back under load, by people and by the watch; then everything that may happen to the router and to green. */
export const switchTraffic: Bench = {
  summary: 'forward and back under 520 requests/s; the router reloaded and killed; green killed with Slipway down',
  async run(options) {
    const origin = createGitOrigin();
    options.onEnd(() => origin.remove());
    const installation = await startInstallation(options, ['nodeImage']);
    const forge = await addProject(installation, origin);
    options.onEnd(() => forge.close());
    const scene = new Scene(options, installation, forge, origin);
    await scene.prepare();
    const blueGreen = await measure(scene, options.n ?? rounds);
    return {
      figures: { ...blueGreen, strategies: { 'blue-green': blueGreen } },
      notes: [
        'failed and wrongVersion: forward, back by a person, back by the watch, and the router reloaded',
        'rollbackToServingMs: by the word of Slipway; verdictToAnswerMs: until a request sent after the verdict was answered by the previous release',
        'failedRouterKilled: while the router itself was away; afterwards it must send nobody to the wrong release',
        `an answer is of the wrong version when its request was sent after the deployment had said that the other one serves`,
      ],
    };
  },
};

async function addProject(installation: Installation<'nodeImage'>, origin: GitOrigin): Promise<Forge> {
  return installation.addProject(project, (webhookSecretFile) =>
    projectYaml({
      name: project,
      repositoryUrl: `file://${origin.path}`,
      webhookSecretFile,
      registry: installation.components.registry.address,
      more: siteYaml({
        environment,
        listen: ports.listen,
        slots: { blue: ports.blue, green: ports.green },
        watch,
        baseImage: installation.components.nodeImage.image,
      }),
    }),
  );
}

/** How a broken release was taken back. */
interface TakenBack {
  /** By the watch's own word, ms since 1970. */
  readonly verdictMs: number;
  /** From the verdict until the previous release served, by Slipway's own word, ms. */
  readonly servingAfterMs: number;
}

/** From one instant to another all answers had to be of one version. */
interface Expectation {
  readonly version: string;
  readonly fromMs: number;
  toMs: number;
}

/** What is deployed, by whom, and when which version had to answer. */
class Scene {
  readonly options: BenchOptions;
  readonly installation: Installation<'nodeImage'>;
  readonly expectations: Expectation[] = [];
  readonly #forge: Forge;
  readonly #origin: GitOrigin;
  first = '';
  second = '';
  broken = '';

  constructor(options: BenchOptions, installation: Installation<'nodeImage'>, forge: Forge, origin: GitOrigin) {
    this.options = options;
    this.installation = installation;
    this.#forge = forge;
    this.#origin = origin;
  }

  /** Builds three releases and puts the first one live. */
  async prepare(): Promise<void> {
    this.first = await this.#build('first', serviceFiles());
    this.second = await this.#build('second', { 'src/change.js': '// second\n' });
    this.broken = await this.#build('broken', serviceFiles({ BROKEN_AFTER_MS: String(brokenAfterMs) }));
    await this.deploy(this.first);
  }

  async #build(name: string, files: Readonly<Record<string, string>>): Promise<string> {
    const after = this.#origin.commit(files, name);
    const { workflowId } = await this.#forge.push({ ref: `refs/heads/build/${name}`, before: nowhere, after });
    await runSucceeded(this.installation, workflowId);
    const { items } = await this.installation.client.listRuns({ project, limit: 1 });
    const version = items[0]?.version ?? undefined;
    expectRight(version !== undefined, `the run of ${name} has made no release`);
    this.options.say(`${name} is ${version}`);
    return version;
  }

  async deploy(version: string): Promise<void> {
    this.#nothingIsCertain();
    const ref = await this.installation.client.deploy({ project, environment }, { version });
    await deploymentSucceeded(this.installation, ref);
    this.#certain(version);
  }

  /** @returns when the person asked for it. */
  async rollBack(to: string): Promise<number> {
    this.#nothingIsCertain();
    const askedMs = preciseNow();
    const ref = await this.installation.client.rollback({ project, environment }, { reason: 'the bench', to });
    const result = await turnEnded(this.installation, ref);
    expectRight(
      ['succeeded', 'rolled-back'].includes(result.outcome),
      `the rollback to ${to} ended ${result.outcome}: ${result.reason}`,
    );
    this.#certain(to);
    return askedMs;
  }

  /** Deploys the release that reports itself broken, until it was taken back. */
  async deployBroken(previous: string): Promise<TakenBack> {
    this.#nothingIsCertain();
    const ref = await this.installation.client.deploy({ project, environment }, { version: this.broken });
    const { outcome, reason, rollback, steps } = await deploymentEnded(this.installation, ref);
    expectRight(outcome === 'rolled-back', `the broken release ended ${outcome}: ${reason}`);
    expectRight(rollback?.servingAfterMs !== undefined, 'the rollback does not say when the previous release served');
    const watched = steps.find(({ name, verdict }) => name === 'watch' && verdict === 'failed');
    expectRight(watched !== undefined, 'the broken release was not taken back by its watch');
    this.#certain(previous);
    return {
      verdictMs: Date.parse(watched.startedAt) + watched.durationMs,
      servingAfterMs: rollback.servingAfterMs,
    };
  }

  #nothingIsCertain(): void {
    const last = this.expectations.at(-1);
    if (last !== undefined) last.toMs = preciseNow();
  }

  #certain(version: string): void {
    this.expectations.push({ version, fromMs: preciseNow(), toMs: Number.POSITIVE_INFINITY });
  }
}

interface Figures {
  readonly [name: string]: number;
}

async function measure(scene: Scene, times: number): Promise<Figures> {
  const { say } = scene.options;
  const load = startLoad({ url: address, ratesPerS, maxInFlight: 1_500 });
  const askedBack: number[] = [];
  const takenBack: TakenBack[] = [];
  for (let round = 1; round <= times; round += 1) {
    // After each move a while in which only one version may answer.
    await scene.deploy(scene.second);
    await delay(certainMs);
    askedBack.push(await scene.rollBack(scene.first));
    await delay(certainMs);
    const back = await scene.deployBroken(scene.first);
    await delay(certainMs);
    takenBack.push(back);
    say(
      `round ${round} at ${new Date().toISOString()}: forward, back, and back by the watch ${back.servingAfterMs} ms after its verdict`,
    );
  }
  await scene.deploy(scene.second);
  await reloadRouter(scene);
  await delay(2_000);
  const killedMs = preciseNow();
  const records = await load.stop();
  const failures = records.filter(({ failure }) => failure !== '');
  for (const { mode, failure, sentMs } of failures.slice(0, 10))
    say(`failed: ${mode} ${failure} at ${new Date(sentMs).toISOString()}`);
  if (failures.length > 0) for (const line of await routerFailures(scene)) say(`the router says: ${line}`);

  const killing = startLoad({ url: address, ratesPerS, maxInFlight: 1_500 });
  await delay(500);
  await killRouter(scene);
  await until(() => versionAt(address), { timeoutMs: 20_000, what: 'the router to be back' });
  const backMs = preciseNow();
  await delay(3_000);
  const afterKill = await killing.stop();
  const greenKilled = await killGreenAlone(scene);

  const seconds = (killedMs - (records[0]?.sentMs ?? killedMs)) / 1_000;
  const wrong = (all: readonly LoadRecord[]): number =>
    all.filter((record) => isWrong(record, scene.expectations)).length;
  return {
    requests: records.length,
    ratePerS: rounded(records.length / seconds),
    failed: failures.length,
    wrongVersion: wrong(records) + wrong(afterKill.filter(({ sentMs }) => sentMs >= backMs)),
    rollbackToServingMs: rounded(Math.max(...takenBack.map(({ servingAfterMs }) => servingAfterMs))),
    verdictToAnswerMs: rounded(
      Math.max(...takenBack.map(({ verdictMs }) => servedAfter(records, scene.first, verdictMs) - verdictMs)),
    ),
    signalToServingMs: rounded(
      Math.max(...askedBack.map((askedMs) => servedAfter(records, scene.first, askedMs) - askedMs)),
    ),
    failedRouterKilled: afterKill.filter(({ failure }) => failure !== '').length,
    failedGreenKilled: greenKilled,
  };
}

/** When a request that was sent after an instant was first answered by a version. */
function servedAfter(records: readonly LoadRecord[], version: string, fromMs: number): number {
  const answers = records.filter((record) => record.version === version && record.sentMs >= fromMs);
  return Math.min(...answers.map(({ doneMs }) => doneMs));
}

function isWrong({ sentMs, doneMs, version, failure }: LoadRecord, expectations: readonly Expectation[]): boolean {
  if (failure !== '') return false;
  const held = expectations.find(({ fromMs, toMs }) => sentMs >= fromMs && doneMs < toMs);
  return held !== undefined && held.version !== version;
}

/** As an operator would, past Slipway. */
async function reloadRouter({ installation }: Scene): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const socket = createConnection(installation.components.router.masterSocket, () => socket.write('reload\n'));
    socket.on('error', reject);
    socket.on('close', () => resolve());
    socket.resume();
  });
}

/** The first lines of the router's log about requests that got no answer of a release: at which moment, of which server, and why. */
async function routerFailures({ installation }: Scene): Promise<string[]> {
  const docker = connectDocker(installation.components.docker.address);
  const router = docker.getContainer(installation.components.router.container);
  const log = await router.logs({ stdout: true, stderr: true, follow: false });
  return log
    .toString('utf8')
    .split('\n')
    .filter((line) => /"status":(?:-1|5\d\d)/.test(line) || /is (?:DOWN|UP)|Reloading|Loading success/i.test(line))
    .slice(0, 40);
}

/** By the machine and not by the engine, which would take it for meant. */
async function killRouter({ installation }: Scene): Promise<void> {
  const docker = connectDocker(installation.components.docker.address);
  const { State } = await docker.getContainer(installation.components.router.container).inspect();
  process.kill(State.Pid, 'SIGKILL');
}

/** The live release dies in the middle of its watch, and nobody is there to see it. @returns requests that failed. */
async function killGreenAlone(scene: Scene): Promise<number> {
  const { installation, first } = scene;
  const ref = await installation.client.deploy({ project, environment }, { version: first });
  await until(async () => (await versionAt(address)) === first, { timeoutMs: 60_000, everyMs: 10 });
  await installation.system.stop();
  const load = startLoad({ url: address, ratesPerS, maxInFlight: 1_500 });
  await delay(500);
  const docker = connectDocker(installation.components.docker.address);
  const running = await docker.listContainers({
    filters: JSON.stringify({ label: [`slipway.project=${project}`, `slipway.version=${first}`] }),
  });
  expectRight(running.length === 1, `${running.length} containers of ${first} run, of deployment ${ref.number}`);
  const { State } = await docker.getContainer(running[0]?.Id ?? '').inspect();
  process.kill(State.Pid, 'SIGKILL');
  await delay(4_000);
  const records = await load.stop();
  return records.filter(({ failure }) => failure !== '').length;
}
