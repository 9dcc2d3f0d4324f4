import { resolveEnvironmentGates } from '../definition/gates.ts';
import { plainSettingsOf } from '../definition/plain-settings.ts';
import type { GateLine } from '../domain/evidence.ts';
import { lineOf } from '../domain/evidence.ts';
import { ProviderError } from '../domain/failures.ts';
import { type GateVerdict, judgeGate } from '../domain/gate-verdict.ts';
import { type AccessFacts, judgeAccess, judgeCompliance } from '../domain/security-facts.ts';
import type { Plan } from '../domain/plan.ts';
import type { LiveRelease } from '../domain/release.ts';
import { readRelease } from '../store/releases.ts';
import { readFingerprints, readReports } from '../store/reports.ts';
import type { Db } from '../store/schema.ts';
import type { Place } from './places.ts';
import { accessFacts, complianceFacts } from './security-facts.ts';

/** The verdict of a gate, named and judged as the other checks of a plan are. */
export interface GateCheck {
  readonly name: string;
  readonly verdict: GateLine['verdict'];
  readonly line: GateLine;
}

/** What the gates are judged by beside the documents. */
export interface GateContext {
  readonly live: LiveRelease | null;
  /** ISO 8601. */
  readonly at: string;
  /** What the release would run with. */
  readonly settings: Readonly<Record<string, string>>;
  readonly resolvedSecrets: readonly string[];
  /** How the forge protects branches; absent where nobody asks. */
  readonly protections?: AccessFacts['protections'];
}

/**
 * What the gates say of a release going to an environment: the reports of the run that made it, judged by what this environment asks now. A
 * suppression that has expired since counts no more, and a database of a scanner has grown older.
 *
 * @throws `StoreUnavailable` (retried)
 */
export async function judgeEnvironmentGates(
  db: Db,
  place: Pick<Place, 'pair' | 'spec' | 'release'> & GateContext,
): Promise<readonly GateCheck[]> {
  const { pair, spec, release, live, at } = place;
  const policies = resolveEnvironmentGates(pair, spec.name);
  const reports = await readReports(db, release.project, release.build);
  const known = policies.some(({ baseline }) => baseline === 'last-release')
    ? await findingsOfLive(db, release.project, live)
    : undefined;
  const verdicts = await Promise.all(
    policies.map(async (policy): Promise<GateVerdict | undefined> => {
      if (policy.gate === 'access-control' || policy.gate === 'compliance') {
        if (!policy.demanded || policy.mode === 'off') return undefined;
        const encryptionAtRest = pair.project.environments[spec.name]?.encryptionAtRest ?? null;
        const secured = { ...place, plain: plainSettingsOf(pair, spec.name), encryptionAtRest };
        if (policy.gate === 'access-control') return judgeAccess(policy, accessFacts(secured));
        return judgeCompliance(policy, await complianceFacts(db, secured), at);
      }
      const own = reports.filter(({ gate }) => gate === policy.gate);
      return judgeGate({ policy, reports: own, at, ...(known === undefined ? {} : { baseline: known }) });
    }),
  );
  return verdicts
    .filter((verdict) => verdict !== undefined)
    .map((verdict) => ({ name: `gate ${verdict.gate}`, verdict: verdict.verdict, line: lineOf(verdict) }));
}

/** Of the release that runs there now. */
async function findingsOfLive(
  db: Db,
  project: string,
  live: LiveRelease | null,
): Promise<ReadonlySet<string> | undefined> {
  const release = live === null ? undefined : await readRelease(db, project, live.version);
  return release === undefined ? undefined : await readFingerprints(db, project, release.build);
}

/** @throws `GateBlocked`, or `GateErrored` where nothing bad was found (not retried): a gate stops this release before anything is changed */
export function requirePassage({ deployment, identity, gates = [] }: Plan): void {
  const blocking = gates.filter(({ blocks }) => blocks);
  if (blocking.length === 0) return;
  const { environment } = deployment;
  throw new ProviderError(
    blocking.some(({ verdict }) => verdict === 'failed') ? 'GateBlocked' : 'GateErrored',
    [
      `${identity.release.version} may not go to ${environment}.`,
      ...blocking.map(({ gate, verdict, reason }) => `Gate ${gate} ${verdict}: ${reason}`),
    ].join(' '),
    { details: { gates: blocking.map(({ gate }) => gate) } },
  );
}
