import { patched } from '@temporalio/workflow';
import type { DeploymentInput, DeploymentRef } from '../../domain/deployment.ts';
import { alarmLevel } from '../../domain/notice.ts';
import type { Plan } from '../../domain/plan.ts';
import type { Journal } from '../journal.ts';

/** What people are told of a turn while it goes on; how it ends is told with its outcome. */

/** Tells people that a release is on its way: nothing has been changed yet, but everything that could stand in its way has been asked. */
export function tellStarted(journal: Journal, deployment: DeploymentInput, plan: Plan): void {
  if (!patched('2026-11-25-started')) return;
  const { project, environment, number, version, requestedBy, author } = deployment;
  const name = `${project}/${environment}/${number}`;
  journal.notify({
    event: 'started',
    level: 'info',
    project,
    environment,
    key: `${name}/started`,
    title: `${project} ${version} goes to ${environment}`,
    lines: [
      `from ${plan.changes.fromVersion ?? 'nothing'}; asked for by ${requestedBy}, author ${author}`,
      `slipway status ${name} --watch`,
    ],
  });
}

/** Tells people that a rollback which somebody asked for is on its way. */
export function tellRollback(journal: Journal, deployment: DeploymentInput, why: string, production: boolean): void {
  const { project, environment, number, version } = deployment;
  const name = `${project}/${environment}/${number}`;
  journal.notify({
    event: 'rollback-triggered',
    level: alarmLevel(production),
    project,
    environment,
    key: `${name}/rollback-triggered`,
    title: `${project} ${environment}: going back to ${version}`,
    lines: [why, `slipway status ${name} --watch`],
  });
}

/** A release whose health was asked for. */
export interface Patient {
  readonly deployment: DeploymentRef;
  readonly version: string;
  readonly production: boolean;
}

/**
 * Tells people at once that a release failed a check of its health; what becomes of it is told by its outcome.
 *
 * @param where - part of the notice's key: each place is told once.
 */
export function tellUnhealthy(
  journal: Journal,
  patient: Patient,
  where: 'start' | 'slot' | 'router' | 'watch',
  why: string,
): void {
  if (!patched('2026-11-25-health-check-failed')) return;
  const { project, environment, number } = patient.deployment;
  const name = `${project}/${environment}/${number}`;
  journal.notify({
    event: 'health-check-failed',
    level: alarmLevel(patient.production),
    project,
    environment,
    key: `${name}/health-check-failed/${where}`,
    title: `${project} ${environment}: ${patient.version} ${whereWords[where]}`,
    lines: [why, `slipway status ${name}`],
  });
}

const whereWords = {
  start: 'does not get healthy',
  slot: 'fails its probes, before it has traffic',
  router: 'fails its probes, with traffic',
  watch: 'fails a probe while it is watched',
} as const;
