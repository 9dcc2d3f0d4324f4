import { ApplicationFailure, Context, sleep } from '@temporalio/activity';
import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import type {
  Activities,
  Change,
  EnvironmentFacts,
  Notice,
  OpenTurns,
  Told,
  WatchReport,
} from '../../src/activities/contracts.ts';
import { createProofActivities } from '../../src/activities/proofs.ts';
import type { DeploymentInput, DeploymentPhase, DeploymentRef, DeploymentResult } from '../../src/domain/deployment.ts';
import { holdingOutcomes } from '../../src/domain/outcome.ts';
import { summarise } from '../../src/domain/infrastructure.ts';
import type { PublishedPackage } from '../../src/domain/packages.ts';
import type { Plan, PlanPolicy } from '../../src/domain/plan.ts';
import type { LiveRelease, Slot } from '../../src/domain/release.ts';
import type { RunInput, RunPlan, StageReport } from '../../src/domain/run.ts';
import { deploymentId, environmentId, rollbackId, rolloutId } from '../../src/workflows/messages.ts';
import { testProofs } from './proofs.ts';

/** One call of a fake, as the ledger keeps it. */
export interface Call {
  readonly name: keyof Activities;
  readonly input: unknown;
  readonly workflowId: string;
  readonly attempt: number;
}

type Handlers = { [Name in keyof Activities]?: (input: never, world: World) => unknown };

/** The activities that change a target. */
const changes: readonly (keyof Activities)[] = [
  'ensureReleaseRunning',
  'ensureReleaseStopped',
  'ensureTraffic',
  'runMigrations',
  'ensureDataRolledBack',
];

/**
 * A world of one project for workflows to act on, in memory: what runs in which slot, where the traffic goes, what the store knows. Every
 * activity does the natural thing unless a test says otherwise with {@link World.on}.
 */
export class World {
  readonly project: string;
  readonly calls: Call[] = [];
  readonly notices: Notice[] = [];
  /** What operators have said is live. */
  readonly words: { readonly live: string | null; readonly how: string }[] = [];
  readonly decisions: {
    readonly by: string;
    readonly verdict: string;
    readonly counted: boolean;
    readonly why?: string;
    readonly proven: boolean;
  }[] = [];
  /** As they were told one by one; the outcome has them all. */
  readonly steps: {
    readonly environment: string;
    readonly number: number;
    readonly key: string;
    readonly name: string;
  }[] = [];
  readonly phases: { readonly number: number; readonly phase: DeploymentPhase }[] = [];
  readonly rows = new Map<string, { readonly input: DeploymentInput; readonly results: DeploymentResult[] }>();
  readonly settledRuns: {
    readonly outcome: string;
    readonly reason: string;
    readonly stages: readonly StageReport[];
  }[] = [];
  readonly places = new Map<string, Place>();
  readonly violations: string[] = [];
  policy: PlanPolicy = quietPolicy;
  /** Part of every plan's identity; changing it changes the hash. */
  configuration = 'configuration';
  migrations: Plan['identity']['migrations'] = [];
  runPlan: Partial<RunPlan> = {};
  /** Absent: the environment has none. */
  infrastructure: FakeState | undefined;
  /** Of the environment's workflow; small makes it continue as new between nearly all turns. */
  maxHistoryEvents: number | undefined;
  #handlers: Handlers = {};
  readonly #lastChanger = new Map<string, string>();
  readonly #doneChanging = new Map<string, Set<string>>();

  constructor(project: string) {
    this.project = project;
  }

  /** Replaces what an activity does; the handler may call `world.natural(name, input)`. */
  on<Name extends keyof Activities>(
    name: Name,
    handler: (input: Parameters<Activities[Name]>[0], world: World) => Awaitable<ReturnType<Activities[Name]>>,
  ): this {
    this.#handlers = { ...this.#handlers, [name]: handler };
    return this;
  }

  handlerOf(name: keyof Activities): ((input: never, world: World) => unknown) | undefined {
    return this.#handlers[name];
  }

  place(environment: string): Place {
    const known = this.places.get(environment);
    if (known !== undefined) return known;
    const place: Place = { traffic: null, backup: null, slots: new Map() };
    this.places.set(environment, place);
    return place;
  }

  /** What somebody gets who asks the environment's router. */
  serving(environment: string): string | undefined {
    const { traffic, slots } = this.place(environment);
    return traffic === null ? undefined : slots.get(traffic)?.version;
  }

  called(name: keyof Activities): Call[] {
    return this.calls.filter((call) => call.name === name);
  }

  tell({ deployment: { environment, number }, facts }: Told): void {
    for (const fact of facts) {
      if (fact.kind === 'phase') this.phases.push({ number, phase: fact.phase });
      else this.steps.push({ environment, number, key: fact.key, name: fact.step.name });
    }
  }

  outcomesOf(ref: DeploymentRef): string[] {
    return (this.rows.get(keyOf(ref))?.results ?? []).map((result) => result.outcome);
  }

  resultOf(ref: DeploymentRef): DeploymentResult | undefined {
    return this.rows.get(keyOf(ref))?.results[0];
  }

  /** The next number of the environment's series. */
  nextNumber(environment: string): number {
    return (
      [...this.rows.values()].filter((row) => row.input.environment === environment && row.input.number < 1e9).length +
      1
    );
  }

  open(environment: string, more: Partial<DeploymentInput> = {}): DeploymentInput {
    const number = more.number ?? this.nextNumber(environment);
    const input: DeploymentInput = {
      project: this.project,
      environment,
      number,
      version: `1.0.${String(number)}`,
      requestedBy: 'push',
      author: 'ada',
      priority: 'routine',
      requestedAt: new Date().toISOString(),
      ...more,
    };
    this.rows.set(keyOf(input), { input, results: [] });
    return input;
  }

  /** Two workflows may not take turns at changing one environment: whoever was followed by another has no change left to make. */
  watchChange(name: keyof Activities, change: Change, workflowId: string): void {
    if (!changes.includes(name)) return;
    const { environment } = change;
    const last = this.#lastChanger.get(environment);
    const done = this.#doneChanging.get(environment) ?? new Set<string>();
    this.#doneChanging.set(environment, done);
    if (done.has(workflowId) && !workflowId.startsWith('environment/')) {
      this.violations.push(`${workflowId} changed ${environment} (${name}) after ${last ?? '?'} had`);
    }
    if (last !== undefined && last !== workflowId) done.add(last);
    this.#lastChanger.set(environment, workflowId);
  }
}

type Awaitable<T> = T | Promise<T> | Awaited<T>;

/** Infrastructure that is a text. */
export interface FakeState {
  state: string;
  wanted: string;
  made: number;
  /** By the number of the deployment. */
  readonly plans: Map<number, { readonly plan: string; readonly state: string; readonly wanted: string }>;
}

export interface Place {
  traffic: Slot | null;
  backup: Slot | null;
  readonly slots: Map<Slot, { readonly version: string; readonly deployment: number }>;
}

/** No approval, no watch, no waits: a policy for tests that are about something else. */
export const quietPolicy: PlanPolicy = {
  approval: { required: false, rules: [], allowAuthor: false, timeoutMs: 1_800_000, turn: 'release' },
  queue: { mode: 'keep-all', timeoutMs: 86_400_000 },
  watch: {
    durationMs: 1_800_000,
    intervalMs: 10_000,
    warn: { cpuRatio: 0.8, memoryRatio: 0.85, p95Ms: 2_000, errorRatio: 0.01 },
    rollback: {
      errorRatio: 0.05,
      errorWindowMs: 300_000,
      p95Ms: 5_000,
      p95SustainedMs: 60_000,
      databaseFailures: 3,
      logMatches: 1,
    },
    logPatterns: [],
    minSamples: 20,
    onInconclusive: 'succeed',
  },
  backup: { database: true, configuration: true, prove: true },
  rollback: { automatic: true, restore: 'automatic' },
  limits: { readyMs: 30_000, settleMs: 30_000, stopGraceMs: 30_000, drainMs: 30_000, keepPreviousMs: 86_400_000 },
  migrationPhase: 'before-switch',
  production: true,
};

/** One of tech-lead and one of devops, distinct, not the author. */
export const twoPeople: PlanPolicy['approval'] = {
  required: true,
  rules: [
    { group: 'tech-lead', count: 1 },
    { group: 'devops', count: 1 },
  ],
  allowAuthor: false,
  timeoutMs: 1_800_000,
  turn: 'release',
};

/** All activities over any number of worlds, by project. */
export function createFakeActivities(worldOf: (project: string) => World, client: () => Client): Activities {
  const natural = createNaturalActivities(client);
  const wrap = (name: keyof Activities) => async (input: unknown, told?: Told) => {
    const world = worldOf(projectOf(input));
    // As the real ones do (activities/told.ts).
    if (told !== undefined) world.tell(told);
    const { info } = Context.current();
    const workflowId = info.workflowExecution?.workflowId ?? '';
    world.calls.push({ name, input, workflowId, attempt: info.attempt });
    world.watchChange(name, input as Change, workflowId);
    const handler = world.handlerOf(name);
    if (handler !== undefined) return await handler(input as never, world);
    return await (natural[name] as (input: never, world: World) => unknown)(input as never, world);
  };
  return Object.fromEntries(
    (Object.keys(natural) as (keyof Activities)[]).map((name) => [name, wrap(name)]),
  ) as unknown as Activities;
}

type Natural = {
  readonly [Name in keyof Activities]: (
    input: Parameters<Activities[Name]>[0],
    world: World,
  ) => Awaitable<ReturnType<Activities[Name]>>;
};

/** What each activity does in a world where nothing goes wrong. */
export function createNaturalActivities(client: () => Client): Natural {
  return {
    prepareRun: (input, world) => prepared(input, world),
    releaseWorkspace: () => undefined,
    runStage: ({ stage }) => ({ name: stage, verdict: 'passed', steps: [], startedAt: now(), durationMs: 1 }),
    buildImages: ({ plan }) => plan.images.map((name) => imageOf(name)),
    publishPackages: ({ plan }) => (plan.publish ?? []).map((name) => publishedOf(name)),
    pushImages: ({ images }) => images,
    settleRun: ({ outcome, reason, stages, plan }, world) => {
      world.settledRuns.push({ outcome, reason, stages });
      const where = outcome === 'succeeded' ? (plan?.environments ?? []) : [];
      const hint = world.policy.approval.required ? {} : { waitsForNobody: true as const };
      return { deployments: where.map((environment) => world.open(environment, hint)) };
    },
    openForkRun: ({ project, key }) => ({
      run: { project, key, number: 1 },
      rule: 'ask' as const,
      timeoutMs: 604_800_000,
      tellsForge: true,
    }),
    askRunTurn: () => ({ kind: 'granted' as const }),
    readPolled: () => [],
    acceptScheduledRun: () => 1,
    acceptStartedRun: ({ run, stage, starts, by }) => ({
      number: 1,
      input: {
        project: starts.project,
        key: `${run.key}-${stage}`,
        event: { ...by.event, kind: 'manual' as const },
        acceptedAt: by.acceptedAt,
        startedBy: { ...run, stage, above: [] },
      },
    }),
    tellFindings: () => [],
    tellForge: () => undefined,
    mergeBack: () => undefined,
    tellDeployment: () => undefined,
    publishRelease: () => undefined,
    pollRepository: () => ({ refs: 0, moved: 0, accepted: [] }),
    planDeployment: (input, world) => planOf(input, world),
    readProof: async (decision) => await createProofActivities({ proofs: testProofs }).readProof(decision),
    renewScans: () => ({}),
    ensureInfrastructurePlan: ({ number }, { infrastructure }) => {
      if (infrastructure === undefined) return { plan: '' };
      const { state, wanted, plans } = infrastructure;
      // One of this state is kept.
      if (plans.get(number)?.state !== state) {
        const plan = hashOf(`${wanted} on ${state}, ${String(infrastructure.made++)}`);
        plans.set(number, { plan, state, wanted });
      }
      return { plan: plans.get(number)?.plan ?? '' };
    },
    applyInfrastructure: ({ number, plan }, { infrastructure }) => {
      const saved = infrastructure?.plans.get(number);
      if (infrastructure === undefined || saved?.plan !== plan || saved.state !== infrastructure.state) {
        throw broken('InfrastructureStale', 'Nothing was applied: the saved plan is stale.');
      }
      infrastructure.state = saved.wanted;
      return { how: 'applied', detail: '1 to create' };
    },
    ensurePlansDiscarded: ({ number }, { infrastructure }) => void infrastructure?.plans.delete(number),
    removeOldPlans: () => ({ what: 'saved plans', count: 0, sizeBytes: 0 }),
    requestTurn: async ({ deployment, plan, approved, ask, requestedAt }, { maxHistoryEvents }) => {
      const { project, environment } = deployment;
      await client().workflow.signalWithStart('environment', {
        workflowId: environmentId(project, environment),
        taskQueue: 'orchestration',
        args: [{ project, environment, ...(maxHistoryEvents === undefined ? {} : { maxHistoryEvents }) }],
        signal: 'requestTurn',
        signalArgs: [{ deployment, planHash: plan.hash, approved, ask, policy: plan.policy, requestedAt }],
      });
    },
    readOpenTurns: ({ environment }, world) => readOpenTurns(client(), world, environment),
    awaitTurnClosed: async ({ workflowId }) => await followed(client(), workflowId),
    recordPhase: ({ deployment, phase }, world) => void world.phases.push({ number: deployment.number, phase }),
    recordStep: () => undefined,
    recordFacts: (told, world) => world.tell(told),
    recordLostMachine: () => undefined,
    recordDecision: (decision, world) => void world.decisions.push(decision),
    settleDeployment: ({ result, version }, world) => {
      const row = world.rows.get(keyOf(result)) ?? rowOf(world, result, version);
      row.results.push(result);
    },
    openRollback: ({ environment, requestId, to, by, reason }, world) => {
      const known = [...world.rows.values()].find((row) => row.input.runKey === requestId);
      if (known !== undefined) return known.input;
      return world.open(environment, {
        version: to ?? otherVersion(world.place(environment)) ?? '',
        runKey: requestId,
        requestedBy: `${by}: ${reason}`,
        author: by,
        priority: 'rollback',
      });
    },
    recordLive: ({ live, how }, world) => void world.words.push({ live: live?.version ?? null, how }),
    openIncident: ({ deployment }) => `INC-${String(deployment.number)}`,
    sendNotice: (notice, world) => void world.notices.push(notice),
    readEnvironment: ({ environment }, world) => factsOf(world.place(environment)),
    ensureReleaseRunning: ({ environment, slot, version, number }, world) =>
      void world.place(environment).slots.set(slot, { version, deployment: number }),
    ensureReleaseStopped: ({ environment, slot }, world) => void world.place(environment).slots.delete(slot),
    ensureTraffic: ({ environment, slot, backup }, world) => {
      Object.assign(world.place(environment), { traffic: slot, backup });
      return { movedAt: now() };
    },
    ensureBackup: ({ project, environment, number }) => ({
      blob: `backup/${project}/${environment}/${String(number)}`,
      sizeBytes: 1_000,
      proof: `proof_${String(number)}`,
      proofMs: 10,
      takenAt: now(),
    }),
    runMigrations: (_, world) => ({ applied: world.migrations.map((migration) => migration.name) }),
    ensureDataRolledBack: ({ migrated, restore }) =>
      migrated || restore === 'automatic'
        ? { action: 'swapped', detail: 'swapped by rename' }
        : { action: 'none', detail: 'not migrated' },
    ensureLaterWritesExported: () => ({
      laterWrites: { inserted: 1, updated: 0, deleted: 0, blob: 'later-writes.jsonl' },
      detail: 'since the backup 1 rows were inserted, 0 updated, 0 deleted in 1 tables, exported to later-writes.jsonl',
    }),
    verifyData: () => ({ name: 'verify data', verdict: 'passed', startedAt: now(), durationMs: 1 }),
    ensureProofDropped: () => undefined,
    runProbes: ({ slot }) => ({
      verdict: 'passed',
      probes: [{ name: 'http', verdict: 'passed', detail: `200 from ${slot}`, durationMs: 1 }],
    }),
    watchRelease: () => watched('passed', 'no band was crossed'),
  };
}

export function watched(verdict: WatchReport['verdict'], reason: string): WatchReport {
  return { verdict, reason, decidedAt: now(), requests: 100, errorRatio: 0, p95Ms: 10, warnings: [] };
}

/** Stays in the activity, alive, until `done` says so; ends as cancelled when it is. */
export async function stayUntil(done: () => boolean): Promise<void> {
  while (!done()) {
    Context.current().heartbeat();
    await sleep(20);
  }
}

/** A failure as the real activities raise it. */
export function broken(type: string, text: string, nonRetryable = true): ApplicationFailure {
  return ApplicationFailure.create({ type, message: text, nonRetryable });
}

export function keyOf({ environment, number }: DeploymentRef): string {
  return `${environment}/${String(number)}`;
}

export function planOf(input: DeploymentInput, world: World): Plan {
  const place = world.place(input.environment);
  const live = factsOf(place).live;
  const saved = world.infrastructure?.plans.get(input.number);
  const infrastructure: Plan['infrastructure'] =
    world.infrastructure === undefined
      ? undefined
      : saved === undefined
        ? { kind: 'terraform', plan: '' }
        : { kind: 'terraform', plan: saved.plan, summary: summarise([{ address: saved.wanted, action: 'create' }]) };
  const identity: Plan['identity'] = {
    release: { version: input.version, commit: 'c'.repeat(40), images: [] },
    definition: 'definition',
    configuration: world.configuration,
    secrets: {},
    migrations: world.migrations,
    strategy: { kind: 'blue-green' },
    target: { kind: 'docker', name: input.environment },
    live: live === null ? null : { version: live.version, commit: live.commit, images: [] },
    ...(infrastructure === undefined
      ? {}
      : { infrastructure: { kind: infrastructure.kind, plan: infrastructure.plan } }),
  };
  const { project, environment, number } = input;
  return {
    deployment: { project, environment, number },
    hash: hashOf(JSON.stringify(identity)),
    identity,
    policy: world.policy,
    serving: live,
    changes: {
      fromVersion: live?.version ?? null,
      commits: [{ sha: 'c'.repeat(40), author: 'ada', subject: 'a change' }],
      filesChanged: 1,
      linesChanged: 2,
      configurationKeys: [],
      definitionChanged: false,
    },
    risk: { level: 'low', score: 1, reasons: [] },
    estimate: {
      databaseBytes: 1,
      freeDiskBytes: 1e9,
      connectionsNeeded: 1,
      connectionsFree: 10,
      lastProofMs: 0,
      problems: [],
    },
    checks: [],
    ...(infrastructure === undefined ? {} : { infrastructure }),
    plannedAt: now(),
  };
}

function prepared(input: RunInput, world: World): RunPlan {
  const number = 1;
  return {
    run: { project: input.project, key: input.key, number },
    version: '1.0.1',
    commit: { sha: input.event.after, author: input.event.author, message: 'a change', at: now() },
    definition: 'definition',
    workspace: { queue: 'build', path: '/nowhere' },
    stages: [{ name: 'check', steps: ['test'], timeoutMs: 60_000 }],
    buildImages: 'none',
    images: [],
    environments: [],
    buildTimeoutMs: 60_000,
    ...world.runPlan,
  };
}

function publishedOf(name: string): PublishedPackage {
  return {
    ...{ package: name, file: `${name}-1.0.0.tgz`, kind: 'npm', index: 'internal', name, version: '1.0.0' },
    ...{ sha256: 'f'.repeat(64), sizeBytes: 1, address: 'http://npm.example/', alreadyThere: false, at: now() },
  };
}

function imageOf(name: string) {
  return {
    name,
    repository: `registry/${name}`,
    digest: `sha256:${'0'.repeat(64)}`,
    tags: [],
    sizeBytes: 1,
    reused: false,
    durationMs: 1,
  };
}

function factsOf(place: Place): EnvironmentFacts {
  const { traffic, slots } = place;
  const running = traffic === null ? undefined : slots.get(traffic);
  const live: LiveRelease | null =
    traffic === null || running === undefined
      ? null
      : {
          version: running.version,
          commit: 'c'.repeat(40),
          images: [],
          slot: traffic,
          deployment: running.deployment,
          since: now(),
        };
  const beside = otherVersion(place);
  return {
    live,
    slots: [...slots].map(([slot, { version, deployment }]) => ({ slot, version, deployment, healthy: true })),
    previous: beside === undefined ? null : { version: beside, commit: 'c'.repeat(40), images: [] },
  };
}

function otherVersion({ traffic, slots }: Place): string | undefined {
  return [...slots].find(([slot]) => slot !== traffic)?.[1].version;
}

function rowOf(
  world: World,
  result: DeploymentResult,
  version: string,
): { input: DeploymentInput; results: DeploymentResult[] } {
  world.open(result.environment, { number: result.number, version });
  return world.rows.get(keyOf(result)) ?? { input: world.open(result.environment), results: [] };
}

async function readOpenTurns(client: Client, world: World, environment: string): Promise<OpenTurns> {
  const rows = [...world.rows.values()].filter((row) => row.input.environment === environment);
  const open: OpenTurns['open'][number][] = [];
  for (const { input } of rows) {
    for (const workflowId of [rolloutId(input), rolloutId(input, 2), rolloutId(input, 3), rollbackId(input)]) {
      if (await isOpen(client, workflowId)) {
        open.push({ workflowId, kind: workflowId.startsWith('rollout') ? 'rollout' : 'rollback', deployment: input });
      }
    }
  }
  const closed = rows.filter((row) => row.results.length > 0).at(-1);
  const result = closed?.results[0];
  const last = result === undefined ? null : { number: result.number, outcome: result.outcome };
  return { open, last: last !== null && holdingOutcomes.includes(last.outcome) ? last : null };
}

export async function isOpen(client: Client, workflowId: string): Promise<boolean> {
  try {
    return (await client.workflow.getHandle(workflowId).describe()).status.name === 'RUNNING';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}

/** By looking, for a waiting client would let the clock of the test server run. */
async function followed(client: Client, workflowId: string): Promise<unknown> {
  for (;;) {
    if (!(await isOpen(client, workflowId))) break;
    Context.current().heartbeat();
    await sleep(100);
  }
  try {
    const { status } = await client.workflow.getHandle(workflowId).describe();
    if (status.name !== 'COMPLETED') return null;
    return await client.workflow.getHandle(workflowId).result();
  } catch {
    return null;
  }
}

/** The worlds' reconciler: a row whose workflow has closed without an outcome gets one. */
export async function closeLostRows(client: Client, world: World): Promise<number> {
  let closed = 0;
  for (const { input, results } of world.rows.values()) {
    if (results.length > 0) continue;
    const ids = [deploymentId(input), rolloutId(input), rolloutId(input, 2), rollbackId(input)];
    const open = await Promise.all(ids.map((id) => isOpen(client, id)));
    if (open.includes(true)) continue;
    const { project, environment, number } = input;
    results.push({
      project,
      environment,
      number,
      outcome: 'errored',
      reason: 'Its workflow was terminated.',
      steps: [],
    });
    closed += 1;
  }
  return closed;
}

function projectOf(input: unknown): string {
  const fields = input as Record<string, unknown>;
  for (const value of [fields['project'], fields['deployment'], fields['run'], fields['result']]) {
    if (typeof value === 'string') return value;
    const inner = (value as { project?: unknown } | undefined)?.project;
    if (typeof inner === 'string') return inner;
  }
  const id = fields['workflowId'];
  return typeof id === 'string' ? (id.split('/')[1] ?? '') : '';
}

/** FNV-1a, doubled up to look like the real thing; plans are told apart by it, nothing more. */
function hashOf(text: string): string {
  let hash = 0x811c9dc5;
  for (const character of text) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, '0').repeat(8);
}

function now(): string {
  return new Date().toISOString();
}
