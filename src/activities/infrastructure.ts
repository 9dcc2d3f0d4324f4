import { canonicalHash } from '../definition/canonical.ts';
import type { InfrastructureSpec } from '../definition/specs/infrastructure.ts';
import type { SecretRefs } from '../definition/specs/secret.ts';
import type { DeploymentRef } from '../domain/deployment.ts';
import { ProviderError } from '../domain/failures.ts';
import { type InfrastructurePlan, changesAnything, tellSummary } from '../domain/infrastructure.ts';
import type { Fence } from '../effects/fence.ts';
import type { Infrastructure, InfrastructureRequest } from '../providers/infrastructures/port.ts';
import { appendAudit } from '../store/audit.ts';
import type { Store } from '../store/store.ts';
import { environmentId } from '../workflows/messages.ts';
import { beating, changing, typed } from './changes.ts';
import type { InfrastructureActivities } from './contracts.ts';
import { type CheckoutDependencies, inInfrastructureCheckout } from './infrastructure-checkout.ts';
import type { InfrastructureRecords } from './infrastructure-records.ts';
import type { Place, Places } from './places.ts';

export interface InfrastructureDependencies extends CheckoutDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly places: Places;
  readonly secretVersions: (refs: SecretRefs) => Promise<Readonly<Record<string, string>>>;
  readonly records: InfrastructureRecords;
  readonly open: (spec: InfrastructureSpec) => Infrastructure;
  readonly fence: Fence;
}

/** Where a deployment stands with its infrastructure. */
export interface Infrastructures {
  /** What the plan of a deployment says of it; undefined where the environment or the release has none. */
  planned(place: Place, ref: { readonly number: number }): Promise<InfrastructurePlan | undefined>;
}

/** One saved plan of a deployment. */
interface SavedRef extends DeploymentRef {
  readonly plan: string;
}

type Dependencies = Pick<InfrastructureDependencies, 'records' | 'secretVersions'>;

/** Everything that a saved plan is made of but the state: with another value of it the plan is another one. */
async function inputsOf({ secretVersions }: Dependencies, place: Place, spec: InfrastructureSpec): Promise<string> {
  const [environment, variables] = await Promise.all([
    secretVersions(spec.secrets),
    secretVersions(spec.secretVariables),
  ]);
  return canonicalHash({ commit: place.release.commit, definition: place.definition, environment, variables });
}

/** Looks only; what a plan is made of is made by the activity, for it takes minutes. */
export function createInfrastructures(deps: Dependencies): Infrastructures {
  return {
    async planned(place, { number }) {
      const spec = place.spec.infrastructure;
      if (spec === undefined) return undefined;
      const ref = { project: place.spec.project, environment: place.spec.name, number };
      const [record, inputs] = await Promise.all([deps.records.readPlan(ref), inputsOf(deps, place, spec)]);
      if (record?.inputs !== inputs) return { kind: spec.tool.kind, plan: '' };
      const { kind, plan, tool, summary, plannedAt } = record;
      return {
        kind,
        plan,
        ...(tool === undefined ? {} : { tool }),
        ...(summary === undefined ? {} : { summary }),
        ...(plannedAt === undefined ? {} : { plannedAt }),
      };
    },
  };
}

/** Plans infrastructure, keeps the plan, and applies exactly that. */
export function createInfrastructureActivities(deps: InfrastructureDependencies): InfrastructureActivities {
  const { store, places, readSecret, records, fence } = deps;

  return {
    ensureInfrastructurePlan: (input) =>
      // The tool watches its own time; it is silent for as long as a cloud takes.
      beating(async (signal, progress) => {
        const place = await places.open(input, 'store');
        const spec = place.spec.infrastructure;
        if (spec === undefined) return { plan: '' };
        const inputs = await inputsOf(deps, place, spec);
        const infrastructure = deps.open(spec);
        const { number } = input;
        const checkout = { place, spec, number, signal, progress };
        return await inInfrastructureCheckout(deps, checkout, async (request) => {
          const record = await records.readPlan(input);
          if (record?.inputs === inputs) {
            const now = await infrastructure.readState(await request());
            if (now === ((await records.readApplied(input, record.plan)) ?? record.stateMark))
              return { plan: record.plan };
          }
          await records.beginPlan(input);
          const made = await infrastructure.plan(await request());
          const plan = await records.keepPlan(input, made.content, await readSecret(spec.planKey), {
            kind: spec.tool.kind,
            tool: made.tool,
            summary: made.summary,
            plannedAt: new Date().toISOString(),
            inputs,
            stateMark: made.state,
          });
          return { plan };
        });
      }, Infinity),

    applyInfrastructure: async (input) => {
      const { project, environment, version } = input;
      const place = await typed(() => places.open({ project, environment, version }));
      const work = (signal: AbortSignal, progress: () => void): ReturnType<typeof applySaved> =>
        applySaved(place, input, signal, progress);
      return await changing(fence, place, input, work, Infinity);
    },
  };

  async function applySaved(
    place: Place,
    input: SavedRef,
    signal: AbortSignal,
    progress: () => void,
  ): Promise<{ readonly how: 'applied' | 'recognised'; readonly detail: string }> {
    const spec = place.spec.infrastructure;
    const record = await records.readPlan(input);
    if (spec === undefined || record?.plan !== input.plan) throw replaced(input.plan);
    if ((await records.readApplied(input, input.plan)) !== undefined) {
      return { how: 'recognised', detail: 'was applied before' };
    }
    const infrastructure = deps.open(spec);
    const key = await readSecret(spec.planKey);
    const content = await records.openPlan(input, input.plan, key);
    const { number } = input;
    const checkout = { place, spec, number, signal, progress };
    return await inInfrastructureCheckout(deps, checkout, async (request) => {
      const before = await records.beginAttempt(input, infrastructure.lockHolder());
      if (before !== undefined) {
        const where = await records.findState(input);
        const now = await infrastructure.readState(await request());
        if (now !== record.stateMark) return await recognise(infrastructure, await request(), input, { now, where });
        if (where !== undefined) throw notBrought(where);
      }
      const { state } = await infrastructure.apply({
        ...(await request()),
        plan: { content, state: record.stateMark },
        ...(before === undefined ? {} : { left: { who: before.who, since: new Date(before.since) } }),
        keepState: (stateFile) => keepState(input, stateFile, key),
      });
      await records.keepApplied(input, input.plan, state);
      return { how: 'applied', detail: record.summary === undefined ? '' : tellSummary(record.summary) };
    });
  }

  /** The audit has it too: what an activity says that was aborted, nobody is told. */
  async function keepState(ref: DeploymentRef, stateFile: Buffer, key: string): Promise<string> {
    const where = await records.keepState(ref, stateFile, key);
    await appendAudit(store.db, {
      ...{ actor: 'worker', action: 'infrastructure.state-kept', object: environmentId(ref.project, ref.environment) },
      detail: { deployment: ref.number, state: where },
    }).catch(() => undefined);
    return where;
  }

  /**
   * An earlier attempt has changed the state and could not say so: either all of it is done, or a person looks at the rest in a new plan.
   *
   * @param where - a state that the attempt could not bring to the backend, which then has the one that Terraform saved along the way: by that the new
   *   plan would make again what only the kept one knows. It stays kept when somebody has pushed it, so it stops nothing where nothing is left.
   */
  async function recognise(
    infrastructure: Infrastructure,
    request: InfrastructureRequest,
    input: SavedRef,
    { now, where }: { readonly now: string; readonly where: string | undefined },
  ): Promise<{ readonly how: 'recognised'; readonly detail: string }> {
    const rest = await infrastructure.plan(request);
    // Nobody is asked for this one, so nothing of it may stay.
    await infrastructure.discard?.(request);
    if (changesAnything(rest.summary)) {
      const kept = where === undefined ? '' : ` By the state in the backend, that is: a later one ${keptAs(where)}`;
      throw new ProviderError(
        'InfrastructureInterrupted',
        `An attempt to apply the saved plan ${input.plan.slice(0, 8)} ended in the middle, or somebody else changed the state meanwhile: ${tellSummary(rest.summary)} is left of it.${kept}`,
        { details: { left: rest.summary, ...(where === undefined ? {} : { state: where }) } },
      );
    }
    await records.keepApplied(input, input.plan, now);
    return { how: 'recognised', detail: 'an earlier attempt had applied it, and nothing is left to change' };
  }
}

/** By the state in the backend nothing was done, so applying again would make everything twice. */
function notBrought(where: string): ProviderError {
  return new ProviderError(
    'InfrastructureInterrupted',
    `An attempt to apply the saved plan changed the infrastructure and could not save its state. The state ${keptAs(where)}`,
    { details: { state: where } },
  );
}

function keptAs(where: string): string {
  return `is kept as ${where}: bring it back before anything else is planned.`;
}

function replaced(plan: string): ProviderError {
  return new ProviderError(
    'InfrastructureStale',
    `Nothing was applied: the saved plan ${plan.slice(0, 8)} is no longer the one of this deployment.`,
  );
}
