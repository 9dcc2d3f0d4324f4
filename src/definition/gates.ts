import {
  type GateName,
  type GatePolicy,
  type GateWish,
  defaultGate,
  gateNames,
  madeStricter,
  withWish,
} from '../domain/gate.ts';
import { rankOf } from '../domain/report.ts';
import type { Gates } from './kinds/gate.ts';
import type { DefinitionPair } from './pair.ts';
import type { ProjectDefinition } from './project.ts';
import { isProduction } from './production.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** What the gates of a run ask for: the project's word, made stricter by the repository's. */
export function resolveGates(pair: Pick<DefinitionPair, 'repository' | 'project'>): readonly GatePolicy[] {
  return gateNames.map((gate) => resolveGate(pair, gate, undefined));
}

/** What the project asks of a run by itself: whoever can push can neither loosen it nor keep it from being judged. */
export function resolveGateFloors(project: DefinitionPair['project']): readonly GatePolicy[] {
  return gateNames.map((gate) => resolveGate({ repository: {}, project }, gate, undefined));
}

/** What they ask for before one environment is changed. An environment the project does not have is asked what a run is. */
export function resolveEnvironmentGates(
  pair: { readonly repository: { readonly gates?: Gates }; readonly project: ProjectDefinition },
  environment: string,
): readonly GatePolicy[] {
  return gateNames.map((gate) => resolveGate(pair, gate, environment));
}

function resolveGate(
  { repository, project }: { readonly repository: { readonly gates?: Gates }; readonly project: ProjectDefinition },
  gate: GateName,
  name: string | undefined,
): GatePolicy {
  const environment =
    name !== undefined && Object.hasOwn(project.environments, name) ? project.environments[name] : undefined;
  const production = name !== undefined && environment !== undefined && isProduction(name, environment);
  const own = gate === 'container' ? withScan(defaultGate(gate), project.images.scan) : defaultGate(gate, production);
  // Whoever says how a branch must be protected asks for the gate that says whether it is.
  const asked = gate === 'access-control' && project.repository.protection !== undefined;
  const ofProject = withWish(
    asked ? { ...own, demanded: true } : own,
    withSuppressions(wishOf(project.gates, gate), own.suppressions),
  );
  const floor = withWish(ofProject, withSuppressions(wishOf(environment?.gates, gate), own.suppressions));
  const wish = wishOf(repository.gates, gate);
  // Whoever can push must not be able to put aside what stops a push, unless the project says so.
  return madeStricter(
    floor,
    project.suppressions === 'repository' || wish === undefined ? wish : { ...wish, suppressions: [] },
  );
}

/** What the project says of the scan of its images holds for their gate too, unless that says otherwise: one judgement, not two. */
function withScan(policy: GatePolicy, scan: ProjectDefinition['images']['scan']): GatePolicy {
  if (scan === undefined) return policy;
  const least = scan.severities.reduce((most, one) => (rankOf(one) > rankOf(most) ? one : most));
  return {
    ...policy,
    least: least === 'unknown' ? 'high' : least,
    suppressions: scan.exceptions.map(({ id, package: component, reason, until }) => ({
      rule: id,
      ...(component === undefined ? {} : { component }),
      reason,
      expires: until,
    })),
  };
}

/** A list of its own does not put away those of the scan. */
function withSuppressions(wish: GateWish | undefined, more: GatePolicy['suppressions']): GateWish | undefined {
  if (wish?.suppressions === undefined || more.length === 0) return wish;
  return { ...wish, suppressions: [...more, ...wish.suppressions] };
}

/** One gate of a document, in the words of the domain; undefined where the document does not name it. */
function wishOf(gates: Gates | undefined, gate: GateName): GateWish | undefined {
  const given = gates?.[gate];
  if (given === undefined) return undefined;
  const all: UnitedGate = given;
  const { mode, reports, severity, allowed, baseline, ratings, suppressions, min, critical, score, licences } = all;
  return {
    mode,
    reports,
    least: severity,
    allowed,
    baseline,
    ratings:
      ratings === undefined
        ? undefined
        : Object.entries(ratings).map(([rule, rating]) => ({ rule, severity: rating, raiseOnly: false })),
    suppressions,
    coverage: { min, critical },
    score,
    licences:
      licences === undefined
        ? undefined
        : {
            ...{ allow: licences.allow ?? null, deny: licences.deny },
            ...(licences.images === undefined ? {} : { images: licences.images }),
          },
    imageAgeDays: all.imageAge === undefined ? undefined : all.imageAge / dayMs,
    databaseAgeDays: all.databaseAge === undefined ? undefined : all.databaseAge / dayMs,
    backupAgeHours: all.backupAge === undefined ? undefined : all.backupAge / hourMs,
  };
}

/** Every setting that any gate has. */
type UnitedGate = Partial<
  NonNullable<Gates['coverage']> &
    NonNullable<Gates['quality']> &
    NonNullable<Gates['compliance']> &
    NonNullable<Gates['dependencies']> &
    NonNullable<Gates['container']>
>;
