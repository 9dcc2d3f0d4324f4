/** What people are told of the checks of a run beside how it ended. */
import type { GateLine } from '../domain/evidence.ts';
import { type GateName, securityGates } from '../domain/gate.ts';
import type { RunOutcome } from '../domain/outcome.ts';
import type { ImageReport, RunInput, RunPlan, StageReport } from '../domain/run.ts';
import { testVerdictOf } from '../domain/test-verdict.ts';
import type { Notice } from './contracts.ts';

export interface CheckedRun {
  readonly input: RunInput;
  readonly number: number;
  readonly plan?: RunPlan;
  readonly stages: readonly StageReport[];
  readonly images: readonly ImageReport[];
  readonly outcome: RunOutcome;
}

/**
 * Its tests passed, its images were built, and what gates found that only warn: of security at High (S0-180), of anything else at Medium (S0-179).
 * What stopped the run is told by the run's own notice. Nothing is told of a run that nobody waits for any more.
 */
export function checkNotices(run: CheckedRun): readonly Notice[] {
  const { input, number, plan, stages, images, outcome } = run;
  if (plan === undefined || !concluded.includes(outcome)) return [];
  const { project, event } = input;
  const title = `${project} #${number}`;
  const about = `version ${plan.version}, commit ${event.after.slice(0, 12)} by ${event.author}`;
  const notice = (
    kind: Notice['event'],
    level: Notice['level'],
    what: string,
    lines: readonly string[],
    command: string,
  ): Notice => ({
    event: kind,
    level,
    project,
    key: `${project}/run/${number}/${kind}`,
    title: `${title}: ${what}`,
    lines: [about, ...lines, command],
  });
  const status = `slipway status ${title.replace(' ', '')}`;
  const report = `slipway report ${title.replace(' ', '')}`;

  const told: Notice[] = [];
  if (testVerdictOf(plan, stages) === 'passed') {
    told.push(
      notice(
        'tests-passed',
        'info',
        'tests passed',
        linesOf(stages, ({ gate }) => gate === 'tests'),
        report,
      ),
    );
  }
  if (plan.buildImages !== 'none' && plan.images.length > 0 && plan.images.every((name) => isIn(images, name))) {
    const built = images.map(
      ({ name, digest, reused }) => `image ${name} ${digest.slice(0, 19)}${reused ? ' (built before)' : ''}`,
    );
    told.push(notice('build-succeeded', 'info', `built ${plan.images.join(', ')}`, built, status));
  }
  const quality = stages.flatMap(warnings).filter(({ gate }) => !isSecurity(gate));
  if (quality.length > 0) {
    const lines = linesOf(stages, (line) => isWarning(line) && !isSecurity(line.gate));
    told.push(notice('code-quality-warning', 'warning', `${namesOf(quality)} warned`, lines, report));
  }
  const security = stages.flatMap(warnings).filter(({ gate }) => isSecurity(gate));
  if (security.length > 0) {
    const lines = linesOf(stages, (line) => isWarning(line) && isSecurity(line.gate));
    const level = security.some(({ verdict }) => verdict === 'failed') ? 'error' : 'warning';
    told.push(notice('security-alert', level, `${namesOf(security)} warned`, lines, report));
  }
  return told;
}

/** A run that came to an end of its own; what somebody took away is told by that. */
const concluded: readonly RunOutcome[] = ['succeeded', 'failed', 'errored'];

function isIn(images: readonly ImageReport[], name: string): boolean {
  return images.some((image) => image.name === name);
}

function isWarning({ verdict, blocks }: GateLine): boolean {
  return verdict !== 'passed' && !blocks;
}

function warnings({ gates = [] }: StageReport): readonly GateLine[] {
  return gates.filter(isWarning);
}

/** Those with a number, and what is built on: an open port is nobody's matter of taste. */
function isSecurity(gate: GateName): boolean {
  return securityGates[gate] !== undefined || gate === 'infrastructure';
}

function namesOf(lines: readonly GateLine[]): string {
  return [...new Set(lines.map(({ gate }) => gate))].map((gate) => `gate ${gate}`).join(', ');
}

function linesOf(stages: readonly StageReport[], which: (line: GateLine) => boolean): readonly string[] {
  return stages.flatMap(({ name, gates = [] }) =>
    gates.filter(which).map(({ gate, verdict, reason }) => `${name}: gate ${gate} ${verdict}: ${reason}`),
  );
}
