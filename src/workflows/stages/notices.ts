import { patched } from '@temporalio/workflow';
import type { Notice } from '../../activities/contracts.ts';
import { type DeploymentInput, type DeploymentRef, rollbackAlertMs, startAlertMs } from '../../domain/deployment.ts';
import { tellFailure } from '../../domain/failures.ts';
import { type NoticeEvent, alarmLevel } from '../../domain/notice.ts';
import type { NoticeLevel } from '../../domain/outcome.ts';
import type { Plan } from '../../domain/plan.ts';
import { Alarm } from '../alarm.ts';
import type { Journal } from '../journal.ts';
import { took } from '../progress.ts';
import { rollbackMeasured } from './initiation.ts';

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

/** Tells people that a rollback which somebody asked for is on its way. @returns whether they were, once that is known. */
export function tellRollback(
  journal: Journal,
  deployment: DeploymentInput,
  why: string,
  production: boolean,
): Promise<boolean> {
  const { project, environment, number, version } = deployment;
  const name = `${project}/${environment}/${number}`;
  return journal.tell({
    event: 'rollback-triggered',
    level: alarmLevel(production),
    project,
    environment,
    key: `${name}/rollback-triggered`,
    title: `${project} ${environment}: going back to ${version}`,
    lines: [why, `slipway status ${name} --watch`],
  });
}

/**
 * One alert when a whole rollback takes longer than it may (B-07), while it still does.
 *
 * @param since - ISO 8601: when it was decided.
 * @param production - settles when it is known; asked when there is something to tell, and never waited for before.
 * @returns what to stop when it has ended.
 */
export function watchRollback(
  journal: Journal,
  { project, environment, number }: DeploymentRef,
  since: string,
  production: Promise<boolean>,
): { stop(totalMs: number): void } {
  const name = `${project}/${environment}/${number}`;
  const tell = (event: NoticeEvent, level: NoticeLevel, how: string): void =>
    journal.notify({
      event,
      level,
      project,
      environment,
      key: `${name}/rollback-slow`,
      title: `${project} ${environment}: the rollback ${how}`,
      lines: [
        `It should end within ${took(rollbackAlertMs)}; its steps show where the time goes.`,
        `slipway status ${name}`,
      ],
    });
  if (!patched(rollbackMeasured)) {
    const stop = (totalMs: number): void => {
      if (totalMs > rollbackAlertMs) tell('rollback-triggered', 'critical', `took ${took(totalMs)}`);
    };
    return { stop };
  }
  const left = Date.parse(since) + rollbackAlertMs - Date.now();
  return new Alarm(left, 'a rollback that takes long', () => {
    void production.then((is) => tell('rollback-slow', alarmLevel(is), `is not over after ${took(rollbackAlertMs)}`));
  });
}

/** That a hotfix is live and not in the branches that the next releases come from: those would take it back. */
export function notBroughtBack(
  { project, environment, number }: DeploymentRef,
  version: string,
  error: unknown,
): Notice {
  const name = `${project}/${environment}/${number}`;
  return {
    event: 'merge-back-failed',
    level: 'error',
    project,
    environment,
    key: `${name}/merge-back-failed`,
    title: `${project} ${environment}: the hotfix ${version} is live, and was not asked back into its branches`,
    lines: [
      tellFailure(error),
      'Open the missing pull requests by hand: a release of a branch that lacks the hotfix takes it back.',
      `slipway status ${name}`,
    ],
  };
}

/** Tells people while a start goes on that it takes longer than five minutes. @returns what to stop when it has ended. */
export function watchStart(journal: Journal, { deployment, version }: Patient, readyMs: number): Pick<Alarm, 'stop'> {
  if (!patched('2026-11-26-start-slow')) return { stop: () => undefined };
  const { project, environment, number } = deployment;
  const name = `${project}/${environment}/${number}`;
  return new Alarm(startAlertMs, 'a start that takes long', () => {
    journal.notify({
      event: 'start-slow',
      level: 'warning',
      project,
      environment,
      key: `${name}/start-slow`,
      title: `${project} ${environment}: ${version} has been starting for ${took(startAlertMs)}`,
      lines: [
        `It is waited for: healthy within ${took(readyMs)} of its start, and tried again if that breaks off.`,
        `slipway status ${name}`,
      ],
    });
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
