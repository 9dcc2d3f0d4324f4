import { CancellationScope, patched, setHandler } from '@temporalio/workflow';
import type { Change } from '../activities/contracts.ts';
import type { DataRollback, DeploymentResult, ForgeDeployment, RollbackReport } from '../domain/deployment.ts';
import { describeFailure, failure } from '../domain/failures.ts';
import type { Outcome } from '../domain/outcome.ts';
import type { PlanPolicy } from '../domain/plan.ts';
import { type LiveRelease, otherSlot } from '../domain/release.ts';
import { sentences } from '../domain/sentences.ts';
import { readAbort } from './inbound.ts';
import { Journal } from './journal.ts';
import { type AbortMessage, abortSignal, abortUpdate } from './messages.ts';
import { call } from './call.ts';
import { awaitState, read, startLimits } from './proxies/deployment.ts';
import { compensation, trafficBack, undoLimits } from './proxies/undo.ts';
import { telling } from './proxies/word.ts';
import { between, isoNow, showPage } from './progress.ts';
import { Saga, type UndoRecord, withoutEnd } from './saga.ts';
import { type Patient, tellRollback, tellUnhealthy, watchRollback, watchStart } from './stages/notices.ts';
import { bringDataBack, exportLaterWrites, owesExport } from './stages/data-back.ts';
import { Initiation } from './stages/initiation.ts';
import { headed, recordIncident, underHeadings, verifyServing } from './stages/undo.ts';
import type { RollbackInput, TurnReport } from './turn.ts';

/**
 * A rollback that a person asked for: traffic to an earlier release at once where it still runs, else that release is started beside the live
 * one first. The database is left as it is, unless an earlier rollback owes it and a person said to try again.
 *
 * Aborted, it stops where it is: nothing is tried any more and nothing taken back, and the environment is held for a person.
 */
export async function rollbackRelease(input: RollbackInput): Promise<TurnReport> {
  return await CancellationScope.nonCancellable(() => new Rollback(input).run());
}

const words = '{"by": "…", "reason": "…"}';

class Rollback {
  readonly #input: RollbackInput;
  readonly #journal: Journal;
  readonly #saga = new Saga();
  readonly #records: UndoRecord[] = [];
  readonly #work = new CancellationScope({ cancellable: true });
  #step = 0;
  #leave = false;
  #abort: AbortMessage | undefined;
  #closing = false;
  /** Where traffic is on its way to. */
  #target: LiveRelease | undefined;
  #servingAt: string | undefined;
  /** People know of it, and its incident is being opened. */
  #told = false;
  #incident: Promise<string | undefined> = Promise.resolve(undefined);
  #initiated: Initiation | undefined;
  #slow: ReturnType<typeof watchRollback> | undefined;
  #reading: Promise<PlanPolicy> | undefined;
  #live: LiveRelease | null;
  #data: DataRollback | undefined;
  #result: DeploymentResult | undefined;

  constructor(input: RollbackInput) {
    this.#input = input;
    this.#live = input.live;
    this.#journal = new Journal(input.deployment, 'rollback', () => this.#show());
    setHandler(
      abortSignal,
      (raw) => {
        const abort = readAbort(raw);
        if (patched('2026-11-25-rollback-stops')) this.abort(abort);
        // Before, all that could be stopped was the endless trying to move traffic.
        else if (abort.noRollback === true) this.#leave = true;
      },
      { description: `Stops it where it is, and holds the environment; a rollback is not undone: ${words}` },
    );
    setHandler(
      abortUpdate,
      (raw) => {
        this.abort(readAbort(raw));
        return { accepted: true } as const;
      },
      {
        validator: (raw: AbortMessage) => {
          if (!this.#closing) return;
          throw failure('TooLate', `${readAbort(raw).by} is too late: the rollback has ended.`);
        },
      },
    );
  }

  abort(abort: AbortMessage): void {
    if (this.#abort !== undefined || this.#closing) return;
    this.#abort = abort;
    this.#leave = true;
    this.#work.cancel();
  }

  async run(): Promise<TurnReport> {
    const report = await this.#goBack();
    if (report.kind === 'result') this.#result = report.result;
    this.#tellForge();
    this.#journal.pass('closed', this.#result?.outcome);
    const told = this.#journal.handOver();
    await this.#journal.drained();
    return report.kind === 'result' ? { ...report, ...told } : report;
  }

  /** What serves again, and what was left. Its end waits for it no longer than for notices; whether the project wants it said, the activity knows. */
  #tellForge(): void {
    const { deployment, live: left, request } = this.#input;
    const { project, environment, number, version } = deployment;
    const live = this.#result?.live;
    // A rollback that brought nothing back has not changed what is live.
    if (live?.deployment !== number || !patched('2026-11-26-rollback-told-forge')) return;
    const words = `${request.by} rolled back: ${request.reason}`;
    const tell = async (input: ForgeDeployment): Promise<void> => {
      await call(telling.tellDeployment, 'tells the forge', input);
    };
    this.#journal.background(
      tell({
        ...{ deployment: { project, environment, number }, version, commit: live.commit },
        ...{ state: 'success', description: words },
      }),
    );
    if (left === null || left.version === version) return;
    this.#journal.background(
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

  async #goBack(): Promise<TurnReport> {
    const { standby, deployment, request } = this.#input;
    if (deployment.version === '') {
      this.#journal.enter('rolling-back');
      return await this.#report(
        'rollback-unavailable',
        sentences(`There is no release to go back to (${request.by}: ${request.reason})`),
        this.#live,
        true,
      );
    }
    try {
      return await this.#work.run(async () => {
        const target = standby === null ? await this.#startBeside() : await this.#flip(standby);
        return await this.#finish(target);
      });
    } catch (error) {
      if (this.#abort !== undefined) return await this.#stopped(this.#abort);
      const { message } = describeFailure(error);
      const undone = await this.#saga.unwind();
      const left = undone.every((one) => one.done) ? 'What serves is as before' : 'What serves now must be looked at';
      const reason = sentences(
        `The rollback to ${deployment.version} did not work: ${message}`,
        `${left}: \`retry\`, \`reconcile\` or \`unlock\`.`,
      );
      return await this.#report('rollback-failed', reason, this.#live, false, await this.#incident);
    }
  }

  /** On a person's word: nothing is tried any more, and nothing taken back. */
  async #stopped({ by, reason = 'no reason given' }: AbortMessage): Promise<TurnReport> {
    const { version } = this.#input.deployment;
    const target = this.#target;
    const served = target !== undefined && this.#servingAt !== undefined;
    const now = served
      ? `${version} serves`
      : target === undefined
        ? 'What serves is as before'
        : 'What serves now must be looked at';
    return await this.#report(
      'held',
      sentences(
        `${by} stopped the rollback to ${version}: ${reason}`,
        `${now}, and the rest is left: \`retry\`, \`reconcile\` or \`unlock\`.`,
      ),
      served ? { ...target, deployment: this.#input.deployment.number, since: isoNow() } : this.#live,
      false,
      await this.#incident,
    );
  }

  /** Tells people and opens the incident (B-13: in production every rollback has one); nothing waits for it but the report. */
  #announce(): void {
    this.#told = patched('2026-11-25-rollback-triggered');
    const { deployment, request, requestedAt } = this.#input;
    if (!this.#told) return;
    const { project, environment, number, version } = deployment;
    const why = `${request.by}: ${request.reason}`;
    // Where the policy cannot be read, the name has to say it.
    const production = this.#policy().then(
      (policy) => policy.production,
      () => environment === 'production',
    );
    this.#slow = watchRollback(this.#journal, deployment, requestedAt, production);
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
    this.#incident = incident;
    const told = production.then((is) => tellRollback(this.#journal, deployment, why, is));
    this.#initiated = new Initiation({ incident, told });
  }

  /** The release runs beside the live one: traffic first, everything else after. */
  async #flip(standby: LiveRelease): Promise<LiveRelease> {
    const moving = this.#moveTraffic(standby);
    // Rides along with the move, which is on its way already.
    this.#journal.enter('rolling-back');
    this.#announce();
    await moving;
    await this.#verify(standby);
    return standby;
  }

  async #startBeside(): Promise<LiveRelease> {
    const { deployment } = this.#input;
    const { project, environment, number, version } = deployment;
    this.#journal.enter('rolling-back');
    this.#announce();
    const [facts, policy] = await Promise.all([
      call(read.readEnvironment, 'reads what is live', { project, environment, number }),
      this.#policy(),
    ]);
    this.#live = facts.live;
    const slot = facts.live === null ? 'blue' : otherSlot(facts.live.slot);
    const known = facts.previous?.version === version ? facts.previous : undefined;
    const target: LiveRelease = {
      version,
      commit: known?.commit ?? '',
      images: known?.images ?? [],
      slot,
      deployment: number,
      since: isoNow(),
    };
    this.#saga.register({ heading: 'clean-up', run: () => this.#stopSlot(target, policy) });
    const patient = { deployment, version, production: policy.production };
    try {
      await this.#measure('deploy-previous', `${version} runs in ${slot}`, () => this.#start(target));
    } catch (error) {
      const { type, message } = describeFailure(error);
      if (type === 'ContainerUnhealthy') tellUnhealthy(this.#journal, patient, 'start', message);
      throw error;
    }
    await this.#probe(target, patient);
    await this.#moveTraffic(target);
    await this.#verify(target);
    return target;
  }

  async #start({ slot, version }: LiveRelease): Promise<void> {
    const { limits, production } = await this.#policy();
    const { deployment, request } = this.#input;
    const readyMs = limits.readyMs + limits.settleMs;
    const change = { ...this.#nextChange(), slot, version, readyMs };
    const slow = watchStart(this.#journal, { deployment, version, production }, readyMs);
    try {
      const summary = `starts ${version} in ${slot} (${request.reason})`;
      await call(awaitState.ensureReleaseRunning, summary, change, startLimits(readyMs + limits.stopGraceMs));
    } finally {
      slow.stop();
    }
  }

  async #probe(target: LiveRelease, patient: Patient): Promise<void> {
    const { project, environment, number } = this.#input.deployment;
    const { slot, version } = target;
    const input = { project, environment, number, slot, version, through: 'slot' } as const;
    const report = await call(compensation.runProbes, `probes ${version} in ${slot}`, input);
    if (report.verdict === 'passed' || report.probes.length === 0) return;
    const why = report.probes.map((probe) => `${probe.name} ${probe.verdict}: ${probe.detail}`).join(', ');
    if (report.verdict === 'failed') tellUnhealthy(this.#journal, patient, 'slot', why);
    throw failure('ReleaseDegraded', sentences(`${version} in ${slot} does not pass its probes: ${why}`));
  }

  /** Until the target has proved itself, the router falls back to what was live by itself. */
  async #moveTraffic(target: LiveRelease): Promise<void> {
    const from = this.#input.live ?? this.#live;
    if (from !== null) {
      this.#saga.register({ heading: 'deploy-previous', run: async () => (await this.#point(from, null)).movedAt });
    }
    this.#target = target;
    await this.#measure('deploy-previous', `${target.version} in ${target.slot} serves`, async () => {
      const { movedAt } = await withoutEnd(
        () => this.#point(target, from?.slot === target.slot ? null : (from?.slot ?? null)),
        (why) => this.#page(target, why),
        () => this.#leave,
        () => this.#start(target),
      );
      this.#servingAt = movedAt;
    });
  }

  #point(target: LiveRelease, backup: LiveRelease['slot'] | null): Promise<{ readonly movedAt: string }> {
    const change = { ...this.#nextChange(), slot: target.slot, backup };
    return call(trafficBack.ensureTraffic, `traffic to ${target.version} in ${target.slot}`, change);
  }

  async #verify(target: LiveRelease): Promise<void> {
    const began = isoNow();
    const { done, detail } = await verifyServing(this.#input, target.slot, target.version);
    this.#note({ ...headed('verify', began, isoNow(), detail), done });
    if (!done) throw failure('ReleaseDegraded', detail);
  }

  /** Traffic is where it shall be and the release answers: what follows may be left over, but takes nothing back. */
  async #finish(target: LiveRelease): Promise<TurnReport> {
    const { deployment, request } = this.#input;
    const policy = await this.#policy();
    const left: string[] = [];
    const from = this.#live;
    if (!this.#told && policy.production) {
      this.#incident = recordIncident(
        deployment,
        request.reason,
        `${request.by} rolled ${deployment.environment} back to ${target.version}: ${request.reason}`,
      );
    }
    if (from !== null && from.slot !== target.slot) {
      await this.#attempt('stop-current', left, async () => {
        await this.#point(target, null);
        return await this.#stopSlot(from, policy);
      });
    }
    await this.#restoreData(left, policy);
    const live: LiveRelease = { ...target, deployment: deployment.number, since: isoNow() };
    if (this.#abort !== undefined && left.length > 0) return await this.#stopped(this.#abort);
    const opened = await this.#incident;
    const undone = left.length === 0 ? undefined : `Not everything is done: ${left.join('; ')}`;
    const data = this.#input.data;
    const owed = this.#data === undefined || this.#data.action === 'held' || this.#data.unexported !== undefined;
    if (data !== undefined && owed) {
      const what = this.#data?.unexported === undefined ? 'its data is not back' : 'what was written since is not kept';
      return await this.#report(
        'rollback-failed',
        sentences(`${target.version} serves, but ${what}.`, undone),
        live,
        false,
        opened,
      );
    }
    return await this.#report(
      'rolled-back',
      sentences(`${request.by} rolled back to ${target.version}: ${request.reason}`, undone),
      live,
      false,
      opened,
    );
  }

  async #restoreData(left: string[], policy: PlanPolicy): Promise<void> {
    const { data } = this.#input;
    if (data === undefined) return;
    await this.#attempt('restore-data', left, async () => {
      // A person's word ends the wait for it, and only migrated data waits; what users wrote to the rest was never asked about.
      const restore = data.migrated ? 'automatic' : policy.rollback.restore;
      const input = { to: data.to, backup: data.backup, migrated: data.migrated, restore };
      this.#data = await bringDataBack({ ...this.#nextChange(), ...input });
      return `${this.#data.action}: ${this.#data.detail}`;
    });
    const back = this.#data;
    if (!owesExport(back)) return;
    await this.#attempt('restore-data', left, async () => {
      const input = { ...this.#nextChange(), backup: data.backup };
      this.#data = await exportLaterWrites(back, input, () => this.#leave);
      const { unexported } = this.#data;
      if (unexported !== undefined) throw failure('RestoreFailed', unexported);
      return 'what was written since the backup is exported';
    });
  }

  async #stopSlot(release: LiveRelease, policy: PlanPolicy): Promise<string> {
    const { drainMs, stopGraceMs } = policy.limits;
    const stop = { slot: release.slot, drainMs, graceMs: stopGraceMs, remove: false };
    const waits = undoLimits(drainMs + stopGraceMs);
    const change = { ...this.#nextChange(), ...stop };
    await call(compensation.ensureReleaseStopped, `stops ${release.version} in ${release.slot}`, change, waits);
    return `${release.version} in ${release.slot} is stopped`;
  }

  async #policy(): Promise<PlanPolicy> {
    if (this.#input.policy !== undefined) return this.#input.policy;
    const readPolicy = async (): Promise<PlanPolicy> =>
      // As a way back: nothing that is known of the release that is left may keep it.
      (await call(read.planDeployment, 'reads the policy', { ...this.#input.deployment, priority: 'rollback' })).policy;
    return this.#told ? await (this.#reading ??= readPolicy()) : await readPolicy();
  }

  async #measure(heading: UndoRecord['heading'], detail: string, work: () => Promise<unknown>): Promise<void> {
    const began = isoNow();
    await work();
    this.#note(headed(heading, began, isoNow(), detail));
  }

  async #attempt(heading: UndoRecord['heading'], left: string[], work: () => Promise<string>): Promise<void> {
    const began = isoNow();
    try {
      const detail = await work();
      this.#note(headed(heading, began, isoNow(), detail));
    } catch (error) {
      const { message } = describeFailure(error);
      left.push(message);
      this.#note({ ...headed(heading, began, isoNow(), message), done: false });
    }
  }

  #note(one: UndoRecord): void {
    this.#records.push(one);
    const { heading, startedAt, durationMs, detail, done } = one;
    this.#journal.add({ name: heading, startedAt, durationMs, detail, verdict: done ? 'passed' : 'failed' });
  }

  async #report(
    outcome: Outcome,
    reason: string,
    live: LiveRelease | null,
    untouched: boolean,
    incident?: string,
  ): Promise<TurnReport> {
    this.#closing = true;
    const closing = isoNow();
    const holds = outcome === 'rollback-failed' || outcome === 'held';
    const measured = (await this.#initiated?.settle()) === true ? this.#initiated : undefined;
    const { deployment, request, requestedAt, data } = this.#input;
    const { project, environment, number } = deployment;
    const begun = this.#records[0]?.startedAt ?? isoNow();
    const why = `${request.by}: ${request.reason}`;
    const totalMs = between(requestedAt, isoNow());
    const report: RollbackReport = {
      trigger: why,
      ...(deployment.version === '' ? {} : { to: deployment.version }),
      steps: underHeadings([
        headed('detect', requestedAt, begun, why),
        measured?.asRecord() ?? headed('initiate', begun, begun, 'environment locked'),
        ...this.#records,
        ...(measured === undefined ? [] : [measured.asCleanUp(closing, [], !holds)]),
      ]),
      ...(this.#servingAt === undefined ? {} : { servingAfterMs: between(requestedAt, this.#servingAt) }),
      totalMs,
      ...(this.#data === undefined ? {} : { data: this.#data }),
      ...(incident === undefined ? {} : { incident }),
    };
    this.#slow ??= watchRollback(this.#journal, deployment, requestedAt, Promise.resolve(true));
    this.#slow.stop(totalMs);
    const result: DeploymentResult = {
      project,
      environment,
      number,
      outcome,
      reason,
      ...(live === null ? {} : { live }),
      steps: this.#journal.steps,
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

  #page(target: LiveRelease, why: string): void {
    const { project, environment, number } = this.#input.deployment;
    this.#journal.notify({
      event: 'undo-keeps-failing',
      level: 'critical',
      project,
      environment,
      key: `${project}/${environment}/${number}/traffic`,
      title: `${project} ${environment}: traffic cannot be moved to ${target.version}`,
      lines: [
        why,
        'It is tried again without end. Look at the router; this ends the trying:',
        `slipway abort ${project}/${environment}/${number} --reason …`,
      ],
    });
  }

  #nextChange(): Change {
    const { deployment, turn } = this.#input;
    const { project, environment, number } = deployment;
    this.#step += 1;
    return { project, environment, number, turn, step: this.#step, back: true };
  }

  #show(): void {
    const { deployment, request } = this.#input;
    showPage(
      `${deployment.environment} back to ${deployment.version} · ${this.#result?.outcome ?? this.#journal.phase}`,
      [`${request.by}: ${request.reason}`, this.#result?.reason],
      this.#journal.steps,
    );
  }
}
