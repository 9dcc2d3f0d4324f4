import type { Plan } from '../../src/domain/plan.ts';
import type { DeploymentRecord } from '../../src/store/deployments.ts';
import type { RunRecord } from '../../src/store/runs.ts';
import type { EnvironmentView } from '../../src/workflows/messages.ts';

/** An instant some seconds into the tests' own day. */
export function at(seconds: number): string {
  return new Date(Date.parse('2026-01-01T12:00:00Z') + seconds * 1000).toISOString();
}

const commit = 'abcdef12'.repeat(5);
const release = {
  version: '4-abcdef12',
  commit,
  images: [{ name: 'hello', repository: '127.0.0.1:5050/hello/hello', digest: `sha256:${'d'.repeat(64)}` }],
};
const live = {
  version: '2-beef',
  commit: 'beef'.repeat(10),
  images: release.images,
  slot: 'blue',
  deployment: 2,
  since: at(0),
} as const;

/** A run as the store has it. */
export function aRun(changes: Partial<RunRecord> = {}): RunRecord {
  const event = {
    kind: 'push',
    ref: 'refs/heads/main',
    before: '0'.repeat(40),
    after: commit,
    author: 'linus',
  } as const;
  return {
    project: 'hello',
    number: 4,
    key: 'k4',
    kind: 'push',
    ref: 'refs/heads/main',
    commit,
    author: 'linus',
    message: 'feat: notes can be pinned\n\nThe body.',
    phase: 'closed',
    version: '4-abcdef12',
    outcome: 'succeeded',
    reason: null,
    acceptedAt: at(0),
    startedAt: at(0),
    settledAt: at(9),
    queue: null,
    input: { project: 'hello', key: 'k4', event, acceptedAt: at(0) },
    plan: null,
    definition: null,
    stages: [],
    images: [],
    packages: [],
    documentation: [],
    deployments: [],
    startedBy: null,
    starts: [],
    ...changes,
  };
}

/** A deployment of it to production. */
export function aDeployment(changes: Partial<DeploymentRecord> = {}): DeploymentRecord {
  const ref = { project: 'hello', environment: 'production', number: 3 } as const;
  return {
    ...ref,
    kind: 'rollout',
    version: '4-abcdef12',
    runKey: 'k4',
    requestedBy: 'linus',
    author: 'linus',
    priority: 'routine',
    requestedAt: at(10),
    phase: 'closed',
    phaseDetail: null,
    phaseAt: at(10),
    planHash: null,
    outcome: null,
    reason: null,
    settledAt: null,
    input: {
      ...ref,
      version: '4-abcdef12',
      requestedBy: 'linus',
      author: 'linus',
      priority: 'routine',
      requestedAt: at(10),
    },
    plan: null,
    steps: [],
    decisions: [],
    result: null,
    ...changes,
  };
}

export function anEnvironment(changes: Partial<EnvironmentView> = {}): EnvironmentView {
  return {
    project: 'hello',
    environment: 'production',
    live,
    previous: null,
    current: null,
    queue: [],
    hold: null,
    frozenUntil: null,
    retireAt: null,
    ...changes,
  };
}

export function aPlan(): Plan {
  return {
    deployment: { project: 'hello', environment: 'production', number: 3 },
    hash: '1f3a2b4c'.repeat(8),
    identity: {
      release,
      definition: 'a'.repeat(64),
      configuration: 'b'.repeat(64),
      secrets: {},
      migrations: [{ name: '003_pinned.sql', checksum: 'c'.repeat(64), kind: 'expand' }],
      strategy: { kind: 'blue-green' },
      target: { kind: 'docker', name: 'hello-production' },
      live,
    },
    policy: {
      approval: {
        required: true,
        rules: [{ group: 'tech-lead', count: 1 }],
        allowAuthor: false,
        timeoutMs: 1_800_000,
        turn: 'release',
      },
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
    },
    changes: {
      fromVersion: '2-beef',
      commits: [{ sha: commit, author: 'linus', subject: 'feat: notes can be pinned' }],
      filesChanged: 3,
      linesChanged: 12,
      configurationKeys: ['GREETING'],
      definitionChanged: false,
    },
    risk: { level: 'medium', score: 40, reasons: ['a migration runs'] },
    estimate: {
      databaseBytes: 8_000_000,
      freeDiskBytes: 1e10,
      connectionsNeeded: 4,
      connectionsFree: 90,
      lastProofMs: 900,
      problems: [],
    },
    checks: ['quality passed in 2 s', 'test passed in 3 s'],
    plannedAt: at(11),
  };
}
