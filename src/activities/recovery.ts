import pLimit from 'p-limit';
import { definitionInvalid, loadPair, loadProject, reviveDefinition } from '../definition/load.ts';
import { hashDefinition, serialiseDefinition } from '../definition/pair.ts';
import { resolveTarget } from '../definition/environment.ts';
import { resolveRegistry } from '../definition/image-resolution.ts';
import type { ProjectDefinition } from '../definition/project.ts';
import type { EnvironmentSpec } from '../definition/specs/environment.ts';
import { evidenceFolders } from '../domain/evidence-files.ts';
import { ProviderError, describeFailure } from '../domain/failures.ts';
import {
  type FoundRelease,
  type RecoverySight,
  type SeenSlot,
  mostNumbers,
  planRecovery,
  releasesNamed,
} from '../domain/recovery.ts';
import type { ReleaseRef } from '../domain/release.ts';
import type { BlobStore } from '../providers/blobs/port.ts';
import type { SourceRepository } from '../providers/repositories/port.ts';
import type { Router } from '../providers/routers/port.ts';
import type { Target } from '../providers/targets/port.ts';
import { readProject } from '../store/projects.ts';
import { readRecorded, writeRecovery } from '../store/recovery.ts';
import type { Store } from '../store/store.ts';
import { environmentId } from '../workflows/messages.ts';
import { beating } from './changes.ts';
import type { RecoveryActivities, RecoveryReport } from './contracts.ts';
import type { KeptReleases } from './places.ts';
import { type RecoveryMemory, type TemporalSight } from './recovery-temporal.ts';
import { isServing } from './release.ts';
import { type ReadSecret, repositoryAddress } from './secrets.ts';

export interface RecoveryDependencies {
  readonly store: Pick<Store, 'db'>;
  readonly memory: RecoveryMemory;
  readonly openTarget: (spec: Pick<EnvironmentSpec, 'target' | 'registry'>) => Promise<Target>;
  readonly openRouter: () => Promise<Router>;
  readonly places: KeptReleases;
  readonly repositories: Pick<SourceRepository, 'ensureCommit' | 'readFile'>;
  readonly readSecret: ReadSecret;
  readonly blobs: Pick<BlobStore, 'list'>;
}

/** Commits read at once. Judgement. */
const atOnce = 4;
/** Releases made out from commits at most; older ones are deployed by a new run. Judgement. */
const mostReleases = 50;

/** Writes anew what the store has lost of an environment, by what its router, its target and Temporal say. Changes nothing of any of them. */
export function createRecoveryActivities(deps: RecoveryDependencies): RecoveryActivities {
  const { store } = deps;
  return {
    recoverEnvironment: ({ project, environment, apply, by, reason }) =>
      beating(async (signal): Promise<RecoveryReport> => {
        const { definition, text } = await need(store, project, environment);
        const memory = await deps.memory(project, environment, signal);
        if (apply && memory.busy !== undefined) {
          throw new ProviderError('Conflict', `${memory.busy} has the turn: wait for its end, or abort it.`);
        }
        const { writes, lines, problems } = planRecovery(
          await look(deps, { definition, text, environment, memory }, signal),
        );
        const isEmpty = lines.length === 0;
        if (apply && !isEmpty) {
          const detail = { reason, lines, problems };
          const object = environmentId(project, environment);
          await writeRecovery(store.db, { project, environment }, writes, { by, object, detail });
        }
        return { project, environment, applied: apply && !isEmpty, lines, problems };
      }),
  };
}

interface Place {
  readonly definition: ProjectDefinition;
  /** Of the project's document. */
  readonly text: string;
  readonly environment: string;
  readonly memory: TemporalSight;
}

async function look(deps: RecoveryDependencies, place: Place, signal: AbortSignal): Promise<RecoverySight> {
  const { definition, environment, memory } = place;
  const { project } = definition;
  const [recorded, target, seen] = await Promise.all([
    readRecorded(deps.store.db, { project, environment }),
    lookAtTarget(deps, definition, environment),
    readSeenNumbers(deps.blobs, project, environment),
  ]);
  const sight: RecoverySight = {
    ...{ project, environment, recorded, ...target },
    ...{ found: memory.found, word: memory.word, releases: new Map() },
    ...{ seenNumber: seen.number, seenRun: Math.max(seen.run, memory.seenRun) },
  };
  const missing = releasesNamed(sight).filter(({ version }) => !recorded.releases.includes(version));
  return { ...sight, releases: await makeOut(deps, place, missing.slice(0, mostReleases), signal) };
}

/** The place that `readEnvironment` reads too, opened by the project's document alone: of the release nothing may be on record. */
async function lookAtTarget(
  deps: RecoveryDependencies,
  definition: ProjectDefinition,
  name: string,
): Promise<Pick<RecoverySight, 'routed' | 'slots'>> {
  const { project } = definition;
  const environment = definition.environments[name];
  if (environment === undefined) throw new ProviderError('NotFound', `${project} has no environment ${name}.`);
  const ref = { project, environment: name };
  const [target, router] = await Promise.all([
    deps.openTarget({
      target: resolveTarget(project, name, environment),
      registry: resolveRegistry({ project: definition }),
    }),
    deps.openRouter(),
  ]);
  const [states, { rendered }] = await Promise.all([target.readSlots(ref), router.readTraffic(ref)]);
  const server = rendered?.servers.find(({ role }) => role === 'live');
  const slots = states.map((state): SeenSlot => ({
    slot: state.slot,
    release: state.release,
    deployment: state.deployment,
    healthy: isServing(state),
    since: state.startedAt ?? new Date(0).toISOString(),
  }));
  const routed = server === undefined ? null : { slot: server.slot, version: server.release };
  return { routed: rendered === null ? undefined : routed, slots };
}

/** Numbers must not be given twice: files of backups and of evidence lie under them. */
async function readSeenNumbers(
  blobs: RecoveryDependencies['blobs'],
  project: string,
  environment: string,
): Promise<{ readonly number: number; readonly run: number }> {
  const highest = async (prefix: string): Promise<number> => {
    const keys = await blobs.list(prefix);
    const numbers = keys.map(({ key }) => Number(key.slice(prefix.length + 1).split('/')[0]));
    return Math.max(0, ...numbers.filter((number) => Number.isSafeInteger(number) && number < mostNumbers));
  };
  const [number, ...runs] = await Promise.all([
    highest(`backups/${project}/${environment}`),
    ...evidenceFolders.map((folder) => highest(`${folder}/${project}`)),
  ]);
  return { number, run: Math.max(0, ...runs) };
}

async function makeOut(
  deps: RecoveryDependencies,
  place: Place,
  missing: readonly ReleaseRef[],
  signal: AbortSignal,
): Promise<RecoverySight['releases']> {
  const limit = pLimit(atOnce);
  const found = await Promise.all(
    missing.map((ref) =>
      limit(async () => {
        signal.throwIfAborted();
        const kept = await keptRelease(deps, place, ref);
        const release =
          kept ?? (await byCommit(deps, place, ref, signal).catch((error: unknown) => describeFailure(error).message));
        return [ref.version, release] as const;
      }),
    ),
  );
  return new Map(found);
}

/** As it was when this worker last read it; passed over where it is not what its own hash says. */
async function keptRelease(
  { places }: RecoveryDependencies,
  { definition, environment }: Place,
  { version, commit }: ReleaseRef,
): Promise<FoundRelease | undefined> {
  const kept = await places.kept({ project: definition.project, environment, version });
  if (kept === undefined || (commit !== '' && kept.release.commit !== commit)) return undefined;
  const { release, built } = kept;
  if (hashDefinition(reviveDefinition(built)) !== release.definition) return undefined;
  return { release, definition: built, from: 'kept' };
}

/**
 * @throws `CommitNotFound`, `DefinitionInvalid`, `NotFound` (not retried); `RepositoryUnreachable` (retried): its message becomes a problem of the report.
 */
async function byCommit(
  { repositories, readSecret }: RecoveryDependencies,
  { definition, text, memory }: Place,
  { version, commit, images }: ReleaseRef,
  signal: AbortSignal,
): Promise<FoundRelease> {
  const { project } = definition;
  if (commit === '') throw new ProviderError('NotFound', `Nothing says which commit ${version} is.`);
  const repository = await repositoryAddress(definition, readSecret);
  const { author } = await repositories.ensureCommit({ repository, commit, signal });
  const file = definition.repository.definition;
  const document = await repositories.readFile({ project, commit, path: file, signal });
  if (document === undefined) throw new ProviderError('NotFound', `Its commit has no ${file}.`);
  const pair = loadPair({ repository: { file, text: document }, project: { file: 'project.yaml', text } });
  if (!pair.ok)
    throw new ProviderError('DefinitionInvalid', `Its ${file} and the project.yaml of today do not go together.`);
  const runKey = memory.found.find(({ input }) => input.version === version && input.runKey !== undefined)?.input
    .runKey;
  const build = Number(/^(\d+)-/.exec(version)?.[1] ?? 0);
  return {
    release: {
      ...{ project, version, build, commit, images, author, migrations: [] },
      definition: hashDefinition(pair.value),
      runKey: runKey ?? null,
    },
    definition: serialiseDefinition(pair.value),
    from: 'repository',
  };
}

async function need(
  { db }: Pick<Store, 'db'>,
  project: string,
  environment: string,
): Promise<{ readonly definition: ProjectDefinition; readonly text: string }> {
  const stored = await readProject(db, project);
  if (stored === undefined) {
    throw new ProviderError(
      'NotFound',
      `There is no project ${project}; \`slipway project apply\` puts its document in force again.`,
    );
  }
  const loaded = loadProject({ file: 'project.yaml', text: stored.text });
  if (!loaded.ok) throw definitionInvalid(loaded.problems);
  if (!Object.hasOwn(loaded.value.environments, environment)) {
    throw new ProviderError('NotFound', `${project} has no environment ${environment}.`);
  }
  return { definition: loaded.value, text: stored.text };
}
