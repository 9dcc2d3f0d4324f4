import type { DeploymentInput } from '../../domain/deployment.ts';
import type { RunOutcome } from '../../domain/outcome.ts';
import { type PublishedPackage, packageLine } from '../../domain/packages.ts';
import type { ImageReport, RunInput, RunPlan, StageReport } from '../../domain/run.ts';
import { nameOfRun } from '../../domain/run-start.ts';
import { placeSentence } from '../../domain/run-turn.ts';
import { type RunView, deploymentId } from '../messages.ts';
import { showPage } from '../progress.ts';
import type { StartedRun } from './start-run.ts';

/** All that the page of a run says. */
export interface RunPage {
  readonly input: RunInput;
  readonly plan: RunPlan | undefined;
  readonly phase: RunView['phase'];
  readonly place: RunView['queue'];
  readonly allowed: RunView['allowed'];
  readonly stages: readonly StageReport[];
  readonly starts: readonly StartedRun[];
  readonly images: readonly ImageReport[];
  readonly packages: readonly PublishedPackage[];
  readonly deployments: readonly DeploymentInput[];
  readonly ending: { readonly outcome: RunOutcome; readonly reason: string } | undefined;
}

/** What a stranger reads of a run in the Temporal UI. */
export function showRun(page: RunPage): void {
  const { input, plan, phase, place, allowed, ending } = page;
  const { project, event, startedBy } = input;
  showPage(
    `${project} ${plan?.version ?? event.after.slice(0, 10)} · ${ending?.outcome ?? phase}`,
    [
      `${event.kind} of ${event.ref} by ${event.author}`,
      phase === 'awaiting-word'
        ? `Waits for a word: signal \`allow\` with \`{"by": "…", "commit": "${event.after.slice(0, 12)}"}\``
        : undefined,
      place === undefined ? undefined : `${placeSentence(place)} Since ${place.since}, until ${place.until}`,
      allowed === undefined ? undefined : `allowed by ${allowed.by}${allowed.proven ? '' : ' (unproven)'}`,
      plan === undefined
        ? undefined
        : `commit ${plan.commit.sha.slice(0, 10)}: ${plan.commit.message.split('\n')[0] ?? ''}`,
      ...page.images.map((image) => `image ${image.name} ${image.digest}${image.reused ? ' (built before)' : ''}`),
      ...page.packages.map(packageLine),
      startedBy === undefined ? undefined : `started by ${nameOfRun(startedBy)}, stage ${startedBy.stage}`,
      ...page.starts.map((started) => `stage ${started.stage} started ${nameOfRun(started)}`),
      ...page.deployments.map((deployment) => `deployment \`${deploymentId(deployment)}\``),
      ending?.reason,
    ],
    page.stages.map(({ name, verdict, startedAt, durationMs, detail }) => ({
      name,
      verdict,
      startedAt,
      durationMs,
      ...(detail === undefined ? {} : { detail }),
    })),
  );
}
