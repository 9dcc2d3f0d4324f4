import type { PollReport } from '../activities/contracts.ts';
import { describeFailure } from '../domain/failures.ts';
import { call } from './call.ts';
import { polling, readPolls } from './proxies/run.ts';
import { showPage } from './progress.ts';

/** Repositories that are asked at once. Judgement: each is a process of a worker and a connection to somebody's forge. */
const atOnce = 4;

export interface PollRoundReport {
  readonly projects: number;
  readonly accepted: number;
  /** What could not be looked at, or not all of it, and the next round tries again; and refs that no run can be of. */
  readonly problems: readonly string[];
}

/**
 * One round of looking for commits that no webhook told of, in every project that wants it. Begun every five minutes by a schedule; a round
 * that takes longer is not overtaken by the next.
 */
export async function pollRepositories(): Promise<PollRoundReport> {
  const projects = await call(readPolls.readPolled, 'which projects are polled', undefined);
  const lines: string[] = [];
  const problems: string[] = [];
  let accepted = 0;
  const queue = [...projects];
  const show = (): void => showPage('poll', [`${projects.length} projects`, ...lines, ...problems]);
  await Promise.all(
    Array.from({ length: Math.min(atOnce, queue.length) }, async () => {
      for (let project = queue.shift(); project !== undefined; project = queue.shift()) {
        try {
          const report = await call(polling.pollRepository, `looks at ${project}`, { project });
          accepted += report.accepted.length;
          lines.push(...report.accepted.map(({ ref, run }) => `${project}: ${ref} is run ${run}`));
          problems.push(...leftOf(project, report));
        } catch (error) {
          problems.push(`**not looked at** ${project}: ${describeFailure(error).message}`);
        }
        show();
      }
    }),
  );
  show();
  return { projects: projects.length, accepted, problems };
}

/** What a look has seen and did not run. */
function leftOf(project: string, { later = 0, unreadable = [] }: PollReport): readonly string[] {
  return [
    ...(later === 0 ? [] : [`**left for the next look** ${project}: ${later} branches and tags that have moved`]),
    ...unreadable.map(({ ref, why }) => `**no run of** ${project} ${ref}: ${why}`),
  ];
}
