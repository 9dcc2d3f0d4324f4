import { CancellationScope, patched } from '@temporalio/workflow';
import type { DeploymentResult, ForgeDeployment, RollbackReport } from '../domain/deployment.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { LiveRelease } from '../domain/release.ts';
import { call } from './call.ts';
import { between, isoNow } from './progress.ts';
import { telling } from './proxies/word.ts';
import type { RollbackCore } from './rollback-core.ts';
import { Initiation } from './stages/initiation.ts';
import { tellRollback, watchRollback } from './stages/notices.ts';
import { headed, recordIncident, underHeadings } from './stages/undo.ts';
import type { TurnReport } from './turn.ts';

/** What is said of a rollback: to people and with an incident while it goes on, to the forge and the environment at its end. */
export class RollbackAccount {
  readonly #core: RollbackCore;
  /** The one that is being opened, or was; undefined where there is none. */
  incident: Promise<string | undefined> = Promise.resolve(undefined);
  #initiated: Initiation | undefined;
  #slow: ReturnType<typeof watchRollback> | undefined;

  constructor(core: RollbackCore) {
    this.#core = core;
  }

  /** Tells people and opens the incident (B-13: in production every rollback has one); nothing waits for it but the report. */
  announce(): void {
    const core = this.#core;
    core.told = patched('2026-11-25-rollback-triggered');
    const { deployment, request, requestedAt } = core.input;
    if (!core.told) return;
    const { project, environment, number, version } = deployment;
    const why = `${request.by}: ${request.reason}`;
    // Where the policy cannot be read, the name has to say it.
    const production = core.policy().then(
      (policy) => policy.production,
      () => environment === 'production',
    );
    this.#slow = watchRollback(core.journal, deployment, requestedAt, production);
    const incident = production.then((is) =>
      is
        ? CancellationScope.nonCancellable(() =>
            recordIncident(
              { project, environment, number },
              request.reason,
              `${request.by} had ${environment} go back to ${version}: ${request.reason}`,
            ),
          )
        : undefined,
    );
    this.incident = incident;
    const told = production.then((is) => tellRollback(core.journal, deployment, why, is));
    this.#initiated = new Initiation({ incident, told });
  }

  /** What serves again, and what was left. Its end waits for it no longer than for notices; whether the project wants it said, the activity knows. */
  tellForge(): void {
    const core = this.#core;
    const { deployment, live: left, request } = core.input;
    const { project, environment, number, version } = deployment;
    const live = core.result?.live;
    // A rollback that brought nothing back has not changed what is live.
    if (live?.deployment !== number || !patched('2026-11-26-rollback-told-forge')) return;
    const words = `${request.by} rolled back: ${request.reason}`;
    const tell = async (input: ForgeDeployment): Promise<void> => {
      await call(telling.tellDeployment, 'tells the forge', input);
    };
    core.journal.background(
      tell({
        ...{ deployment: { project, environment, number }, version, commit: live.commit },
        ...{ state: 'success', description: words },
      }),
    );
    if (left === null || left.version === version) return;
    core.journal.background(
      tell({
        ...{
          deployment: { project, environment, number: left.deployment },
          version: left.version,
          commit: left.commit,
        },
        ...{ state: 'inactive', description: words },
      }),
    );
  }

  /** What the environment is told; from here on no word changes it. @param untouched - nothing was changed. @param incident - that was opened. */
  async report(
    outcome: Outcome,
    reason: string,
    live: LiveRelease | null,
    untouched: boolean,
    incident?: string,
  ): Promise<TurnReport> {
    const core = this.#core;
    core.closing = true;
    const closing = isoNow();
    const holds = outcome === 'rollback-failed' || outcome === 'held';
    const measured = (await this.#initiated?.settle()) === true ? this.#initiated : undefined;
    const { deployment, request, requestedAt, data } = core.input;
    const { project, environment, number } = deployment;
    const begun = core.records[0]?.startedAt ?? isoNow();
    const why = `${request.by}: ${request.reason}`;
    const totalMs = between(requestedAt, isoNow());
    const report: RollbackReport = {
      trigger: why,
      ...(deployment.version === '' ? {} : { to: deployment.version }),
      steps: underHeadings([
        headed('detect', requestedAt, begun, why),
        measured?.asRecord() ?? headed('initiate', begun, begun, 'environment locked'),
        ...core.records,
        ...(measured === undefined ? [] : [measured.asCleanUp(closing, [], !holds)]),
      ]),
      ...(core.servingAt === undefined ? {} : { servingAfterMs: between(requestedAt, core.servingAt) }),
      totalMs,
      ...(core.data === undefined ? {} : { data: core.data }),
      ...(incident === undefined ? {} : { incident }),
    };
    this.#slow ??= watchRollback(core.journal, deployment, requestedAt, Promise.resolve(true));
    this.#slow.stop(totalMs);
    const result: DeploymentResult = {
      project,
      environment,
      number,
      outcome,
      reason,
      ...(live === null ? {} : { live }),
      steps: core.journal.steps,
      rollback: report,
    };
    return {
      kind: 'result',
      result,
      live,
      previous: null,
      ...(untouched ? { untouched } : {}),
      ...(holds ? { hold: reason, ...(data === undefined ? {} : { data }) } : {}),
    };
  }
}
