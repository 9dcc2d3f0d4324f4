import { buffer } from 'node:stream/consumers';
import type { ProjectDefinition } from '../definition/project.ts';
import type { RunRef } from '../domain/run.ts';
import { createRedactor } from '../effects/redact.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import { coverageUploads } from '../providers/coverage-uploads/index.ts';
import type { CoverageReport } from '../providers/coverage-uploads/port.ts';
import type { StoredReport } from '../store/reports.ts';
import { readRun } from '../store/runs.ts';
import type { Store } from '../store/store.ts';
import { coverageBlob, isCoverage } from './coverage-kept.ts';
import { pathOf } from './forges.ts';
import type { Logs } from './logs.ts';
import type { ReadSecret } from './secrets.ts';

/** Of one request, and of the whole upload, ms; the activity has 60 s, and the forge is told meanwhile. Judgement. */
const requestTimeoutMs = 10_000;
const uploadMs = 30_000;
/** Of all reports of a run, bytes as they are. Judgement: what a worker can hold beside its work. */
const mostBytes = 64 * 2 ** 20;

export interface CoverageDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly blobs: Pick<BlobStore, 'read' | 'size'>;
  readonly readSecret: ReadSecret;
  readonly logs: Logs;
  /** For links. */
  readonly settings: { readonly publicUrl?: string | undefined };
}

export interface CoverageTold {
  readonly run: RunRef;
  readonly project: ProjectDefinition;
  /** 40 hexadecimal digits. */
  readonly commit: string;
  /** Full. */
  readonly ref: string;
  /** Of the run, in the order of their stages. */
  readonly reports: readonly StoredReport[];
  /** From 1. */
  readonly attempt: number;
}

/**
 * Uploads what the run's tools wrote of coverage, and writes into the log of the run how that went. Never throws: nothing of a run depends on it.
 *
 * @returns what was done, one line each; nothing where the project does not want it, or nothing was measured.
 */
export async function tellCoverage(deps: CoverageDependencies, told: CoverageTold): Promise<readonly string[]> {
  const { project, run, reports, attempt } = told;
  const wish = project.repository.coverage;
  if (wish === undefined || !reports.some(isCoverage)) return [];
  let line: string;
  try {
    line = await uploaded(deps, told, wish);
  } catch (error) {
    // A secret that is missing, a store or blobs that are away: none of these messages has a value in it.
    line = `warning: coverage was not uploaded: ${error instanceof Error ? error.message : String(error)}`;
  }
  const log = deps.logs.open({ run, stage: 'prepare', step: 'coverage.upload', attempt });
  log.say(line);
  await log.close();
  return [line];
}

async function uploaded(
  { store, blobs, readSecret, settings }: CoverageDependencies,
  { run, project, commit, ref, reports }: CoverageTold,
  wish: NonNullable<ProjectDefinition['repository']['coverage']>,
): Promise<string> {
  const { kept, lost } = await keptOf(blobs, run, reports);
  const without = lost.length === 0 ? '' : `; without ${lost.join(', ')}, which was not kept or is too large`;
  if (kept.length === 0) return `warning: coverage was not uploaded: no report of it was kept${without}`;
  const record = await readRun(store.db, run.project, run.number);
  const { event } = record?.input ?? {};
  const branch = event?.kind === 'pull-request' ? undefined : /^refs\/heads\/(.+)$/.exec(ref)?.[1];
  const { publicUrl } = settings;
  const token = await readSecret(wish.token);
  const service = coverageUploads[wish.kind]({
    url: wish.url,
    token,
    service: wish.service,
    repository: wish.repository ?? pathOf(project.repository.url),
    flags: wish.flags,
    timeoutMs: requestTimeoutMs,
  });
  const answer = await service.upload(
    {
      commit,
      build: `${run.project}/${run.number}`,
      reports: kept,
      ...(branch === undefined ? {} : { branch }),
      ...(event?.pullRequest === undefined ? {} : { pullRequest: event.pullRequest }),
      ...(publicUrl === undefined ? {} : { buildUrl: `${publicUrl}/v1/projects/${run.project}/runs/${run.number}` }),
    },
    uploadMs,
  );
  if (answer.kind === 'taken') return `coverage: ${kept.length} reports uploaded to ${wish.kind}${without}`;
  return createRedactor([token]).text(`warning: coverage was not uploaded to ${wish.kind}: ${answer.reason}`);
}

async function keptOf(
  blobs: CoverageDependencies['blobs'],
  run: RunRef,
  reports: readonly StoredReport[],
): Promise<{ readonly kept: readonly CoverageReport[]; readonly lost: readonly string[] }> {
  const kept: CoverageReport[] = [];
  const lost: string[] = [];
  const positions = new Map<string, number>();
  let bytes = 0;
  for (const report of reports) {
    const position = positions.get(report.stage) ?? 0;
    positions.set(report.stage, position + 1);
    if (!isCoverage(report)) continue;
    const key = coverageBlob(run, report.stage, position);
    const size = await blobs.size(key);
    if (size === undefined || bytes + size > mostBytes) {
      lost.push(report.path);
      continue;
    }
    bytes += size;
    kept.push({ path: report.path, content: await buffer(await blobs.read(key)) });
  }
  return { kept, lost };
}
