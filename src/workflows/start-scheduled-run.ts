import { patched, workflowInfo } from '@temporalio/workflow';
import type { Notice } from '../activities/contracts.ts';
import { describeFailure } from '../domain/failures.ts';
import { call } from './call.ts';
import { scheduling } from './proxies/run.ts';
import { message } from './proxies/word.ts';
import { isoNow, showPage } from './progress.ts';

interface ScheduledRunInput {
  readonly project: string;
  readonly schedule: string;
}

/**
 * One occasion of a schedule of a project; Temporal names it by its moment, so it is the same run however often it is tried. One that no run comes
 * of is told to people, and failed: nothing else would tell a scan that never ran from one that found nothing.
 */
export async function startScheduledRun(input: ScheduledRunInput): Promise<{ readonly run: number | null }> {
  const { project, schedule } = input;
  const occasion = workflowInfo().workflowId;
  let run: number | null;
  try {
    run = await call(scheduling.acceptScheduledRun, `asks for a run of ${project}`, { ...input, occasion });
  } catch (error) {
    if (patched('2026-11-27-schedule-failed')) await tellFailure(input, error);
    throw error;
  }
  showPage(`${project} · ${schedule}`, [run === null ? 'The project has no such schedule any more.' : `run ${run}`]);
  return { run };
}

/** Once a day for each kind of trouble: a schedule may come every few minutes. */
async function tellFailure({ project, schedule }: ScheduledRunInput, error: unknown): Promise<void> {
  const { type, message: reason, sentence } = describeFailure(error);
  const lines = [reason, sentence, 'The schedule goes on; until then `slipway run` starts one by hand.'];
  showPage(`${project} · ${schedule}`, ['**no run**', ...lines]);
  const notice: Notice = {
    event: 'run-failed',
    level: 'error',
    project,
    key: `schedule/${project}/${schedule}/${type}/${isoNow().slice(0, 10)}`,
    title: `${project}: the schedule ${schedule} has started no run`,
    lines,
    page: `/v1/runs?project=${project}`,
  };
  await call(message.sendNotice, notice.title, notice).catch(() => undefined);
}
