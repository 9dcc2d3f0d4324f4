import { counted } from '../domain/counted.ts';
import type { DeploymentInput, DeploymentResult } from '../domain/deployment.ts';
import type { NoticeEvent } from '../domain/notice.ts';
import type { NoticeLevel, Outcome, RunOutcome } from '../domain/outcome.ts';
import { packageLine } from '../domain/packages.ts';
import type { Plan } from '../domain/plan.ts';
import type { WatchPolicy } from '../domain/policy.ts';
import type { RunInput, RunPlan } from '../domain/run.ts';
import { testVerdictOf } from '../domain/test-verdict.ts';
import { readDeployment } from '../store/deployments.ts';
import type { Db } from '../store/schema.ts';
import type { Notice, RunFactActivities, WatchActivities } from './contracts.ts';
import { percent } from './watch-judge.ts';

type SettledRun = Parameters<RunFactActivities['settleRun']>[0] & {
  readonly number: number;
  readonly deployments: readonly DeploymentInput[];
};

const longestDetail = 600;
/** Of one image; the log has all of them. Judgement. */
const mostScanLines = 5;

/** What people are told at the end of a run: what it was, how it went, and what to do where there is something to do. */
export function runNotice(settled: SettledRun): Notice {
  const { input, number, plan, stages, images, packages = [], outcome, reason, deployments } = settled;
  const { project, event } = input;
  const failed = stages.find((stage) => stage.verdict === 'failed' || stage.verdict === 'errored');
  const kind = runEvent(settled);
  const took = Date.now() - Date.parse(input.acceptedAt);
  const failedStep = failed?.steps.find((step) => step.verdict === 'failed' || step.verdict === 'errored');
  const lines = [
    `version ${plan?.version ?? 'not known yet'}, commit ${event.after.slice(0, 12)} of ${shortRef(event.ref)} by ${event.author}`,
    ...(plan === undefined ? [] : [firstLine(plan.commit.message)]),
    `took ${duration(took)}`,
    ...(stages.length === 0 ? [] : [stages.map((stage) => `${stage.name}: ${stage.verdict}`).join(', ')]),
    ...images.map(
      (image) => `image ${image.name} ${image.digest.slice(0, 19)}${image.reused ? ' (built before)' : ''}`,
    ),
    ...packages.map(packageLine),
    ...(outcome === 'succeeded' ? [] : [reason.slice(0, longestDetail)]),
    ...(failedStep?.detail === undefined ? [] : [failedStep.detail.slice(0, longestDetail)]),
    ...deployments.map(({ environment, number: of }) => `goes to ${environment} as deployment ${of}`),
    outcome === 'succeeded'
      ? `slipway status ${project}#${number}`
      : `slipway logs ${project}#${number}${failed === undefined ? '' : ` --step ${failedStep?.name ?? failed.name}`}`,
  ];
  return {
    event: kind,
    level: runLevels[outcome],
    project,
    key: `${project}/run/${number}/settled`,
    title: `${project} #${number} ${runWords[outcome]}${failed === undefined ? '' : ` at ${failed.name}`}`,
    lines,
  };
}

/** What people are told when a run has its commit and begins to check it. */
export function startedNotice({ project, event }: RunInput, plan: RunPlan): Notice {
  const { run, version, commit, stages, environments } = plan;
  return {
    event: 'started',
    level: 'info',
    project,
    key: `${project}/run/${run.number}/started`,
    title: `${project} #${run.number} has started`,
    lines: [
      `version ${version}, commit ${commit.sha.slice(0, 12)} of ${shortRef(event.ref)} by ${event.author}`,
      firstLine(commit.message),
      stages.map(({ name }) => name).join(', '),
      ...(environments.length === 0 ? [] : [`goes to ${environments.join(', ')}`]),
      `slipway status ${project}#${run.number} --watch`,
    ].filter((line) => line !== ''),
  };
}

/** What people are told when a pull request from a fork waits for somebody's word. */
export function forkNotice({ project, event }: RunInput, number: number, timeoutMs: number): Notice {
  const name = `${project}#${number}`;
  return {
    event: 'approval-requested',
    level: 'info',
    project,
    key: `${project}/run/${number}/word`,
    title: `${project} #${number}: a pull request from a fork waits for a word`,
    lines: [
      `commit ${event.after.slice(0, 12)} of ${shortRef(event.ref)} by ${event.author}`,
      `Read what it changes first: its code is run. It is waited for for ${duration(timeoutMs)}.`,
      `slipway allow ${name} --commit ${event.after.slice(0, 12)}`,
    ],
  };
}

/**
 * What security people are told of the images of a run whose scan did not pass, and only warned (A-03: alert and go on; where it blocks, the run's own
 * notice says why it ended). Undefined where there is nothing to tell.
 */
export function scanNotice({ input, number, plan, images }: SettledRun): Notice | undefined {
  const bad = images.flatMap(({ name, evidence }) =>
    evidence?.scan === undefined || evidence.scan.verdict === 'passed' ? [] : [{ name, scan: evidence.scan }],
  );
  if (bad.length === 0) return undefined;
  const { project } = input;
  const failed = bad.filter(({ scan }) => scan.verdict === 'failed');
  const isCritical = failed.some(({ scan }) => scan.counts.critical > 0);
  return {
    event: 'security-alert',
    level: isCritical ? 'critical' : failed.length > 0 ? 'error' : 'warning',
    project,
    key: `${project}/run/${number}/scan`,
    title: `${project} #${number}: ${failed.length > 0 ? 'vulnerable packages' : 'nothing is known'} in ${bad.map(({ name }) => name).join(', ')}`,
    lines: [
      `version ${plan?.version ?? 'not known yet'}, commit ${input.event.after.slice(0, 12)}`,
      ...bad.flatMap(({ name, scan }) =>
        scan.lines.length === 0
          ? [`${name}: ${scan.verdict}, ${scan.reason.slice(0, longestDetail)}`]
          : scan.lines.slice(0, mostScanLines).map((line) => `${name}: ${line}`),
      ),
      `slipway logs ${project}#${number} --step ${bad[0]?.name ?? ''}`,
    ],
  };
}

const runLevels: Readonly<Record<RunOutcome, NoticeLevel>> = {
  succeeded: 'info',
  failed: 'error',
  errored: 'error',
  // High, of a run as of a deployment: somebody said no, or nobody was there.
  rejected: 'error',
  expired: 'error',
  aborted: 'info',
  superseded: 'info',
};

const runWords: Readonly<Record<RunOutcome, string>> = {
  succeeded: 'succeeded',
  failed: 'failed',
  errored: 'could not be finished',
  rejected: 'was not run',
  expired: 'was not allowed in time',
  aborted: 'was aborted',
  superseded: 'was superseded',
};

function runEvent({ outcome, stages, plan, images }: SettledRun): NoticeEvent {
  if (outcome === 'succeeded') return 'run-succeeded';
  if (outcome === 'aborted' || outcome === 'superseded' || outcome === 'rejected' || outcome === 'expired')
    return outcome;
  if (testVerdictOf(plan, stages) === 'failed') return 'tests-failed';
  if (plan === undefined || plan.buildImages === 'none') return 'run-failed';
  // No image is built before every stage has ended well.
  const checked = plan.stages.every(({ name }) =>
    stages.some((stage) => stage.name === name && (stage.verdict === 'passed' || stage.skipped === true)),
  );
  return checked && plan.images.length > images.length ? 'build-failed' : 'run-failed';
}

/** What people are told at the end of a deployment or rollback. */
export async function deploymentNotice(db: Db, result: DeploymentResult, version: string): Promise<Notice> {
  const { project, environment, number, outcome, reason, rollback } = result;
  // Of a store that is away the notice must not wait: it may be the one that calls somebody.
  const record = await readDeployment(db, result).catch(() => undefined);
  const production = record?.plan?.policy.production ?? environment === 'production';
  const name = `${project}/${environment}/${number}`;
  // The version of a rollback is the one that it went to; of a store that is away the report says it.
  const isRollback = record?.kind === 'rollback' || version === '' || rollback?.to === version;
  const lines = [
    ...(record?.plan === undefined || record.plan === null ? [] : planLines(record.plan)),
    ...(record === undefined
      ? []
      : [`asked for by ${record.requestedBy}${isRollback ? '' : `, author ${record.author}`}`]),
    reason.slice(0, longestDetail),
    ...(rollback === undefined
      ? []
      : [
          ...(reason.includes(rollback.trigger) || isRollback ? [] : [`why: ${rollback.trigger}`]),
          ...(rollback.servingAfterMs === undefined
            ? []
            : [`${rollback.to ?? 'it'} serving after ${duration(rollback.servingAfterMs)}`]),
          ...(rollback.data === undefined || rollback.data.action === 'none'
            ? []
            : [`data ${rollback.data.action}: ${rollback.data.detail}`]),
          ...(rollback.incident === undefined ? [] : [rollback.incident]),
        ]),
    ...liveLines(result),
    ...commandsAfter(result),
  ];
  return {
    event: deploymentEvents[outcome] ?? (production ? 'production-deployed' : 'staging-deployed'),
    level: deploymentLevel(outcome, production),
    project,
    environment,
    key: `${name}/settled`,
    title: isRollback
      ? `${project} ${environment} ${rollbackWords(outcome, version)}`
      : `${project} ${version} ${deploymentWords[outcome]} ${environment}`,
    lines,
  };
}

/** What people are told when a figure of a watch comes into its warn band: at once, and once for each kind. */
export function watchNotice(
  watch: Parameters<WatchActivities['watchRelease']>[0],
  warning: string,
  kind: string,
): Notice {
  const { project, environment, number, version, until } = watch;
  const name = `${project}/${environment}/${number}`;
  return {
    event: 'watch-warning',
    level: 'warning',
    project,
    environment,
    key: `${name}/watch/${kind}`,
    title: `${project} ${version} in ${environment}: ${warning}`,
    lines: [
      `It is watched until ${until}; nothing is rolled back for this.`,
      ...limitOfRollback(watch.policy, kind),
      `slipway status ${name}`,
    ],
  };
}

/** When the same figure would roll back; CPU and memory never do. */
function limitOfRollback({ rollback }: WatchPolicy, kind: string): readonly string[] {
  if (kind === 'errors') {
    return [`Above ${percent(rollback.errorRatio)} it is rolled back.`];
  }
  if (kind === 'p95') {
    return [`Above ${duration(rollback.p95Ms)} for ${duration(rollback.p95SustainedMs)} it is rolled back.`];
  }
  return [];
}

/** Where succeeded is `production-deployed` or `staging-deployed`. */
const deploymentEvents: Readonly<Partial<Record<Outcome, NoticeEvent>>> = {
  failed: 'run-failed',
  errored: 'run-failed',
  rejected: 'rejected',
  expired: 'expired',
  superseded: 'superseded',
  aborted: 'aborted',
  'rolled-back': 'rolled-back',
  'rollback-failed': 'rollback-failed',
  'rollback-unavailable': 'rollback-unavailable',
  held: 'held',
};

const deploymentWords: Readonly<Record<Outcome, string>> = {
  succeeded: 'is live in',
  failed: 'failed to go to',
  errored: 'could not go to',
  rejected: 'was rejected for',
  expired: 'expired before it went to',
  superseded: 'was superseded on its way to',
  aborted: 'was aborted on its way to',
  'rolled-back': 'was rolled back in',
  'rollback-failed': 'could not be rolled back in',
  'rollback-unavailable': 'had nothing to be rolled back to in',
  held: 'is held in',
};

function rollbackWords(outcome: Outcome, version: string): string {
  if (outcome === 'rolled-back') return `is back on ${version}`;
  if (outcome === 'held') return `was stopped on its way back to ${version}`;
  if (outcome === 'rollback-unavailable') return 'has no release to go back to';
  return version === '' ? 'could not go back' : `could not go back to ${version}`;
}

/** What is known to serve. Where a deployment ended before it touched anything, nothing is said. */
function liveLines({ outcome, live }: DeploymentResult): readonly string[] {
  if (live !== undefined) return [`live now: ${live.version} in ${live.slot}`];
  return outcome === 'rollback-unavailable' ? ['live now: nothing'] : [];
}

/** High is `error`: a deployment to production is told to everybody, also when all is well. */
function deploymentLevel(outcome: Outcome, production: boolean): NoticeLevel {
  switch (outcome) {
    case 'succeeded':
      return production ? 'error' : 'info';
    case 'superseded':
    case 'aborted':
      return 'info';
    case 'rolled-back':
      return production ? 'critical' : 'error';
    case 'rollback-failed':
    case 'rollback-unavailable':
    case 'held':
      return 'critical';
    case 'failed':
    case 'errored':
    case 'rejected':
    case 'expired':
      return 'error';
  }
}

/** What a person can type about it, the likeliest first. */
function commandsAfter({ project, environment, number, outcome, rollback }: DeploymentResult): readonly string[] {
  const place = `${project}/${environment}`;
  const unlock = `slipway unlock ${place} --state-is <version> --reason …`;
  switch (outcome) {
    case 'rollback-failed':
      return [`slipway retry ${place} --reason …`, unlock];
    case 'held':
      // With a report it went back and only the data waits; without one it serves and nobody knows whether it should.
      return [
        rollback === undefined ? `slipway rollback ${place} --reason …` : `slipway retry ${place} --reason …`,
        unlock,
      ];
    case 'rollback-unavailable':
      return [`slipway unlock ${place} --state-is none --reason …`];
    default:
      return [`slipway status ${place}/${number}`];
  }
}

/** What a plan says in a message. */
export function planLines(plan: Plan): readonly string[] {
  const { release, migrations } = plan.identity;
  const { changes, risk } = plan;
  return [
    `commit ${release.commit.slice(0, 12)}, from ${changes.fromVersion ?? 'nothing'}: ${counted(changes.commits.length, 'commit')}, ${counted(changes.filesChanged, 'file')} changed, ${counted(migrations.length, 'migration')}`,
    ...plan.checks,
    `risk ${risk.level} (${risk.score})${risk.reasons.length === 0 ? '' : `: ${risk.reasons.join('; ')}`}`,
    `plan ${plan.hash.slice(0, 8)}`,
  ];
}

function shortRef(ref: string): string {
  return ref.replace(/^refs\/(heads|tags)\//, '');
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0]?.slice(0, 200) ?? '';
}

/** `340 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1_000)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
