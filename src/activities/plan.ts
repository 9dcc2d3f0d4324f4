import { changedKeys } from '../definition/configuration.ts';
import { planHash } from '../definition/plan-hash.ts';
import type { SecretRefs } from '../definition/specs/secret.ts';
import { ProviderError } from '../domain/failures.ts';
import type { DeploymentInput } from '../domain/deployment.ts';
import type { BackupEstimate, Plan, PlanChanges, PlanIdentity, PlanPolicy } from '../domain/plan.ts';
import type { LiveRelease } from '../domain/release.ts';
import { assessRisk } from '../domain/risk.ts';
import type { SourceRepository } from '../providers/repositories/port.ts';
import { lastFailed } from '../store/deployments.ts';
import { recordPlan } from '../store/plans.ts';
import { readLastProofMs } from '../store/proofs.ts';
import { readStages } from '../store/stages.ts';
import { judgeEnvironmentGates, requirePassage } from './gates.ts';
import type { Store } from '../store/store.ts';
import { beating } from './changes.ts';
import type { PlanActivities } from './contracts.ts';
import type { Databases } from './databases.ts';
import { forgeApiOf } from './forges.ts';
import type { Infrastructures } from './infrastructure.ts';
import type { ImageTrust } from './image-trust.ts';
import type { Materials } from './material.ts';
import type { Place, Places } from './places.ts';
import type { ReadProtections } from './protections.ts';
import { promotionOf } from './promotion.ts';
import { readFacts } from './release.ts';

export interface PlanDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly places: Places;
  readonly materials: Materials;
  readonly databases: Databases;
  readonly repositories: SourceRepository;
  readonly trust: ImageTrust;
  readonly protections: ReadProtections;
  readonly infrastructures: Infrastructures;
  readonly secretVersions: (refs: SecretRefs) => Promise<Readonly<Record<string, string>>>;
}

const noDatabase: BackupEstimate = {
  databaseBytes: 0,
  freeDiskBytes: 0,
  connectionsNeeded: 0,
  connectionsFree: 0,
  lastProofMs: 0,
  problems: [],
};

/** Makes plans. Nothing here changes anything but the record of the plan. */
export function createPlanActivities(deps: PlanDependencies): PlanActivities {
  const { store, places, materials, databases } = deps;

  async function estimate(place: Place): Promise<BackupEstimate> {
    const database = await databases.of(place);
    if (database === undefined || !place.spec.policy.backup.database) return noDatabase;
    const { project, name } = place.spec;
    const [sizes, lastProofMs] = await Promise.all([database.estimate(), readLastProofMs(store.db, project, name)]);
    return { ...sizes, lastProofMs };
  }

  return {
    planDeployment: (input) =>
      beating(async (signal) => {
        // As it is in force now: what follows a plan reads the same again, and a change since then is another hash.
        const place = await places.open(input, 'store');
        const { spec, release } = place;
        const [{ live }, { migrations, configuration }, secrets, sizes, trusted, scanned, protections, infrastructure] =
          await Promise.all([
            readFacts(place),
            materials.of(place),
            deps.secretVersions(spec.secrets),
            estimate(place),
            deps.trust.check(place, release.images, signal),
            deps.trust.checkScans(place, {
              renews: input.renewsScans ?? false,
              problems: input.scanProblems ?? {},
              back: input.priority === 'rollback',
            }),
            // A way back does not wait for a forge.
            input.priority === 'rollback' ? undefined : deps.protections(place.pair.project),
            deps.infrastructures.planned(place, input),
          ]);
        const database = await databases.of(place);
        const pending = database === undefined ? [] : await database.migrations.pending(migrations);
        if (database === undefined && migrations.length > 0) {
          throw new ProviderError(
            'DefinitionInvalid',
            `${input.project} ${input.version} has migrations, but ${spec.name} has no \`database\` in project.yaml.`,
          );
        }
        const breaking = pending.filter(({ kind }) => kind === 'contract').map(({ name }) => name);
        if (breaking.length > 0 && live !== null && !spec.policy.approval.required) {
          // Where people approve, the plan says so and their approval is the acknowledgement; here nobody would have said yes.
          throw new ProviderError(
            'MigrationIncompatible',
            `${breaking.join(', ')}: the live release ${live.version} could not go on beside ${input.version} in ${spec.name}, and nobody approves there. Split it into an expanding and a later contracting release, or call it \`-- slipway: expand\` if it harms nothing.`,
            { details: { migrations: breaking } },
          );
        }
        const identity: PlanIdentity = {
          release: { version: release.version, commit: release.commit, images: release.images },
          definition: place.definition,
          configuration: configuration.hash,
          secrets,
          ...(infrastructure === undefined
            ? {}
            : { infrastructure: { kind: infrastructure.kind, plan: infrastructure.plan } }),
          migrations: pending,
          strategy: spec.strategy,
          target: { kind: spec.target.kind, name: spec.target.name },
          live: live === null ? null : { version: live.version, commit: live.commit, images: live.images },
        };
        const plannedAt = new Date().toISOString();
        const ofImages = [...trusted, ...scanned.checks];
        const news = ofImages.filter((check) => check.news);
        const notPromoted = await promotionOf(store.db, place, input);
        const [changes, checks, gates, lastFailure] = await Promise.all([
          changesSince(deps, place, live, configuration.keys),
          checksOf(deps, place),
          judgeEnvironmentGates(store.db, {
            ...{ ...place, live, at: plannedAt },
            settings: configuration.env,
            resolvedSecrets: Object.keys(secrets),
            ...(protections === undefined ? {} : { protections }),
          }),
          lastFailed(store.db, input),
        ]);
        const { timeZone, workingHours } = place.pair.project.calendar;
        const wishes = forgeApiOf(place.pair.project);
        const plan: Plan = {
          deployment: { project: input.project, environment: input.environment, number: input.number },
          hash: planHash(identity),
          identity,
          policy: policyFor(input, spec.policy),
          changes,
          risk: assessRisk({
            filesChanged: changes.filesChanged,
            linesChanged: changes.linesChanged,
            migrations: pending,
            warnedChecks: named([...checks, ...gates, ...news], 'failed'),
            erroredChecks: named([...checks, ...gates, ...news], 'errored'),
            definitionChanged: changes.definitionChanged,
            configurationKeys: changes.configurationKeys,
            ...(typeof lastFailure?.settledAt === 'string' ? { lastFailureAt: lastFailure.settledAt } : {}),
            at: plannedAt,
            timeZone,
            workingHours,
            firstRelease: live === null,
            ...(infrastructure?.summary === undefined ? {} : { infrastructure: infrastructure.summary }),
            ...(notPromoted === undefined ? {} : { notPromoted }),
            freeDiskUnknown: sizes.freeDiskBytes === null,
          }),
          estimate: sizes,
          checks: [...checks, ...ofImages].map(({ line }) => line),
          ...(scanned.due.length === 0 ? {} : { scansDue: scanned.due }),
          ...(gates.length === 0 ? {} : { gates: gates.map(({ line }) => line) }),
          ...(infrastructure === undefined ? {} : { infrastructure }),
          plannedAt,
          serving: live,
          ...(input.priority === 'hotfix' && spec.policy.production && wishes !== undefined
            ? { mergesBack: true as const }
            : {}),
          ...(wishes?.deployments === true ? { tellsDeployments: true as const } : {}),
          ...(wishes?.releases === true && spec.policy.production && input.priority !== 'rollback'
            ? { releases: true as const }
            : {}),
        };
        // Recorded first, so that people see what was refused.
        await recordPlan(store.db, plan);
        // A way back is never closed by what the release that is left has shown.
        if (input.priority !== 'rollback') requirePassage(plan);
        return plan;
      }),
  };
}

/** An emergency does not wait for the watch of what is not production; what is asked of people stays. */
function policyFor({ emergency }: DeploymentInput, policy: PlanPolicy): PlanPolicy {
  if (emergency !== true || policy.production) return policy;
  return { ...policy, watch: { ...policy.watch, durationMs: 0 } };
}

async function changesSince(
  { places, materials, repositories }: PlanDependencies,
  place: Place,
  live: LiveRelease | null,
  keys: Readonly<Record<string, string>>,
): Promise<PlanChanges> {
  const none = { commits: [], filesChanged: 0, linesChanged: 0 };
  if (live === null) {
    return { fromVersion: null, ...none, configurationKeys: Object.keys(keys).sort(), definitionChanged: false };
  }
  const { project, commit } = place.release;
  const source = await repositories.compare({ project, from: live.commit, to: commit }).catch(() => undefined);
  // What is live may have been forgotten by the store; then only what the target itself tells can be shown.
  const before = await places
    .open({ project, environment: place.spec.name, version: live.version })
    .catch(() => undefined);
  const then = before === undefined ? undefined : await materials.of(before).catch(() => undefined);
  return {
    fromVersion: live.version,
    ...(source ?? none),
    configurationKeys: then === undefined ? [] : changedKeys(then.configuration.keys, keys),
    definitionChanged: before !== undefined && before.release.definition !== place.release.definition,
  };
}

function named(
  checks: readonly { readonly name: string; readonly verdict: string | null }[],
  verdict: string,
): readonly string[] {
  return checks.filter((check) => check.verdict === verdict).map(({ name }) => name);
}

interface Check {
  readonly name: string;
  readonly verdict: string | null;
  readonly line: string;
}

/** What the run of the release said, step by step. */
async function checksOf({ store }: PlanDependencies, { release }: Place): Promise<readonly Check[]> {
  const stages = await readStages(store.db, release.project, release.build);
  return stages.flatMap((stage) =>
    stage.steps.map((step) => ({
      name: `${stage.name}/${step.name}`,
      verdict: step.verdict,
      line: `${stage.name} › ${step.name}: ${step.verdict ?? 'not finished'}${step.durationMs === null ? '' : ` in ${(step.durationMs / 1_000).toFixed(1)} s`}`,
    })),
  );
}
