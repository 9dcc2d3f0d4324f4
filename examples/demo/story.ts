import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '../../src/cli/client.ts';
import { CliError } from '../../src/cli/exit.ts';
import { nameOf } from '../../src/cli/names.ts';
import { planPage } from '../../src/cli/pages/plan.ts';
import { duration } from '../../src/cli/time.ts';
import type { DeploymentRef } from '../../src/domain/deployment.ts';
import type { Outcome } from '../../src/domain/outcome.ts';
import type { DeploymentRecord } from '../../src/store/deployments.ts';
import type { RunRecord, RunSummary } from '../../src/store/runs.ts';
import { badRelease, badTidying, greeting, pinnedNotes, withoutTidying } from './changes.ts';
import type { Delivered, Forge } from './forge.ts';
import { type Load, startLoad } from './load.ts';
import type { Narrator } from './narrator.ts';
import type { Pushed, StoryRepository } from './repository.ts';

/** Not `hello`: somebody may have deployed the example to the same engine. */
export const project = 'hello-demo';

/** Everything the story is played with; a test brings the same. */
export interface Scene {
  readonly narrator: Narrator;
  readonly repository: StoryRepository;
  readonly forge: Forge;
  /** The author of every change, the one who approves, and the one who looks after the installation. */
  readonly people: { readonly linus: Client; readonly ada: Client; readonly operator: Client };
  readonly addresses: { readonly staging: string; readonly production: string };
  readonly database: Database;
  /** Kills the worker with SIGKILL; whoever supervises it starts another one. */
  killWorker(): Promise<{ readonly pid: number }>;
  workerPid(): number | undefined;
}

/** What the story looks up in the database server of the service. */
export interface Database {
  notes(environment: 'staging' | 'production'): Promise<{ readonly count: number; readonly damaged: number }>;
  exists(database: string): Promise<boolean>;
  /** Notes in a database that was put aside. */
  notesIn(database: string): Promise<{ readonly count: number; readonly damaged: number }>;
}

/** What the story found out on the way, beside whether everything was as it had to be. */
export interface Findings {
  readonly runs: RunRecord[];
  readonly deployments: DeploymentRecord[];
  readonly figures: { name: string; value: string }[];
}

const runTimeoutMs = 180_000;
const deploymentTimeoutMs = 240_000;

export function newFindings(): Findings {
  return { runs: [], deployments: [], figures: [] };
}

/** A push to `develop` goes to staging, and nobody is asked. Its delivery comes twice and is one run. */
export async function toStaging(scene: Scene, findings: Findings): Promise<void> {
  const { narrator } = scene;
  narrator.act('A push to develop: checked, built, pushed, on staging without approval');
  const pushed = await scene.repository.commit({ branch: 'develop', subject: 'feat: keep notes' });
  const delivered = await deliver(scene, pushed);
  const { sent, deliveryId } = delivered;
  const repeated = await scene.forge.deliver(sent.event, sent.body, { deliveryId });
  const [first, second] = [runIn(delivered), runIn(repeated)];
  narrator.check(
    'the same delivery again is answered with the same run',
    first !== undefined && second === first,
    `${repeated.status}, ${first ?? 'none'}, then ${second ?? 'none'}`,
  );
  const run = await waitForSuccess(scene, findings, pushed, Date.now());
  const same = await runsOf(scene, pushed);
  narrator.check('and it was one run', same.length === 1, `${same.length}`);
  const ref = deploymentOf(run, 'staging');
  const deployment = await waitForOutcome(scene, findings, ref);
  expectOutcome(scene, deployment, 'succeeded');
  narrator.check('nobody was asked', deployment.decisions.length === 0);
  const answer = await answerOf(scene.addresses.staging);
  narrator.check(
    `staging answers as ${deployment.version}`,
    answer.version === deployment.version,
    `“${answer.greeting}”`,
  );
}

/** The same commit on `main`: the first release of production. What was built is not built again. */
export async function firstRelease(scene: Scene, findings: Findings): Promise<void> {
  const { narrator } = scene;
  narrator.act('The same commit on main: the first release of production');
  const pushed = await scene.repository.promote('develop', 'main');
  const run = await pushAndWait(scene, findings, pushed);
  narrator.check(
    'the image of staging is taken as it is',
    run.images.every(({ reused }) => reused),
    run.images[0]?.digest.slice(0, 19) ?? '',
  );
  const ref = deploymentOf(run, 'production');
  await approveWhenAsked(scene, ref, { show: false });
  const deployment = await waitForOutcome(scene, findings, ref);
  expectOutcome(scene, deployment, 'succeeded');
}

/** A change with a migration: planned, shown, approved, switched under load without a failed request, watched. */
export async function goodRelease(scene: Scene, findings: Findings): Promise<void> {
  const { narrator } = scene;
  narrator.act('A good change on main: plan, approval, switch under load, watch');
  const pushed = await scene.repository.commit({
    branch: 'main',
    subject: 'feat: notes can be pinned',
    files: pinnedNotes,
  });
  const run = await pushAndWait(scene, findings, pushed);
  const ref = deploymentOf(run, 'production');
  const load = startLoad({ url: scene.addresses.production });
  try {
    await selfApprovalIsRefused(scene, ref);
    await approveWhenAsked(scene, ref, { show: true });
    const deployment = await waitForOutcome(scene, findings, ref, load);
    expectOutcome(scene, deployment, 'succeeded');
    const movedMs = load.firstAnswerOf(deployment.version);
    // A connection that was kept open across the switch gets one more answer of the version it was opened to.
    const wrong = movedMs === undefined ? Number.NaN : load.wrongVersion(deployment.version, movedMs + 1_000);
    const report = await load.stop();
    narrator.check(
      'not one request failed while traffic moved',
      report.failed === 0 && report.requests > 0,
      `${report.failed} of ${report.requests}; ${counts(report.versions)}${report.failed === 0 ? '' : `; ${counts(report.failures)}`}`,
    );
    narrator.check('a second after the switch only the new version answers', wrong === 0, `${wrong} others`);
    findings.figures.push({
      name: 'requests during the switch and the watch',
      value: `${report.requests}, ${report.failed} failed`,
    });
    narrator.check(
      'its migration ran',
      deployment.plan?.identity.migrations.some(({ name }) => name.startsWith('003')) === true,
    );
  } finally {
    await load.stop();
  }
}

/** A bad version: the watch notices, and traffic and data go back by themselves. */
export async function badReleaseGoesBack(scene: Scene, findings: Findings): Promise<void> {
  const { narrator, database } = scene;
  narrator.act('A bad version: noticed by the watch, taken back with its data');
  const before = await answerOf(scene.addresses.production);
  const pushed = await scene.repository.commit({ branch: 'main', subject: 'feat: tidy the notes', files: badTidying });
  const run = await pushAndWait(scene, findings, pushed);
  const ref = deploymentOf(run, 'production');
  const load = startLoad({ url: scene.addresses.production });
  try {
    await approveWhenAsked(scene, ref, { show: false });
    const deployment = await waitForOutcome(scene, findings, ref, load);
    expectOutcome(scene, deployment, 'rolled-back');
    narrator.say(deployment.reason ?? '');
    await checkRollback(scene, findings, deployment);
    await delay(500);
    const report = await load.stop();
    narrator.check(
      'the bad version did answer for a while, and did fail',
      (report.versions[deployment.version] ?? 0) > 0 && report.failed > 0,
      `${report.failed} of ${report.requests} requests failed`,
    );
    findings.figures.push({
      name: 'requests that the bad version failed',
      value: `${report.failed} of ${report.requests} (${(badRelease.errorRatio * 100).toFixed(0)} % of its share, until it was taken back)`,
    });
  } finally {
    await load.stop();
  }
  const after = await answerOf(scene.addresses.production);
  narrator.check(`${before.version} serves again`, after.version === before.version);
  const notes = await database.notes('production');
  narrator.check('no note is damaged any more', notes.damaged === 0 && notes.count > 0, `${notes.count} notes`);
  await letReleasesIn(scene, findings, ref);
}

/** The fourth push of the story is rejected. */
export async function rejected(scene: Scene, findings: Findings): Promise<void> {
  const { narrator } = scene;
  narrator.act('A push that is rejected');
  const pushed = await scene.repository.commit({
    branch: 'main',
    subject: 'feat: greet differently',
    files: { ...(withoutTidying as Record<string, string>), ...greeting('Oi') },
  });
  const run = await pushAndWait(scene, findings, pushed);
  const ref = deploymentOf(run, 'production');
  const plan = await waitForApproval(scene, ref);
  await scene.people.ada.reject(ref, { plan, comment: 'not on a Friday' });
  const deployment = await waitForOutcome(scene, findings, ref);
  expectOutcome(scene, deployment, 'rejected');
  const late = await refusalOf(() => scene.people.ada.approve(ref, { plan }));
  narrator.check('a later approval is refused', late?.ending === 'conflict', late?.message ?? 'it was taken');
}

/** The fifth: nobody decides, and meanwhile its worker is killed. */
export async function expiredWhileTheWorkerDies(scene: Scene, findings: Findings): Promise<void> {
  const { narrator } = scene;
  narrator.act('A push whose approval expires, and whose worker is killed meanwhile');
  const pushed = await scene.repository.commit({
    branch: 'main',
    subject: 'feat: greet again',
    files: greeting('Good day'),
  });
  const sent = await push(scene, pushed);
  await narrator.wait(
    'the checks to begin',
    async () => {
      const run = await findRun(scene, pushed);
      return run !== undefined && run.stages.length > 0 && run.outcome === null ? run : undefined;
    },
    { timeoutMs: 60_000 },
  );
  const killed = await scene.killWorker();
  narrator.say(`worker ${killed.pid} was killed with SIGKILL in the middle of the run`);
  const run = await waitForRun(scene, findings, pushed, sent);
  narrator.check('the run ended as if nothing had happened', run.outcome === 'succeeded', run.reason ?? '');
  const pid = scene.workerPid();
  narrator.check(
    'another worker went on with it',
    pid !== undefined && pid !== killed.pid,
    `${killed.pid}, then ${pid ?? 'none'}`,
  );
  const same = await runsOf(scene, pushed);
  narrator.check('and it was one run', same.length === 1, `${same.length}`);
  const ref = deploymentOf(run, 'production');
  const deployment = await waitForOutcome(scene, findings, ref);
  expectOutcome(scene, deployment, 'expired');
}

/** A forged delivery is refused, and a ping is answered. */
export async function deliveriesAreGuarded(scene: Scene): Promise<void> {
  const { narrator, forge } = scene;
  narrator.act('What the webhook does not fall for');
  const forged = await forge.deliver('push', '{"ref":"refs/heads/main"}', { signature: `sha256=${'0'.repeat(64)}` });
  narrator.check('a forged signature is refused', forged.status === 401, `${forged.status}`);
  const ping = await forge.deliver('ping', '{"zen":"Keep it logically awesome."}');
  narrator.check('a ping is answered', ping.status < 300, `${ping.status}`);
}

async function checkRollback(scene: Scene, findings: Findings, deployment: DeploymentRecord): Promise<void> {
  const { narrator, database } = scene;
  const rollback = deployment.result?.rollback;
  narrator.check('the rollback left a report', rollback !== undefined);
  if (rollback === undefined) return;
  const { servingAfterMs, data, incident } = rollback;
  narrator.check(
    'the previous version served again soon after the verdict',
    servingAfterMs !== undefined && servingAfterMs < 5_000,
    servingAfterMs === undefined ? 'not measured' : duration(servingAfterMs),
  );
  findings.figures.push(
    {
      name: 'from the verdict to the previous version serving',
      value: servingAfterMs === undefined ? 'not measured' : duration(servingAfterMs),
    },
    { name: 'the whole rollback, verified', value: duration(rollback.totalMs) },
  );
  narrator.check(
    'the database was swapped back',
    data?.action === 'swapped',
    data?.detail ?? 'nothing is said of the data',
  );
  if (data?.damagedDatabase !== undefined) {
    const kept = (await database.exists(data.damagedDatabase))
      ? await database.notesIn(data.damagedDatabase)
      : undefined;
    narrator.check(
      'the damaged database is kept beside it',
      (kept?.damaged ?? 0) > 0,
      `${data.damagedDatabase}: ${kept?.damaged ?? 0} of ${kept?.count ?? 0} notes damaged`,
    );
  } else narrator.check('the damaged database is kept beside it', false);
  const writes = data?.laterWrites;
  narrator.check(
    'writes made after the backup are counted and kept',
    writes?.blob !== undefined && writes.inserted > 0,
    writes === undefined
      ? 'none are told of'
      : `${writes.inserted} inserted, ${writes.updated} updated, ${writes.deleted} deleted`,
  );
  narrator.check('an incident is open', incident !== undefined, incident ?? 'none');
}

/** After an incident a person says what is live before anything else goes in. */
async function letReleasesIn(scene: Scene, findings: Findings, ref: DeploymentRef): Promise<void> {
  const view = await scene.people.operator.readEnvironment(ref);
  if (view.hold === null) return;
  scene.narrator.say(`${ref.environment} is held: ${view.hold.reason}`);
  await scene.people.operator.unlock(ref, {
    reason: 'looked at it: the old version serves',
    stateIs: view.live?.version ?? 'none',
  });
  scene.narrator.say(`unlocked with ${view.live?.version ?? 'none'} as what is live`);
  findings.figures.push({ name: 'the environment was held after the rollback, until', value: 'a person unlocked it' });
}

async function selfApprovalIsRefused(scene: Scene, ref: DeploymentRef): Promise<void> {
  const plan = await waitForApproval(scene, ref);
  const refusal = await refusalOf(() => scene.people.linus.approve(ref, { plan }));
  scene.narrator.check('the author cannot approve it', refusal !== undefined, refusal?.message ?? 'it was taken');
}

async function refusalOf(work: () => Promise<unknown>): Promise<CliError | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
}

async function approveWhenAsked(scene: Scene, ref: DeploymentRef, { show }: { readonly show: boolean }): Promise<void> {
  const { narrator, people } = scene;
  const hash = await waitForApproval(scene, ref);
  const { plan } = await people.ada.readDeployment(ref);
  if (show && plan !== null) narrator.show(planPage(plan, narrator.paint));
  await people.ada.approve(ref, { plan: hash, comment: 'looks right' });
  narrator.say(`ada approved plan ${hash.slice(0, 8)} of ${nameOf(ref)} through the API`);
}

async function waitForApproval(scene: Scene, ref: DeploymentRef): Promise<string> {
  let phase = '';
  return await scene.narrator.wait(
    `${nameOf(ref)} to wait for approval`,
    async () => {
      const deployment = await scene.people.operator.readDeployment(ref);
      phase = deployment.outcome ?? deployment.phase;
      if (deployment.outcome !== null) throw new Error(`it ended ${deployment.outcome}: ${deployment.reason ?? ''}`);
      return deployment.phase === 'awaiting-approval' ? deployment.plan?.hash : undefined;
    },
    { timeoutMs: 60_000, status: () => phase },
  );
}

async function push(scene: Scene, pushed: Pushed): Promise<number> {
  await deliver(scene, pushed);
  return Date.now();
}

async function deliver(scene: Scene, pushed: Pushed): Promise<Delivered> {
  const { narrator, forge } = scene;
  const delivered = await forge.push(pushed);
  const branch = pushed.ref.replace('refs/heads/', '');
  narrator.say(
    `${pushed.author} pushes ${pushed.after.slice(0, 8)} “${pushed.subject}” to ${branch}: ${delivered.status} after ${duration(delivered.durationMs)}`,
  );
  narrator.check('the webhook is accepted', delivered.status === 202, `${delivered.status}`);
  return delivered;
}

/** Id of the run that an answer to a delivery names. */
function runIn({ body }: Delivered): string | undefined {
  return (body as { readonly run?: { readonly id?: string } } | undefined)?.run?.id;
}

async function pushAndWait(scene: Scene, findings: Findings, pushed: Pushed): Promise<RunRecord> {
  return await waitForSuccess(scene, findings, pushed, await push(scene, pushed));
}

async function waitForSuccess(scene: Scene, findings: Findings, pushed: Pushed, sentMs: number): Promise<RunRecord> {
  const run = await waitForRun(scene, findings, pushed, sentMs);
  scene.narrator.check(`run ${run.project}#${run.number} succeeded`, run.outcome === 'succeeded', run.reason ?? '');
  if (run.outcome !== 'succeeded')
    throw new Error(
      `${run.project}#${run.number} ended ${run.outcome ?? 'nowhere'}: ${run.reason ?? 'no reason given'}`,
    );
  return run;
}

async function runsOf(scene: Scene, pushed: Pushed): Promise<readonly RunSummary[]> {
  const { items } = await scene.people.operator.listRuns({ project, limit: 50 });
  return items.filter(({ commit, ref }) => commit === pushed.after && ref === pushed.ref);
}

async function findRun(scene: Scene, pushed: Pushed): Promise<RunRecord | undefined> {
  const [found] = await runsOf(scene, pushed);
  return found === undefined ? undefined : await scene.people.operator.readRun(found);
}

async function waitForRun(scene: Scene, findings: Findings, pushed: Pushed, sentMs: number): Promise<RunRecord> {
  let status = 'accepted';
  const run = await scene.narrator.wait(
    `run of ${pushed.after.slice(0, 8)}`,
    async () => {
      const found = await findRun(scene, pushed);
      if (found === undefined) return undefined;
      const stage = found.stages.findLast(({ verdict }) => verdict === null);
      status = stage === undefined ? found.phase : `${found.phase}, ${stage.name}`;
      return found.outcome === null ? undefined : found;
    },
    { timeoutMs: runTimeoutMs, status: () => status },
  );
  findings.runs.push(run);
  scene.narrator.say(
    `${run.project}#${run.number} is ${run.version ?? 'without a version'}, ${run.outcome ?? ''} ${duration(Date.now() - sentMs)} after the push`,
  );
  return run;
}

async function waitForOutcome(
  scene: Scene,
  findings: Findings,
  ref: DeploymentRef,
  load?: Load,
): Promise<DeploymentRecord> {
  let status = '';
  const deployment = await scene.narrator.wait(
    nameOf(ref),
    async () => {
      const found = await scene.people.operator.readDeployment(ref);
      status = found.phase;
      return found.outcome === null ? undefined : found;
    },
    {
      timeoutMs: deploymentTimeoutMs,
      status: () => status,
      figures: () => {
        const seen = load?.report();
        return seen === undefined ? '' : `${seen.requests} requests, ${seen.failed} failed`;
      },
    },
  );
  findings.deployments.push(deployment);
  return deployment;
}

function deploymentOf(run: RunRecord, environment: string): DeploymentRef {
  const found = run.deployments.find((each) => each.environment === environment);
  if (found === undefined) throw new Error(`${run.project}#${run.number} led to no deployment of ${environment}`);
  return found;
}

function expectOutcome(scene: Scene, deployment: DeploymentRecord, outcome: Outcome): void {
  const seen = deployment.outcome === 'succeeded' ? '' : (deployment.reason ?? '');
  scene.narrator.check(
    `${nameOf(deployment)} is ${outcome}`,
    deployment.outcome === outcome,
    deployment.outcome === outcome ? seen : `${deployment.outcome ?? ''}: ${seen}`,
  );
}

function counts(by: Readonly<Record<string, number>>): string {
  return Object.entries(by)
    .map(([name, count]) => `${name}: ${count}`)
    .join(', ');
}

interface Answer {
  readonly version: string;
  readonly greeting: string;
}

async function answerOf(address: string): Promise<Answer> {
  const response = await fetch(`${address}/`, { signal: AbortSignal.timeout(5_000) });
  return (await response.json()) as Answer;
}
