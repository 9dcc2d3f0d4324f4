import { activityInfo } from '@temporalio/activity';
import { reviveDefinition } from '../definition/load.ts';
import { resolveGates } from '../definition/gates.ts';
import type { DefinitionPair } from '../definition/pair.ts';
import { resolvePipeline } from '../definition/pipeline.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import { sarifOf, scanningGates } from '../domain/code-scanning.ts';
import { countFindings } from '../domain/counted-findings.ts';
import { ProviderError, toFailure } from '../domain/failures.ts';
import { type IssueChange, changesOf } from '../domain/finding-issues.ts';
import { codeScannings, isScanningKind } from '../providers/code-scannings/index.ts';
import type { ForgeApiOptions } from '../providers/forge-apis/port.ts';
import { forgeIssues, isIssueKind } from '../providers/forge-issues/index.ts';
import type { IssueTracker } from '../providers/forge-issues/port.ts';
import { isFileOf } from '../providers/reports/file.ts';
import { readDefinition } from '../store/projects.ts';
import { type StoredReport, readReports } from '../store/reports.ts';
import { readNewestCommit } from '../store/runs.ts';
import type { FindingActivities } from './contracts.ts';
import { type CoverageDependencies, tellCoverage } from './coverage-told.ts';
import { forgeApiOf } from './forges.ts';

/** Of one request, ms. */
const requestTimeoutMs = 10_000;
/** How long the result of an upload is waited for, ms; the activity has 60 s. Judgement. */
const scanningMs = 30_000;

type Told = Parameters<FindingActivities['tellFindings']>[0];

/** Tells forges what the gates of a run found, and a service for coverage what its tests reached. */
export function createFindingActivities(deps: CoverageDependencies): FindingActivities {
  const { store, readSecret } = deps;

  async function tell({ run, definition, commit, ref }: Told): Promise<readonly string[]> {
    const text = await readDefinition(store.db, definition);
    if (text === undefined) throw new ProviderError('NotFound', `No definition ${definition.slice(0, 12)} is kept.`);
    const pair = reviveDefinition(text);
    const { project } = pair;
    const reports = await readReports(store.db, run.project, run.number);
    const { attempt } = activityInfo();
    // Beside each other: neither may take the time of the other one. Another attempt uploads once more, which changes no figure.
    const [forge, coverage] = await Promise.allSettled([
      tellForge(pair, reports, { run, commit, ref }),
      tellCoverage(deps, { run, project, commit, ref, reports, attempt }),
    ]);
    for (const one of [forge, coverage]) if (one.status === 'rejected') throw one.reason;
    return [forge, coverage].flatMap((one) => (one.status === 'fulfilled' ? one.value : []));
  }

  async function tellForge(
    pair: DefinitionPair,
    reports: readonly StoredReport[],
    { run, commit, ref }: Omit<Told, 'definition'>,
  ): Promise<readonly string[]> {
    const { project } = pair;
    const { findings: wish, releaseBranch } = project.repository;
    const place = forgeApiOf(project);
    if (wish === undefined || place === undefined) return [];
    const { kind, url, repository, token } = place;
    const options: ForgeApiOptions = {
      token: await readSecret(token),
      repository,
      timeoutMs: requestTimeoutMs,
      ...(url === undefined ? {} : { url }),
    };
    const policies = resolveGates(pair);
    const at = new Date().toISOString();
    const said: string[] = [];

    if (wish.codeScanning && isScanningKind(kind)) {
      const security = reports.filter(({ gate }) => scanningGates.includes(gate));
      const { findings } = countFindings(security, policies, 'info', at);
      const looked = security.flatMap((report) =>
        report.state === 'read' ? [{ ...report.tool, gate: report.gate }] : [],
      );
      if (looked.length > 0) {
        const scanning = await codeScannings[kind](options);
        const sarif = sarifOf(run.project, findings, looked);
        const answer = await scanning.upload({ commit, ref, sarif }, scanningMs);
        const errors = answer.kind === 'failed' ? `: ${answer.errors.join('; ').slice(0, 500)}` : '';
        said.push(`code scanning of ${findings.length} findings: ${answer.kind}${errors}`);
      }
    }
    if (wish.issues !== undefined && ref === `refs/heads/${releaseBranch}` && isIssueKind(kind)) {
      const newest = await readNewestCommit(store.db, run.project, ref);
      if (newest !== commit) {
        said.push(`issues: left alone, ${ref} is at ${newest?.slice(0, 12) ?? 'another commit'} by now`);
        return said;
      }
      const tracker = await forgeIssues[kind](options);
      const counted = countFindings(reports, policies, 'critical', at);
      const unread = unreadSources(pair, reports);
      const lookedAt = new Set([...counted.lookedAt].filter((source) => !unread.has(source)));
      const changes = changesOf(run.project, { ...counted, lookedAt }, await tracker.list(), wish.issues.most);
      for (const change of changes) await apply(tracker, change);
      said.push(`issues: ${counted.findings.length} critical findings, ${changes.length} changes`);
    }
    return said;
  }

  return {
    tellFindings: async (told) => {
      try {
        return await tell(told);
      } catch (error) {
        throw toFailure(error);
      }
    },
  };
}

/**
 * `gate/kind` of which a report that the pipeline may write was not read: its stage was left out, or did not come so far. Another tool that writes
 * the same form says nothing of what that one would have shown.
 */
function unreadSources(pair: DefinitionPair, reports: readonly StoredReport[]): ReadonlySet<string> {
  const unread = resolvePipeline(pair).stages.flatMap(({ name, reports: declared = [] }) =>
    declared.flatMap(({ kind, gate, path }) => {
      const read = reports.some(
        (report) =>
          report.state === 'read' &&
          report.stage === name &&
          report.kind === kind &&
          report.gate === gate &&
          isFileOf(path, report.path),
      );
      return gate === undefined || read ? [] : [`${gate}/${kind}`];
    }),
  );
  return new Set(unread);
}

/** Whether a run of this project has something to tell. */
export function tellsFindings(project: ProjectDefinition): boolean {
  const { findings, coverage } = project.repository;
  return coverage !== undefined || (findings !== undefined && forgeApiOf(project) !== undefined);
}

async function apply(tracker: IssueTracker, change: IssueChange): Promise<void> {
  const { title, body } = change;
  switch (change.kind) {
    case 'create':
      await tracker.create({ title, body });
      return;
    case 'update':
      await tracker.update({ number: change.number, title, body, open: true });
      return;
    case 'close':
      await tracker.update({ number: change.number, title, body, open: false });
      // After it, for a word that is lost is better than one that is said twice.
      await tracker.comment(change.number, change.comment);
  }
}
