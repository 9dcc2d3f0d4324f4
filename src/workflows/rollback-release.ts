import { CancellationScope, patched, setHandler } from '@temporalio/workflow';
import { describeFailure, failure } from '../domain/failures.ts';
import type { PlanPolicy } from '../domain/plan.ts';
import { type LiveRelease, otherSlot } from '../domain/release.ts';
import { outcomeOfRollback, sayFailed, sayStopped } from '../domain/rollback-ending.ts';
import { sentences } from '../domain/sentences.ts';
import { call } from './call.ts';
import { readAbort } from './inbound.ts';
import { type AbortMessage, abortSignal, abortUpdate } from './messages.ts';
import { isoNow } from './progress.ts';
import { read } from './proxies/deployment.ts';
import { RollbackAccount } from './rollback-account.ts';
import { RollbackCore } from './rollback-core.ts';
import { moveTraffic, pointTraffic, probeSlot, startRelease, stopSlot, verifyTarget } from './rollback-moves.ts';
import { bringDataBack, exportLaterWrites, owesExport } from './stages/data-back.ts';
import { tellUnhealthy } from './stages/notices.ts';
import { recordIncident } from './stages/undo.ts';
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

/** The order of a rollback. Its moves are in `rollback-moves.ts`, what is said of it in `rollback-account.ts`. */
class Rollback {
  readonly #core: RollbackCore;
  readonly #account: RollbackAccount;

  constructor(input: RollbackInput) {
    this.#core = new RollbackCore(input);
    this.#account = new RollbackAccount(this.#core);
    setHandler(
      abortSignal,
      (raw) => {
        const abort = readAbort(raw);
        if (patched('2026-11-25-rollback-stops')) this.abort(abort);
        // Before, all that could be stopped was the endless trying to move traffic.
        else if (abort.noRollback === true) this.#core.leave = true;
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
          if (!this.#core.closing) return;
          throw failure('TooLate', `${readAbort(raw).by} is too late: the rollback has ended.`);
        },
      },
    );
  }

  abort(abort: AbortMessage): void {
    const core = this.#core;
    if (core.abort !== undefined || core.closing) return;
    core.abort = abort;
    core.leave = true;
    core.work.cancel();
  }

  async run(): Promise<TurnReport> {
    const core = this.#core;
    const report = await this.#goBack();
    if (report.kind === 'result') core.result = report.result;
    this.#account.tellForge();
    core.journal.pass('closed', core.result?.outcome);
    const told = core.journal.handOver();
    await core.journal.drained();
    return report.kind === 'result' ? { ...report, ...told } : report;
  }

  async #goBack(): Promise<TurnReport> {
    const core = this.#core;
    const { standby, deployment, request } = core.input;
    if (deployment.version === '') {
      core.journal.enter('rolling-back');
      return await this.#account.report(
        'rollback-unavailable',
        sentences(`There is no release to go back to (${request.by}: ${request.reason})`),
        core.live,
        true,
      );
    }
    try {
      return await core.work.run(async () => {
        const target = standby === null ? await this.#startBeside() : await this.#flip(standby);
        return await this.#finish(target);
      });
    } catch (error) {
      if (core.abort !== undefined) return await this.#stopped(core.abort);
      const { message } = describeFailure(error);
      const undone = await core.saga.unwind();
      const reason = sayFailed(
        deployment.version,
        message,
        undone.every((one) => one.done),
      );
      return await this.#account.report('rollback-failed', reason, core.live, false, await this.#account.incident);
    }
  }

  /** On a person's word: nothing is tried any more, and nothing taken back. */
  async #stopped({ by, reason = 'no reason given' }: AbortMessage): Promise<TurnReport> {
    const core = this.#core;
    const { version, number } = core.input.deployment;
    const { target } = core;
    const served = target !== undefined && core.servingAt !== undefined;
    const serving = served ? 'target' : target === undefined ? 'as-before' : 'unknown';
    return await this.#account.report(
      'held',
      sayStopped({ by, reason }, version, serving),
      served ? { ...target, deployment: number, since: isoNow() } : core.live,
      false,
      await this.#account.incident,
    );
  }

  /** The release runs beside the live one: traffic first, everything else after. */
  async #flip(standby: LiveRelease): Promise<LiveRelease> {
    const moving = moveTraffic(this.#core, standby);
    // Rides along with the move, which is on its way already.
    this.#core.journal.enter('rolling-back');
    this.#account.announce();
    await moving;
    await verifyTarget(this.#core, standby);
    return standby;
  }

  async #startBeside(): Promise<LiveRelease> {
    const { deployment } = this.#core.input;
    const { project, environment, number, version } = deployment;
    this.#core.journal.enter('rolling-back');
    this.#account.announce();
    const [facts, policy] = await Promise.all([
      call(read.readEnvironment, 'reads what is live', { project, environment, number }),
      this.#core.policy(),
    ]);
    this.#core.live = facts.live;
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
    this.#core.saga.register({ heading: 'clean-up', run: () => stopSlot(this.#core, target, policy) });
    const patient = { deployment, version, production: policy.production };
    try {
      await this.#core.measure('deploy-previous', `${version} runs in ${slot}`, () => startRelease(this.#core, target));
    } catch (error) {
      const { type, message } = describeFailure(error);
      if (type === 'ContainerUnhealthy') tellUnhealthy(this.#core.journal, patient, 'start', message);
      throw error;
    }
    await probeSlot(this.#core, target, patient, policy.limits.settleMs);
    await moveTraffic(this.#core, target);
    await verifyTarget(this.#core, target);
    return target;
  }

  /** Traffic is where it shall be and the release answers: what follows may be left over, but takes nothing back. */
  async #finish(target: LiveRelease): Promise<TurnReport> {
    const core = this.#core;
    const { deployment, request } = core.input;
    const policy = await core.policy();
    const left: string[] = [];
    const from = core.live;
    if (!core.told && policy.production) {
      this.#account.incident = recordIncident(
        deployment,
        request.reason,
        `${request.by} rolled ${deployment.environment} back to ${target.version}: ${request.reason}`,
      );
    }
    if (from !== null && from.slot !== target.slot) {
      await core.attempt('stop-current', left, async () => {
        await pointTraffic(core, target, null);
        return await stopSlot(core, from, policy);
      });
    }
    await this.#restoreData(left, policy);
    const live: LiveRelease = { ...target, deployment: deployment.number, since: isoNow() };
    if (core.abort !== undefined && left.length > 0) return await this.#stopped(core.abort);
    const opened = await this.#account.incident;
    const owed = core.input.data !== undefined;
    const { outcome, reason } = outcomeOfRollback(request, target.version, left, owed, core.data);
    return await this.#account.report(outcome, reason, live, false, opened);
  }

  async #restoreData(left: string[], policy: PlanPolicy): Promise<void> {
    const core = this.#core;
    const { data } = core.input;
    if (data === undefined) return;
    await core.attempt('restore-data', left, async () => {
      // A person's word ends the wait for it, and only migrated data waits; what users wrote to the rest was never asked about.
      const restore = data.migrated ? 'automatic' : policy.rollback.restore;
      const input = { to: data.to, backup: data.backup, migrated: data.migrated, restore };
      core.data = await bringDataBack({ ...core.nextChange(), ...input });
      return `${core.data.action}: ${core.data.detail}`;
    });
    const back = core.data;
    if (!owesExport(back)) return;
    await core.attempt('restore-data', left, async () => {
      const input = { ...core.nextChange(), backup: data.backup };
      core.data = await exportLaterWrites(back, input, () => core.leave);
      const { unexported } = core.data;
      if (unexported !== undefined) throw failure('RestoreFailed', unexported);
      return 'what was written since the backup is exported';
    });
  }
}
