import type { DeploymentInput, DeploymentPhase, DeploymentRef, DeploymentResult } from './deployment.ts';
import { type LiveTurn, inOrder, liveInTurn } from './live-row.ts';
import { type Outcome, holdingOutcomes } from './outcome.ts';
import type { Plan } from './plan.ts';
import type { LiveRelease, Release, ReleaseRef, Slot } from './release.ts';

/** What is in a slot, by the labels of its container. */
export interface SeenSlot {
  readonly slot: Slot;
  readonly release: ReleaseRef;
  readonly deployment: number;
  readonly healthy: boolean;
  /** ISO 8601; when it was started. */
  readonly since: string;
}

/** A deployment or rollback as Temporal has it. */
export interface FoundDeployment {
  readonly kind: 'rollout' | 'rollback';
  readonly input: DeploymentInput;
  readonly startedAt: string;
  /** What it is doing, where it is open. */
  readonly open?: { readonly phase: DeploymentPhase; readonly plan?: Plan };
  /** What it returned, and when. Neither of the two: it was ended from outside and has said nothing. */
  readonly ended?: { readonly result: DeploymentResult; readonly at: string };
}

/** What the environment's own workflow says; absent where there is none. */
export interface EnvironmentWord {
  readonly live: LiveRelease | null;
  readonly previous: LiveRelease | null;
  readonly hold: { readonly reason: string; readonly since: string } | null;
  /** Deployments that it has in its hands or in its queue. */
  readonly numbers: readonly number[];
}

/** What the store has. */
export interface RecordedEnvironment {
  /** Null where it does not know the environment. */
  readonly row: {
    readonly live: LiveRelease | null;
    readonly previous: LiveRelease | null;
    readonly held: boolean;
    readonly lastNumber: number;
  } | null;
  readonly lastRun: number;
  readonly deployments: readonly number[];
  /**
   * Those of them of which nobody knows who asked: rows that were made of nothing but an end, which a worker had kept until the store was back.
   */
  readonly nameless: readonly number[];
  readonly releases: readonly string[];
  readonly turns: readonly LiveTurn[];
}

/** A release that the store does not have, made out from elsewhere. */
export interface FoundRelease {
  readonly release: Release & { readonly author: string; readonly runKey: string | null };
  /** The pair that {@link Release.definition} is the hash of. */
  readonly definition: string;
  /** `kept`: as a worker kept it when it was deployed. `repository`: its commit, with the project.yaml of today. */
  readonly from: 'kept' | 'repository';
}

/** Everything that is known of one environment, from all sides. */
export interface RecoverySight {
  readonly project: string;
  readonly environment: string;
  /** Slot and release that the router sends the traffic to; null: to none; undefined: it has no route of this environment. */
  readonly routed: { readonly slot: Slot; readonly version: string } | null | undefined;
  readonly slots: readonly SeenSlot[];
  readonly found: readonly FoundDeployment[];
  readonly word: EnvironmentWord | undefined;
  readonly recorded: RecordedEnvironment;
  /** By version; a sentence where it could not be made out. Only those that the store does not have. */
  readonly releases: ReadonlyMap<string, FoundRelease | string>;
  /** Highest numbers that anything else names: backups, evidence, searched runs. */
  readonly seenNumber: number;
  readonly seenRun: number;
}

/** A row of a deployment that the store does not have, or has of its end alone. */
export interface RecoveredDeployment {
  readonly kind: 'rollout' | 'rollback';
  readonly input: DeploymentInput;
  /** What makes asking twice the same request; the first that is not taken. */
  readonly requests: readonly string[];
  readonly startedBy: 'run' | 'environment' | 'api';
  readonly startedAt: string;
  readonly phase: DeploymentPhase;
  readonly plan?: Plan;
  readonly ended?: { readonly result: DeploymentResult; readonly at: string };
}

export interface RecoveredHold {
  readonly outcome: Outcome;
  readonly reason: string;
  readonly since: string;
  readonly number: number;
}

/** What would be written, and nothing else. */
export interface RecoveryWrites {
  readonly releases: readonly FoundRelease[];
  readonly deployments: readonly RecoveredDeployment[];
  /** Absent where it cannot be said, or is on record like this. */
  readonly live?: { readonly live: LiveRelease | null; readonly previous: LiveRelease | null };
  readonly hold?: RecoveredHold;
  /** Numbers are counted on from here. */
  readonly lastNumber?: number;
  readonly lastRun?: number;
}

export interface RecoveryPlan {
  readonly writes: RecoveryWrites;
  /** What is written, a line each, as a person reads it. */
  readonly lines: readonly string[];
  /** What cannot be said, and what to do about it. */
  readonly problems: readonly string[];
}

/** Who has asked for what is known by its end alone. */
export const nobody = 'unknown';

/** A rollback that began while the store was away took its number from the clock; nothing is counted on from there. */
export const mostNumbers = 1_000_000_000;

/** Releases that the records of an environment name, whether or not they are on record; those named by their version alone have no commit. */
export function releasesNamed({ slots, found, word }: RecoverySight): readonly ReleaseRef[] {
  const named = new Map<string, ReleaseRef>();
  const add = (ref: ReleaseRef): void => {
    if (ref.version !== '' && (named.get(ref.version)?.commit ?? '') === '') named.set(ref.version, ref);
  };
  for (const { release } of slots) add(release);
  for (const live of [word?.live, word?.previous]) if (live !== undefined && live !== null) add(live);
  for (const { ended, open, input } of found) {
    if (ended?.result.live !== undefined) add(ended.result.live);
    if (open !== undefined) add({ version: input.version, commit: '', images: [] });
  }
  return [...named.values()];
}

/**
 * What the records of an environment have to be, by what its router, its target and Temporal say. Only adds what is missing and corrects what is
 * live; no row of the store is taken away, and nothing of it moves traffic.
 */
export function planRecovery(sight: RecoverySight): RecoveryPlan {
  const { recorded, word } = sight;
  const problems: string[] = [];
  const live = liveBySight(sight, problems);
  const deployments = [...fromTemporal(sight, problems), ...fromSlots(sight, live)].sort(
    (one, other) => one.input.number - other.input.number,
  );
  const releases = missingReleases(sight, problems);
  const lines = [...releases.map(releaseLine), ...deployments.map(deploymentLine)];
  const writes: { -readonly [K in keyof RecoveryWrites]: RecoveryWrites[K] } = { releases, deployments };

  if (live !== undefined) {
    const previous = live === null ? null : previousOf(sight, live, deployments);
    const { live: liveNow = null, previous: previousNow = null } = recorded.row ?? {};
    if (!isSame(live, liveNow) || !isSame(previous, previousNow) || recorded.row === null) {
      writes.live = { live, previous };
      lines.push(`live: ${nameOf(live)}; on record is ${nameOf(liveNow)}`);
      lines.push(`previous: ${nameOf(previous)}; on record is ${nameOf(previousNow)}`);
    }
    if (word !== undefined && word.live?.version !== live?.version) {
      problems.push(
        `Its workflow takes ${word.live?.version ?? 'nothing'} for live, and the traffic goes to ${live?.version ?? 'nothing'}: \`slipway reconcile ${sight.project}/${sight.environment}\` has it look again.`,
      );
    }
  }

  const hold = recorded.row?.held === true ? undefined : holdBy(sight);
  if (hold !== undefined) {
    writes.hold = hold;
    lines.push(`held since ${hold.since}: ${hold.reason}`);
  }
  const numbers = [
    ...sight.found.map(({ input }) => input.number),
    ...sight.slots.map(({ deployment }) => deployment),
    ...(word?.numbers ?? []),
    sight.seenNumber,
  ].filter((number) => number < mostNumbers);
  const lastNumber = Math.max(0, ...numbers);
  if (lastNumber > (recorded.row?.lastNumber ?? 0)) {
    writes.lastNumber = lastNumber;
    lines.push(
      `the next deployment is number ${lastNumber + 1}; by the record it would be ${(recorded.row?.lastNumber ?? 0) + 1}`,
    );
  }
  const lastRun = Math.max(sight.seenRun, ...releases.map(({ release }) => release.build));
  if (lastRun > recorded.lastRun) {
    writes.lastRun = lastRun;
    lines.push(
      `the next run of ${sight.project} is number ${lastRun + 1}; by the record it would be ${recorded.lastRun + 1}`,
    );
  }
  return { writes, lines, problems };
}

/** Numbers whose rows can stay as they are: of the others the store has nothing, or less than Temporal. */
function knownNumbers({ recorded, found }: RecoverySight): ReadonlySet<number> {
  const named = new Set(found.flatMap(({ input }) => (input.requestedBy === nobody ? [] : [input.number])));
  return new Set(recorded.deployments.filter((number) => !(recorded.nameless.includes(number) && named.has(number))));
}

/** @returns undefined where it cannot be said. */
function liveBySight({ routed, slots }: RecoverySight, problems: string[]): LiveRelease | null | undefined {
  if (routed === undefined) {
    if (slots.length === 0) return null;
    problems.push(
      'The router has no route of it, and something runs in its slots: what is live cannot be said. Nothing is written about it.',
    );
    return undefined;
  }
  if (routed === null) return null;
  const there = slots.find(({ slot }) => slot === routed.slot);
  if (there === undefined) {
    problems.push(
      `The router sends the traffic to ${routed.version} in ${routed.slot}, where nothing is: what is live cannot be said.`,
    );
    return undefined;
  }
  if (there.release.version !== routed.version) {
    problems.push(
      `The router sends the traffic to ${routed.version} in ${routed.slot}, and ${there.release.version} is there: what is live cannot be said.`,
    );
    return undefined;
  }
  return liveIn(there);
}

function liveIn({ release, slot, deployment, since }: SeenSlot): LiveRelease {
  return { ...release, slot, deployment, since };
}

function fromTemporal(sight: RecoverySight, problems: string[]): readonly RecoveredDeployment[] {
  const { found, project, environment } = sight;
  const known = knownNumbers(sight);
  const missing = found.filter(({ input }) => !known.has(input.number));
  return missing.flatMap(({ kind, input, startedAt, open, ended }): RecoveredDeployment[] => {
    const { number, runKey } = input;
    if (open === undefined && ended === undefined) {
      problems.push(
        `Deployment ${project}/${environment}/${number} was ended from outside, and how it ended is not known: it gets no row.`,
      );
      return [];
    }
    const row = { kind, input, startedAt };
    const byRun = kind === 'rollout' && runKey !== undefined;
    const rest = {
      requests: [...(byRun ? [`run:${runKey}`] : []), `number:${number}`],
      startedBy: kind === 'rollback' ? ('environment' as const) : byRun ? ('run' as const) : ('api' as const),
    };
    if (ended !== undefined) return [{ ...row, ...rest, phase: 'closed', ended }];
    return [
      { ...row, ...rest, phase: open?.phase ?? 'planning', ...(open?.plan === undefined ? {} : { plan: open.plan }) },
    ];
  });
}

/** What runs was put there by a deployment, also where Temporal has forgotten it. */
function fromSlots(sight: RecoverySight, live: LiveRelease | null | undefined): readonly RecoveredDeployment[] {
  const { project, environment, slots, recorded, found, releases } = sight;
  if (live === undefined || live === null) return [];
  const known = new Set([...recorded.deployments, ...found.map(({ input }) => input.number)]);
  return slots
    .filter((one) => !known.has(one.deployment) && (one.slot === live.slot || isStandby(one, live)))
    .map((one): RecoveredDeployment => {
      const { deployment: number, since, slot } = one;
      const { version } = one.release;
      const release = releases.get(version);
      const author = typeof release === 'object' ? release.release.author : 'unknown';
      const ref: DeploymentRef = { project, environment, number };
      const input: DeploymentInput = {
        ...ref,
        version,
        author,
        requestedBy: nobody,
        priority: 'routine',
        requestedAt: since,
      };
      const reason = `Recovered: ${version} runs in ${slot}, and its container says that this deployment put it there.`;
      return {
        kind: 'rollout',
        input,
        requests: [`number:${number}`],
        startedBy: 'environment',
        startedAt: since,
        phase: 'closed',
        ended: { result: { ...ref, outcome: 'succeeded', reason, live: liveIn(one), steps: [] }, at: since },
      };
    });
}

/** What is beside the live one and newer than it was left by a rollback, or never had traffic: nobody goes back to it unasked. */
function isStandby({ healthy, deployment, slot }: SeenSlot, live: LiveRelease): boolean {
  return healthy && slot !== live.slot && deployment < live.deployment;
}

function previousOf(
  sight: RecoverySight,
  live: LiveRelease,
  added: readonly RecoveredDeployment[],
): LiveRelease | null {
  const { slots, word, recorded, found } = sight;
  if (word?.live?.version === live.version && word.previous !== null) return word.previous;
  const ends = added.flatMap(({ kind, ended }): LiveTurn[] =>
    ended === undefined ? [] : [{ kind, outcome: ended.result.outcome, live: ended.result.live ?? null, at: ended.at }],
  );
  const known = knownNumbers(sight);
  const turns = recorded.turns.filter(({ number }) => number === undefined || known.has(number));
  const row = liveInTurn(inOrder([...turns, ...ends]));
  const last = row.at(-1);
  // The record ends at what is live: it knows what was before.
  const byRow = last?.version === live.version ? row.at(-2) : last;
  const standby = slots.find((one) => isStandby(one, live));
  const told = last?.version === live.version && found.length + recorded.turns.length > 0;
  if (!told && standby !== undefined) return liveIn(standby);
  if (byRow !== undefined) return byRow;
  return recorded.row?.live?.version === live.version ? recorded.row.previous : null;
}

function missingReleases({ releases }: RecoverySight, problems: string[]): readonly FoundRelease[] {
  return [...releases].flatMap(([version, found]): FoundRelease[] => {
    if (typeof found !== 'string') return [found];
    problems.push(
      `Release ${version} cannot be made out: ${found} It cannot be gone back to before it is on record again.`,
    );
    return [];
  });
}

function holdBy({ word, found, recorded }: RecoverySight): RecoveredHold | undefined {
  const number = word?.live?.deployment ?? 0;
  if (word !== undefined) return word.hold === null ? undefined : { outcome: 'held', number, ...word.hold };
  const [last] = found
    .filter(({ ended, input }) => ended !== undefined && !recorded.deployments.includes(input.number))
    .sort((one, other) => other.input.number - one.input.number);
  if (last?.ended === undefined || !holdingOutcomes.includes(last.ended.result.outcome)) return undefined;
  const { outcome, reason } = last.ended.result;
  return { outcome, reason, since: last.ended.at, number: last.input.number };
}

function isSame(one: LiveRelease | null, other: LiveRelease | null): boolean {
  return one?.version === other?.version && one?.slot === other?.slot;
}

function nameOf(release: LiveRelease | null): string {
  return release === null ? 'nothing' : `${release.version} in ${release.slot}, of deployment ${release.deployment}`;
}

function releaseLine({ release, from }: FoundRelease): string {
  const how = from === 'kept' ? 'as a worker kept it' : 'by its commit, with the project.yaml of today';
  return `release ${release.version} of commit ${release.commit.slice(0, 12)}, ${how}`;
}

function deploymentLine({ kind, input, ended, phase }: RecoveredDeployment): string {
  const { project, environment, number, version } = input;
  const how = ended === undefined ? `open, ${phase}` : `${ended.result.outcome} at ${ended.at}`;
  return `${kind === 'rollback' ? 'rollback' : 'deployment'} ${project}/${environment}/${number} of ${version}: ${how}`;
}
