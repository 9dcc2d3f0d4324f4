import { reviveDefinition } from '../definition/load.ts';
import { resolveEnvironment } from '../definition/environment.ts';
import type { DefinitionPair } from '../definition/pair.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import { resolveParameters } from '../definition/parameters.ts';
import { routesOf } from '../definition/routes.ts';
import { coverageOf, testsOf } from '../domain/build-report.ts';
import { createSieve } from '../domain/gate-findings.ts';
import type { MigrationRef } from '../domain/migration.ts';
import {
  type EnvironmentPreview,
  type GateNews,
  type MergePreview,
  type PullRequestReport,
  renderPullRequest,
} from '../domain/pull-request-text.ts';
import { type Finding, noCounts, rankOf, severities } from '../domain/report.ts';
import { assessRisk } from '../domain/risk.ts';
import { routeEvent } from '../domain/routing.ts';
import { migrationsOf } from '../providers/migrations/files.ts';
import type { SourceRepository } from '../providers/repositories/port.ts';
import { lastFailed } from '../store/deployments.ts';
import { readEnvironment } from '../store/environments.ts';
import { readDefinition } from '../store/projects.ts';
import {
  type StoredGate,
  type StoredReport,
  lastReleasedRun,
  lastShownRun,
  readGates,
  readReports,
} from '../store/reports.ts';
import { type RunRecord, readRun } from '../store/runs.ts';
import type { Store } from '../store/store.ts';
import { changedPaths } from './changed-paths.ts';
import { type ReadSecret, repositoryAddress } from './secrets.ts';

export interface CommentDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly repositories: Pick<
    SourceRepository,
    'ensureCommit' | 'resolveRef' | 'compare' | 'changedPaths' | 'listTree' | 'readFile'
  >;
  readonly readSecret: ReadSecret;
}

/**
 * What the repository is asked for a comment takes at most this long, ms: the mirror of a worker that has not seen the project yet may need
 * minutes, and a comment without that part is worth more than none. Judgement.
 */
const repositoryMs = 10_000;
/** Of new findings of a gate. */
const mostFindings = 20;
const least = severities.at(-1) ?? 'info';

/**
 * The comment of a pull request, of what the store has of its run.
 *
 * @returns undefined where the run is not settled there.
 */
export async function pullRequestComment(
  deps: CommentDependencies,
  project: ProjectDefinition,
  number: number,
  url: string | undefined,
): Promise<string | undefined> {
  const { db } = deps.store;
  const run = await readRun(db, project.project, number);
  if (run === undefined || run.outcome === null) return undefined;
  const { into } = run.input.event;
  const [reports, gates, base, preview] = await Promise.all([
    readReports(db, project.project, number),
    readGates(db, project.project, number),
    baseOf(deps, run, into),
    into === undefined ? null : previewOf(deps, project, run, into),
  ]);
  const report: PullRequestReport = {
    run: number,
    commit: run.commit,
    outcome: run.outcome,
    reason: run.reason ?? '',
    ...(url === undefined ? {} : { url }),
    stages: run.stages,
    tests: testsOf(reports),
    coverage: coverageOf(reports),
    base: base === undefined ? null : { name: base.name, coverage: coverageOf(base.reports) },
    gates: gates.map((gate) => newsOf(gate, reports, base?.reports ?? [])),
    preview,
  };
  return renderPullRequest(report);
}

/** The newest run of the target branch that showed something; else the run of the last release. */
async function baseOf(
  { store: { db } }: CommentDependencies,
  { project, number }: RunRecord,
  into: string | undefined,
): Promise<{ readonly name: string; readonly reports: readonly StoredReport[] } | undefined> {
  const shown = into === undefined ? undefined : await lastShownRun(db, project, `refs/heads/${into}`, number);
  if (shown !== undefined)
    return { name: `run ${shown} of ${into ?? ''}`, reports: await readReports(db, project, shown) };
  const released = await lastReleasedRun(db, project, number);
  if (released === undefined) return undefined;
  return { name: `run ${released}, the last release,`, reports: await readReports(db, project, released) };
}

/** Findings of a gate against those of the base, suppressed ones left out as the gate left them out. */
function newsOf(gate: StoredGate, reports: readonly StoredReport[], base: readonly StoredReport[]): GateNews {
  const known = new Set(base.flatMap((report) => (report.state === 'read' ? report.findings : [])).map(printOf));
  const sieve = createSieve({
    least,
    ratings: [],
    suppressions: gate.suppressions.filter(({ expired }) => !expired),
    known,
    // Whether one has expired was decided when the gate was.
    at: new Date(0).toISOString(),
  });
  const fresh = { ...noCounts };
  const findings: Finding[] = [];
  let knownCount = 0;
  let suppressed = (gate.putAside ?? []).reduce((sum, { found }) => sum + found, 0);
  for (const report of reports) {
    if (report.state !== 'read' || report.gate !== gate.gate || report.stage !== gate.stage) continue;
    const sifted = sieve.sift(report.findings, report.counts, report.findings.length);
    for (const severity of severities) fresh[severity] += sifted.counted[severity];
    findings.push(...sifted.findings);
    knownCount += sifted.known;
    suppressed += sifted.suppressed;
  }
  const { verdict, blocks, reason } = gate;
  return {
    ...{ gate: gate.gate, verdict, blocks, reason, fresh },
    findings: findings.sort((a, b) => rankOf(a.severity) - rankOf(b.severity)).slice(0, mostFindings),
    known: knownCount,
    suppressed,
  };
}

function printOf({ fingerprint }: Finding): string {
  return fingerprint;
}

// ─── what a merge would deploy ──────────────────────────────────────────────────────────────────────────────────────────────────

async function previewOf(
  deps: CommentDependencies,
  project: ProjectDefinition,
  run: RunRecord,
  into: string,
): Promise<MergePreview> {
  const signal = AbortSignal.timeout(repositoryMs);
  const source = createSource(deps, project, run, signal);
  const event = { kind: 'push', ref: `refs/heads/${into}`, after: run.commit } as const;
  const built = run.definition === null ? undefined : await readDefinition(deps.store.db, run.definition);
  const pair = built === undefined ? undefined : reviveDefinition(built);
  // A push is given no parameters; what it has are those that the repository takes then.
  const values = pair === undefined ? {} : resolveParameters(pair.repository.parameters, {}, false);
  const known = { values, complete: pair !== undefined };
  const decision = routeEvent(event, routesOf(project), await source.changed(into), known);
  if (decision.kind === 'ignored') return { into, ignored: decision.why, environments: [] };
  const environments = await Promise.all(
    decision.route.environments.map((name) => environmentPreview(deps, source, { project, pair, name, run })),
  );
  return { into, ignored: null, environments };
}

interface Destination {
  readonly project: ProjectDefinition;
  /** Of the run; undefined where it is no longer kept. */
  readonly pair: DefinitionPair | undefined;
  readonly name: string;
  readonly run: RunRecord;
}

async function environmentPreview(
  { store: { db } }: CommentDependencies,
  source: Source,
  { project, pair, name, run }: Destination,
): Promise<EnvironmentPreview> {
  const [known, failed] = await Promise.all([
    readEnvironment(db, project.project, name),
    lastFailed(db, { project: project.project, environment: name }),
  ]);
  const live = known?.live ?? null;
  const spec = pair === undefined ? undefined : specOf(pair, name);
  const change = await source.change(live?.commit, pair?.repository.migrations?.folder);
  const { timeZone, workingHours } = project.calendar;
  const gates = run.stages.flatMap(({ steps, name: stage }) =>
    steps.map((step) => ({ name: `${stage}/${step.name}`, verdict: step.verdict })),
  );
  const named = (verdict: string): readonly string[] =>
    gates.filter((one) => one.verdict === verdict).map((one) => one.name);
  return {
    name,
    live: live?.version ?? null,
    approval: spec?.policy.approval.required ?? false,
    held: known?.hold?.reason ?? null,
    change,
    risk:
      change === null
        ? null
        : assessRisk({
            ...change,
            warnedChecks: named('failed'),
            erroredChecks: named('errored'),
            // Told by the plan, which has what was live then beside it.
            definitionChanged: false,
            configurationKeys: [],
            ...(typeof failed?.settledAt === 'string' ? { lastFailureAt: failed.settledAt } : {}),
            at: new Date().toISOString(),
            timeZone,
            workingHours,
            firstRelease: live === null,
            freeDiskUnknown: false,
          }),
  };
}

/** A repository whose document cannot be deployed there says so when it is planned. */
function specOf(pair: DefinitionPair, name: string): ReturnType<typeof resolveEnvironment> | undefined {
  try {
    return resolveEnvironment(pair, name);
  } catch {
    return undefined;
  }
}

/** The commit of a pull request in the mirror of this worker, as far as it can be had in time. */
interface Source {
  changed(into: string): Promise<readonly string[] | undefined>;
  change(live: string | undefined, migrations: string | undefined): Promise<EnvironmentPreview['change']>;
}

function createSource(
  { repositories, readSecret }: CommentDependencies,
  project: ProjectDefinition,
  { commit, ref, input }: RunRecord,
  signal: AbortSignal,
): Source {
  const name = project.project;
  const address = repositoryAddress(project, readSecret);
  const here = (async () => {
    const repository = await address;
    await repositories.ensureCommit({ repository, commit, ref: input.event.from ?? ref, signal });
    return true;
  })().catch(() => false);

  async function migrationsAt(at: string, folder: string | undefined): Promise<readonly MigrationRef[]> {
    if (folder === undefined) return [];
    const tree = (await repositories.listTree({ project: name, commit: at, path: folder, signal })) ?? [];
    const paths = tree.map(({ path }) => path).filter((path) => path.endsWith('.sql') && !path.includes('/'));
    const files = await Promise.all(
      paths.map(async (path) => ({
        path,
        text: (await repositories.readFile({ project: name, commit: at, path: `${folder}/${path}`, signal })) ?? '',
      })),
    );
    return migrationsOf(files);
  }

  return {
    async changed(into) {
      if (!(await here)) return undefined;
      // All that a merge brings: what the newest push changed is no more than a part of it.
      const event = { ...input.event, kind: 'pull-request', after: commit, into } as const;
      return await changedPaths(repositories, await address, event, signal).catch(() => undefined);
    },
    async change(live, folder) {
      if (!(await here)) return null;
      try {
        const mine = await migrationsAt(commit, folder);
        if (live === undefined) return { commits: 0, filesChanged: 0, linesChanged: 0, migrations: mine };
        // A mirror that is new has no more than it was asked for; where the forge does not give it out, nothing can be compared.
        await repositories.ensureCommit({ repository: await address, commit: live, signal });
        const source = await repositories.compare({ project: name, from: live, to: commit, signal });
        if (source === undefined) return null;
        const theirs = new Set((await migrationsAt(live, folder)).map((one) => one.name));
        return {
          commits: source.commits.length,
          filesChanged: source.filesChanged,
          linesChanged: source.linesChanged,
          migrations: mine.filter((one) => !theirs.has(one.name)).map((one) => ({ name: one.name, kind: one.kind })),
        };
      } catch {
        return null;
      }
    },
  };
}
