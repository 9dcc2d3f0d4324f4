import { workflowInfo } from '@temporalio/workflow';
import { call } from './call.ts';
import { scheduling } from './proxies/run.ts';
import { showPage } from './progress.ts';

/** One occasion of a schedule of a project; Temporal names it by its moment, so it is the same run however often it is tried. */
export async function startScheduledRun(input: {
  readonly project: string;
  readonly schedule: string;
}): Promise<{ readonly run: number | null }> {
  const { project, schedule } = input;
  const run = await call(scheduling.acceptScheduledRun, `asks for a run of ${project}`, {
    ...input,
    occasion: workflowInfo().workflowId,
  });
  showPage(`${project} · ${schedule}`, [run === null ? 'The project has no such schedule any more.' : `run ${run}`]);
  return { run };
}
