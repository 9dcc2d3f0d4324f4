import type { DeploymentRef } from '../domain/deployment.ts';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import { appendAudit } from '../store/audit.ts';
import { readEndedDeployments } from '../store/retention.ts';
import { environmentId } from '../workflows/messages.ts';
import { beating } from './changes.ts';
import type { InfrastructureLeftoverActivities, Removal } from './contracts.ts';
import { inInfrastructureCheckout } from './infrastructure-checkout.ts';
import type { InfrastructureDependencies } from './infrastructure.ts';
import type { Place } from './places.ts';
import { versionInForce } from './versions.ts';

export type LeftoverDependencies = Omit<InfrastructureDependencies, 'secretVersions' | 'fence'>;

/** A deployment that ended so long ago is no longer about to remove its plans itself, ms. Judgement: many times what that may take. */
const overMs = 3_600_000;
/** What a plan has left elsewhere is tried for so long; then the plan goes all the same, for it holds secrets, ms. Judgement. */
const giveUpMs = 7 * 86_400_000;
/** Of a command that removes what a plan has left, ms: well within what the deployment gives it. Judgement. */
const discardMs = 90_000;

/** Removes saved plans that nobody will apply any more: they hold secrets, and what they have left in a cloud is nobody's. */
export function createInfrastructureLeftovers(deps: LeftoverDependencies): InfrastructureLeftoverActivities {
  const { places, records, store } = deps;

  /** What plans have left outside of their files; nothing once one was applied, for that took everything along. */
  async function discardElsewhere(ref: DeploymentRef, place: Place, signal: AbortSignal): Promise<void> {
    const spec = place.spec.infrastructure;
    const record = await records.readPlan(ref);
    if (spec === undefined) return;
    if (record !== undefined && (await records.readApplied(ref, record.plan)) !== undefined) return;
    const { discard } = deps.open(spec);
    if (discard === undefined) return;
    const checkout = { place, spec, number: ref.number, signal, progress: () => undefined };
    await inInfrastructureCheckout(deps, checkout, async (request) =>
      discard({ ...(await request()), timeoutMs: Math.min(spec.timeoutMs, discardMs) }),
    );
  }

  /** The environment as that deployment met it; undefined where the project has none of it any more. */
  async function placeOf(ref: DeploymentRef): Promise<Place | undefined> {
    try {
      const { project, environment } = ref;
      return await places.open({ project, environment, version: await versionInForce(store, ref) }, 'store');
    } catch (error) {
      if (error instanceof ProviderError && error.type === 'NotFound') return undefined;
      throw error;
    }
  }

  async function remove(ref: DeploymentRef, signal: AbortSignal): Promise<void> {
    const place = await placeOf(ref);
    if (place !== undefined) await discardElsewhere(ref, place, signal);
    await records.removeKept(ref);
  }

  return {
    ensurePlansDiscarded: ({ project, environment, number }) =>
      beating(async (signal) => {
        const ref = { project, environment, number };
        if ((await records.listKept(ref)).some((kept) => kept.number === number)) await remove(ref, signal);
      }, Infinity),

    removeOldPlans: ({ project, environment }) =>
      beating(async (signal): Promise<Removal> => {
        const what = `saved plans of ${project}/${environment}`;
        const kept = await records.listKept({ project, environment });
        const numbers = kept.map(({ number }) => number);
        const over = await readEndedDeployments(store.db, { project, environment }, numbers, overMs);
        const old = kept.filter(({ number }) => over.includes(number));
        if (old.length === 0) return { what, count: 0, sizeBytes: 0 };
        const longOver = await readEndedDeployments(store.db, { project, environment }, numbers, giveUpMs);
        const sizeBytes = old.reduce((sum, each) => sum + each.sizeBytes, 0);
        await appendAudit(store.db, {
          ...{ actor: 'retention', action: 'retention.plans', object: environmentId(project, environment) },
          detail: { count: old.length, sizeBytes, names: old.map(({ number }) => `#${number}`).slice(0, 100) },
        });
        let [count, removedBytes] = [0, 0];
        const problems: string[] = [];
        for (const { number, sizeBytes: bytes } of old) {
          signal.throwIfAborted();
          const ref = { project, environment, number };
          try {
            await remove(ref, signal);
          } catch (error) {
            signal.throwIfAborted();
            problems.push(`#${number}: ${describeFailure(error).message}`);
            if (!longOver.includes(number)) continue;
            await records.removeKept(ref);
          }
          count += 1;
          removedBytes += bytes;
        }
        return {
          what,
          count,
          sizeBytes: removedBytes,
          ...(problems.length === 0 ? {} : { left: problems.join('; ').slice(0, 1_000) }),
        };
      }, Infinity),
  };
}
