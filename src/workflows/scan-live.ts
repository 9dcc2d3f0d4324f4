import { workflowInfo } from '@temporalio/workflow';
import type { LiveEnvironment, Notice } from '../activities/contracts.ts';
import { describeFailure } from '../domain/failures.ts';
import { erroredScan } from '../domain/image-scan.ts';
import {
  type LiveImageScan,
  type LiveScan,
  type ScannedRelease,
  isCriticalFinding,
  judgeLiveScan,
} from '../domain/live-scan.ts';
import type { ReleaseImage } from '../domain/release.ts';
import type { UpkeepRound } from '../domain/upkeep.ts';
import { call } from './call.ts';
import { readingLive, rounds, scanning } from './proxies/upkeep.ts';
import { message } from './proxies/word.ts';
import { showPage } from './progress.ts';

/** Input of `scanLive`. */
export interface LiveScanInput {
  readonly project: string;
  /** Default: every environment of the project. */
  readonly environment?: string;
}

/** Images that are scanned at once. Judgement: each is a program with a database in memory. */
const atOnce = 2;
/** Lines of a notice. */
const mostTold = 10;

/**
 * Scans what is live, and what was before it, with the advisories of today, and tells what was not known when it was built. What cannot be
 * scanned is errored, never well; nothing that runs is touched.
 */
export async function scanLive(input: LiveScanInput): Promise<readonly UpkeepRound[]> {
  const environments = await call(readingLive.readLive, `what is live of ${input.project}`, input);
  const scans = await scanImages(input.project, environments);
  const done: UpkeepRound[] = [];
  for (const place of environments) {
    const { project, environment, known } = place;
    const releases = place.releases.map(({ role, version, images }): ScannedRelease => {
      return { role, version, images: images.flatMap(({ digest }) => scans.get(digest) ?? []) };
    });
    const judged = judgeLiveScan({ project, environment }, releases, known);
    await call(rounds.recordRound, `${project}/${environment}: ${judged.round.verdict}`, judged.round);
    done.push(judged.round);
    showPage(
      `scan of ${input.project}`,
      done.flatMap(({ subject, verdict, summary, lines }) => [`${subject}: ${verdict}, ${summary}`, ...lines]),
    );
    const notice = noticeOf(place, judged);
    if (notice !== undefined) await call(message.sendNotice, notice.title, notice).catch(() => undefined);
  }
  return done;
}

/** Each digest once, in however many environments it is. */
async function scanImages(
  project: string,
  environments: readonly LiveEnvironment[],
): Promise<ReadonlyMap<string, LiveImageScan>> {
  const wanted = new Map<string, { readonly image: ReleaseImage; readonly build: number | null }>();
  for (const { releases } of environments) {
    for (const { images, build } of releases) for (const image of images) wanted.set(image.digest, { image, build });
  }
  const scans = new Map<string, LiveImageScan>();
  const queue = [...wanted.values()];
  await Promise.all(
    Array.from({ length: Math.min(atOnce, queue.length) }, async () => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        const { image, build } = next;
        scans.set(image.digest, await scanOne(project, image, build));
      }
    }),
  );
  return scans;
}

async function scanOne(project: string, image: ReleaseImage, build: number | null): Promise<LiveImageScan> {
  try {
    return await call(scanning.scanLiveImage, `scans ${image.name}`, { project, image, build });
  } catch (error) {
    const scan = erroredScan(describeFailure(error).message, new Date(Date.now()).toISOString());
    return { name: image.name, digest: image.digest, scan, findings: [], known: null };
  }
}

/** New findings in every round that has some; that nothing is known, once a day. */
function noticeOf(
  { project, environment, production }: LiveEnvironment,
  { round, fresh }: LiveScan,
): Notice | undefined {
  const common = {
    event: 'security-alert' as const,
    project,
    environment,
    page: `/v1/upkeep?kind=scan&project=${project}`,
  };
  const name = `${project}/${environment}`;
  if (fresh.length > 0) {
    return {
      ...common,
      level: production && isCriticalFinding(fresh) ? 'critical' : 'error',
      key: `upkeep/scan/${name}/${workflowInfo().runId}`,
      title: `${name}: ${fresh.length} new advisories about what is live`,
      lines: [...fresh.slice(0, mostTold).map(({ line }) => line), `slipway upkeep --kind scan --project ${project}`],
    };
  }
  if (round.verdict !== 'errored') return undefined;
  return {
    ...common,
    level: 'warning',
    key: `upkeep/scan/${name}/errored/${new Date(Date.now()).toISOString().slice(0, 10)}`,
    title: `${name}: what is live could not be scanned`,
    lines: [round.summary, ...round.lines.slice(0, mostTold)],
  };
}
